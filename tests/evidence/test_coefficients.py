"""Coefficients of gradients, rule by rule: two paths that meet, and one step back through each kind of op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from vflc.ir.build import Build, Initializer
from vflc.ir.graph import Graph, Node
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import infer
from vflc.ops.traits import AT_LEAST_0, AT_MOST_0, FREE, POSITIVE, ValueRange
from vflc.passes.evidence.coefficients import ONE, UNKNOWN, Backward, Coefficient, added, scattered
from vflc.passes.evidence.values import Fact

C = Coefficient


@pytest.mark.parametrize(
    ("coefficient", "words"),
    [
        (ONE, "same for all rows"),
        (C(zeros=True, sign=None, whole=False), "same for all rows"),
        (C(known=("x",)), "known by row"),
        (C(common=("x",)), "known by row"),
        (C(varies=True, known=("x",)), "known sign"),
        (C(scaled=("x",)), "known sign"),
        (UNKNOWN, "varies by row"),
        (C(unknown=True, known=("x",)), "varies by row"),
    ],
)
def test_a_coefficient_in_words(coefficient: Coefficient, words: str) -> None:
    assert coefficient.words == words


VARIED = C(varies=True, whole=False)
SCALED = C(scaled=("s",), whole=False)
KNOWN = C(known=("x",))


@pytest.mark.parametrize(
    ("x", "y", "total"),
    [
        (ONE, ONE, ONE),
        (ONE, UNKNOWN, UNKNOWN),
        (C(sign=-1), C(sign=-1), C(sign=-1)),
        (ONE, C(sign=-1), C(sign=None)),
        (C(sign=None), ONE, C(sign=None)),
        (ONE, C(zeros=True), C(zeros=True)),
        (ONE, C(whole=False), C(whole=False)),
        (ONE, C(mixed=True), C(mixed=True)),
        # what varies has a sign where both have that one, and is 0 where both are
        (VARIED, VARIED, VARIED),
        (VARIED, ONE, VARIED),
        (VARIED, C(sign=-1), UNKNOWN),
        (replace(VARIED, sign=None), replace(VARIED, sign=None), UNKNOWN),
        (replace(VARIED, sign=-1), C(sign=-1), replace(VARIED, sign=-1)),
        (replace(VARIED, zeros=True), ONE, VARIED),
        (replace(VARIED, zeros=True), C(zeros=True), replace(VARIED, zeros=True)),
        # one factor for all elements of a row is one where both have it
        (SCALED, SCALED, SCALED),
        (SCALED, ONE, VARIED),
        (SCALED, replace(SCALED, scaled=("r",)), VARIED),
        (SCALED, VARIED, VARIED),
        # a factor that is known is taken out where both have it, or where all else is known
        (KNOWN, KNOWN, KNOWN),
        (C(common=("x",)), C(common=("x",)), C(common=("x",))),
        (KNOWN, ONE, C(known=("x",), sign=None, zeros=True)),
        (KNOWN, C(common=("y",)), C(known=("x", "y"), sign=None, zeros=True)),
        (C(common=("x",)), ONE, C(known=("x",), sign=None, zeros=True)),
        (KNOWN, C(whole=False), UNKNOWN),
        (replace(KNOWN, whole=False), ONE, UNKNOWN),
        (replace(KNOWN, whole=False), replace(KNOWN, whole=False), replace(KNOWN, whole=False)),
        # factors at joined values stay where both have them
        (C(parts=("p",)), C(parts=("p",)), C(parts=("p",))),
        (C(parts=("p",)), ONE, VARIED),
        (C(parts=("p",), mixed=True), ONE, UNKNOWN),
    ],
)  # fmt: skip
def test_two_paths_that_end_in_one_value(x: Coefficient, y: Coefficient, total: Coefficient) -> None:
    assert added(x, y) == total and added(y, x) == total


NAMES = st.sampled_from(((), ("x",), ("y",), ("x", "y")))


def reached(c: Coefficient) -> Coefficient:
    """Nobody knows all of a coefficient that varies by what nobody knows."""
    return replace(c, whole=c.whole and not c.varies and not c.scaled)


@given(
    *[
        st.builds(
            C,
            varies=st.booleans(),
            sign=st.sampled_from((1, -1, None)),
            zeros=st.booleans(),
            scaled=NAMES,
            known=NAMES,
            common=NAMES,
            whole=st.booleans(),
            mixed=st.booleans(),
            parts=NAMES,
        ).map(reached)
    ]
    * 2
)
def test_paths_have_no_order(x: Coefficient, y: Coefficient) -> None:
    both = added(x, y)
    assert both == added(y, x)
    assert both.unknown or ((x.whole and y.whole) or not both.whole)
    assert both.unknown or both.mixed == (x.mixed or y.mixed)


def test_joined_factors_that_cannot_be_told_apart_vary() -> None:
    assert scattered(KNOWN) is KNOWN
    assert scattered(C(parts=("p",), sign=-1)) == C(varies=True, whole=False, sign=-1)
    assert scattered(C(parts=("p",), mixed=True)) == UNKNOWN


class Small:
    """A graph of a few values, and what stands before δ at one of them.

    x and z are rows of 3 numbers, s and r of one, w is a weight of 3 and k a matrix.
    """

    def __init__(self, *knows: str, several: bool = False, **ranges: ValueRange) -> None:
        self.b = Build(Graph(), infer, (), "bob")
        self.knows, self.several, self.ranges, self.still = frozenset(knows), several, ranges, set[str]()
        for name, size in (("x", 3), ("z", 3), ("s", 1), ("r", 1)):
            self.input(name, TensorType((ROWS, Axis(None, size))))
        self.w = self.weight("w", 3)
        self.k = self.weight("k", 3, 3)
        self.one = self.weight("one", 3, 1)

    def input(self, name: str, type: TensorType) -> None:
        setattr(self, name, self.b.graph.add(Node(name, "feature", (), {"name": name}, type, place="bob")))

    def weight(self, name: str, *sizes: int) -> Node:
        return self.b.weight(name, [Axis(None, size) for size in sizes], Initializer("zeros"))

    def __getattr__(self, name: str) -> Node:
        return self.b.graph[name]

    def op(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        return self.b.op(op, *inputs, **attrs)

    def matmul(self, x: Node, y: Node) -> Node:
        return self.op("matmul", x, y, transpose_x=False, transpose_y=False)

    def backward(self) -> Backward:
        facts = {
            node.id: Fact(
                varies=node.type.batched and node.id not in self.still,
                range=self.ranges.get(node.id, FREE),
            )
            for node in self.b.graph
        }
        return Backward(self.b.graph, facts, self.knows, self.several)

    def at(self, value: Node, start: Coefficient = ONE, node: str = "x") -> Coefficient | None:
        """Of `node`, where `start` is the coefficient at `value`, which reads it."""
        return self.backward().at(self.b.graph[node], {value.id: start}, lambda reader: True)


Step = Callable[[Small], Node]


def sigmoid(g: Small) -> Node:
    return g.op("sigmoid", g.x)


@pytest.mark.parametrize(
    ("step", "start", "found"),
    [
        (lambda g: g.op("add", g.x, g.z), KNOWN, KNOWN),
        (lambda g: g.op("sub", g.x, g.z), ONE, ONE),
        (lambda g: g.op("sub", g.z, g.x), ONE, C(sign=-1)),
        (lambda g: g.op("neg", g.x), C(sign=-1), ONE),
        (lambda g: g.op("neg", g.x), C(sign=None), C(sign=None)),
        (lambda g: g.op("neg", g.x), UNKNOWN, UNKNOWN),
        (lambda g: g.op("softmax", g.x, axis=1), ONE, UNKNOWN),
        (lambda g: g.op("stop_gradient", g.x), ONE, None),
        (lambda g: g.op("sum", g.x, axes=(0,), keep=False), ONE, UNKNOWN),  # over the batch
        (sigmoid, ONE, VARIED),
        (sigmoid, C(sign=-1), replace(VARIED, sign=-1)),
        (sigmoid, C(mixed=True), UNKNOWN),
        (lambda g: g.op("relu", g.x), ONE, replace(VARIED, zeros=True)),
        (lambda g: g.op("relu", g.x), C(parts=("p",)), replace(VARIED, zeros=True)),
    ],
)  # fmt: skip
def test_a_step_back(step: Step, start: Coefficient, found: Coefficient | None) -> None:
    small = Small()
    assert small.at(step(small), start) == found


def test_a_slope_at_a_value_that_the_receiver_knows_is_a_factor_it_knows() -> None:
    small = Small("x", "s")
    assert small.at(sigmoid(small)) == C(known=("sigmoid",))
    assert small.at(small.op("relu", small.x), KNOWN) == C(known=("relu", "x"), zeros=True)
    assert small.at(small.op("sigmoid", small.s), node="s") == C(common=("sigmoid_2",))
    both = small.op("maximum", small.x, small.z)
    assert small.at(both) == replace(VARIED, zeros=True), "of one of two it does not know the slope"


def test_one_slope_a_row_scales_the_row() -> None:
    small = Small()
    top = small.op("sigmoid", small.s)
    assert small.at(top, node="s") == C(scaled=("sigmoid",), whole=False)
    assert small.at(top, C(mixed=True), node="s") == C(scaled=("sigmoid",), whole=False, mixed=True)


def test_a_slope_that_is_the_same_in_all_rows_is_no_matter() -> None:
    small = Small()
    small.still = {"x"}
    assert small.at(sigmoid(small)) == C(whole=False)
    assert small.at(small.op("relu", small.x)) == C(whole=False, zeros=True)


def test_slopes_at_joined_values_are_apart_for_who_knows_one_of_them() -> None:
    small = Small("x")
    joined = small.op("concat", small.x, small.z, axis=1)
    top = small.op("sigmoid", joined)
    (start, found) = small.backward().run(top.id), C(parts=("sigmoid",))
    assert start["concat"] == found
    assert start["x"] == C(known=("sigmoid",)) and start["z"] == VARIED
    several = Small("x", several=True)
    joined = several.op("concat", several.x, several.z, axis=1)
    assert several.at(joined, C(parts=("p",), mixed=True)) == C(known=("p",), mixed=True)
    assert several.at(joined, C(parts=("p",), mixed=True), "z") == UNKNOWN
    pair = small.op("maximum", joined, small.op("concat", small.z, small.x, axis=1))
    assert small.at(pair, node="concat") == replace(VARIED, zeros=True), "a slope at two joined values"


@pytest.mark.parametrize(
    ("range", "sign", "found"),
    [
        (POSITIVE, 1, VARIED),
        (POSITIVE, None, replace(VARIED, sign=None)),
        (POSITIVE.negated(), 1, replace(VARIED, sign=-1)),
        (AT_LEAST_0, 1, replace(VARIED, zeros=True)),
        (AT_MOST_0, -1, replace(VARIED, zeros=True)),
        (FREE, 1, UNKNOWN),
    ],
)
def test_times_a_value_of_others(range: ValueRange, sign: int | None, found: Coefficient) -> None:
    small = Small(z=range, s=range)
    assert small.at(small.op("mul", small.x, small.z), C(sign=sign)) == found
    assert small.at(small.op("mul", small.z, small.x), C(sign=sign)) == found
    # one factor for a row, which tells all elements apart as well as before
    scaled = found if found.unknown else replace(found, varies=False, scaled=("s",))
    assert small.at(small.op("mul", small.x, small.s), C(sign=sign)) == scaled


@pytest.mark.parametrize(
    ("range", "zeros"), [(POSITIVE, False), (AT_MOST_0, True), (FREE, True), (POSITIVE.negated(), False)]
)
def test_times_a_value_that_the_receiver_knows(range: ValueRange, zeros: bool) -> None:
    small = Small("z", "s", z=range, s=range)
    assert small.at(small.op("mul", small.x, small.z)) == C(known=("z",), zeros=zeros)
    assert small.at(small.op("mul", small.x, small.s)) == C(common=("s",), zeros=zeros)
    assert small.at(small.op("div", small.x, small.z), C(zeros=True)) == C(known=("z",), zeros=True)


@pytest.mark.parametrize(
    ("range", "sign"), [(POSITIVE, 1), (POSITIVE.negated(), -1), (FREE, None), (AT_LEAST_0, None)]
)
def test_times_a_weight(range: ValueRange, sign: int | None) -> None:
    small = Small(w=range)
    assert small.at(small.op("mul", small.x, small.w)) == C(sign=sign, whole=False)
    small.knows = frozenset({"w"})
    assert small.at(small.op("mul", small.x, small.w)) == C(sign=sign)
    assert small.at(small.op("mul", small.x, small.w), VARIED) == replace(VARIED, sign=sign)
    assert small.at(small.op("mul", small.x, small.w), C(sign=-1)) == C(sign=-sign if sign else None)


def test_a_value_times_itself_reads_it_twice() -> None:
    assert (lambda g: g.at(g.op("mul", g.x, g.x)))(Small(x=POSITIVE)) == VARIED
    assert (lambda g: g.at(g.op("mul", g.x, g.x)))(Small("x")) == C(known=("x",), zeros=True)


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (ONE, C(sign=None, whole=False)),
        (SCALED, replace(SCALED, sign=None)),
        (C(common=("s",)), C(sign=None, whole=False, common=("s",))),
        (VARIED, UNKNOWN),
        (KNOWN, UNKNOWN),
    ],
)
def test_back_through_a_layer(start: Coefficient, found: Coefficient) -> None:
    small = Small()
    assert small.at(small.matmul(small.x, small.k), start) == found
    alone = small.matmul(small.x, small.one)
    # the layer's one unit: each element is that one number times a weight
    assert small.at(alone, start) == replace(start, sign=None, whole=False)


def test_a_layer_combines_a_slope_of_several_numbers() -> None:
    small = Small(several=True)
    assert small.at(small.matmul(small.x, small.k)) == C(sign=None, whole=False, mixed=True)
    few = Small("k")
    assert few.at(few.matmul(few.x, few.k), C(mixed=True)) == C(sign=None, zeros=True, mixed=True)


def test_back_through_a_layer_that_the_receiver_knows() -> None:
    small = Small("k")
    layer = small.matmul(small.x, small.k)
    assert small.at(layer, KNOWN) == C(known=("x",), sign=None, zeros=True)
    assert small.at(layer, C(whole=False)) == C(sign=None, whole=False), "not all that comes to it is known"
    several = Small("k", several=True)
    assert several.at(several.matmul(several.x, several.k)) == C(sign=None, zeros=True, mixed=True)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("size", [2, 1, None])
def test_back_through_a_product_with_the_rows_of_another(known: bool, size: int | None) -> None:
    small = Small(*(["m"] if known else []))
    small.input("m", TensorType((ROWS, Axis(None, 3), Axis(None, size))))
    row = small.op("reshape", small.x, sizes=(1, 3), names=(None, None))
    found = small.at(small.matmul(row, small.m), node=row.id)
    assert found == (C(known=("m",), sign=None, zeros=True) if known else UNKNOWN)
    small.still = {"m"}
    assert small.at(small.b.graph["matmul"], node=row.id) == C(sign=None, zeros=known, whole=known)


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (ONE, ONE),
        (C(whole=False), C(whole=False)),
        (SCALED, SCALED),
        (VARIED, VARIED),
        (replace(VARIED, sign=None), UNKNOWN),
        (KNOWN, KNOWN),
        (C(whole=False, sign=None), C(whole=False, sign=None)),
        (replace(KNOWN, whole=False), UNKNOWN),
        (replace(KNOWN, varies=True, whole=False), UNKNOWN),
    ],
)
def test_what_is_copied_to_all_elements_of_a_row_gets_their_sum(
    start: Coefficient, found: Coefficient
) -> None:
    small = Small()
    assert small.at(small.op("add", small.s, small.z), start, "s") == found
    wide = small.op("concat", small.s, small.z, axis=1)
    assert small.at(wide, start, "s") == start, "of what is joined each element is there once"
    assert small.at(small.op("add", small.x, small.z), start) == start
    small.input("open", TensorType((ROWS, Axis(None, None))))
    assert small.at(small.op("add", small.s, small.open), start, "s") == start
    assert small.at(small.op("neg", small.open), start, "open") == replace(
        start, sign=start.sign and -start.sign
    )


def test_what_is_read_in_several_places_gets_all_of_it() -> None:
    small = Small()
    for reader in (small.op("softmax", small.x, axis=1), small.op("neg", small.x), sigmoid(small)):
        small.op("add", reader, small.z)
    neg, add = small.neg, small.op("add", small.x, small.x)
    back = small.backward()
    found = {neg.id: C(sign=-1), "sigmoid": ONE, add.id: ONE}
    assert back.at(small.x, found, lambda reader: True) == VARIED
    assert back.at(small.x, found, lambda reader: reader.id != "sigmoid") == ONE
    assert back.at(small.x, found, lambda reader: reader.op == "softmax") is None


def test_all_values_on_the_way_have_a_coefficient_and_no_others() -> None:
    small = Small()
    hidden = small.op("neg", small.x)
    score = small.op("add", small.op("neg", hidden), small.z)
    small.op("softmax", small.op("add", score, small.x), axis=1)  # behind the score
    small.op("exp", small.z)
    assert small.backward().run(score.id) == {
        score.id: ONE, "neg_2": ONE, "z": ONE, "neg": C(sign=-1), "x": ONE,
    }  # fmt: skip


def test_gradients_are_no_readers() -> None:
    small = Small()
    with small.b.within(phase="backward"):
        back = small.op("neg", small.x)
    assert small.at(back) is None
