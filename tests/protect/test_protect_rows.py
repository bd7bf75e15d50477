"""Gradients taken apart: what each row adds is what a batch of that row alone gives, in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from granting import granted
from test_protect_graphs import builder, evaluated
from test_protect_weights import BOTTOMS, HEAD, PROTECT, TAIL

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.ir.build import Initializer
from vflc.ir.graph import Node
from vflc.ir.model import Gradient
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops.protection import HAIR
from vflc.ops.summands import Each, Looked, Outer, matrix, shaped
from vflc.passes.protect.row_gradients import NoSum, Parting

BATCH = 3


def type_of(*sizes: int | None, batched: bool = True, dtype: Any = "float") -> TensorType:
    return TensorType((*[ROWS] * batched, *(Axis(None, size) for size in sizes)), dtype)


class At:
    """Values of rows, weights and what bob sends, at alice; ops by name."""

    def __init__(self) -> None:
        self.b, _ = builder(
            x=type_of(3), y=type_of(2), z=type_of(), g=type_of(4, 3), k=type_of(4, 2), deep=type_of(2, 2, 3),
            ids=type_of(dtype="int"), tags=type_of(2, dtype="int"), rows=type_of(2), pairs=type_of(2, 2),
            f=type_of(1), sent=type_of(3), alone=type_of(3, batched=False),
        )  # fmt: skip
        for name, sizes in (("w", (3,)), ("v", (3, 2)), ("u", (2, 4)), ("table", (5, 2)), ("one", ())):
            axes = [Axis("row" if name == "table" and not i else None, size) for i, size in enumerate(sizes)]
            self.b.weight(name, axes, Initializer("zeros"))
        for node in [*self.b.graph]:
            place = "bob" if node.id in ("sent", "alone") else "alice"
            self.b.graph.nodes[node.id] = type(node)(
                node.id,
                node.op,
                node.inputs,
                node.attrs,
                node.type,
                node.sources,
                place,
                node.phase,
                node.span,
            )
        self.b.place = "alice"

    def __getattr__(self, name: str) -> Node:
        return self.b.graph[name]

    def op(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        return self.b.op(op, *inputs, **attrs)

    def summed(self, x: Node, *axes: int, keep: bool = False) -> Node:
        return self.op("sum", x, axes=(0, *axes), keep=keep)

    def looked(self, ids: Node, values: Node) -> Node:
        return self.op("rows", ids, values, axes=self.table.type.axes)

    def given(self, seed: int = 0) -> dict[str, Any]:
        draw, values = np.random.default_rng(seed), {}
        for node in self.b.graph:
            if node.op in ("feature", "weight"):
                shape = [BATCH if size is None else size for size in node.type.sizes]
                whole = node.type.dtype == "int"
                values[node.id] = draw.integers(-1, 5, shape) if whole else draw.normal(size=shape)
        return values

    def row(self, given: dict[str, Any], index: int) -> dict[str, Any]:
        return {n: v[index : index + 1] if self.b.graph[n].type.batched else v for n, v in given.items()}


Make = Callable[[At], Node]
SUMS: dict[str, Make] = {
    "sum": lambda a: a.summed(a.x),
    "sum of rows alone": lambda a: a.summed(a.z),
    "sum over more": lambda a: a.summed(a.g, 1),
    "sum over all": lambda a: a.summed(a.deep, 1, 2, 3),
    "sum kept": lambda a: a.summed(a.x, keep=True),
    "sum of several axes": lambda a: a.summed(a.deep, 2, keep=True),
    "contract": lambda a: a.op("contract", a.x, a.y),
    "contract of several": lambda a: a.op("contract", a.g, a.k),
    "contract of many": lambda a: a.op("contract", a.deep, a.op("exp", a.deep)),
    "rows": lambda a: a.looked(a.ids, a.rows),
    "rows of many": lambda a: a.looked(a.tags, a.pairs),
    "added": lambda a: a.op("add", a.summed(a.x), a.summed(a.op("exp", a.x))),
    "added outer": lambda a: a.op("add", a.op("contract", a.x, a.y), a.op("contract", a.x, a.rows)),
    "less": lambda a: a.op("sub", a.summed(a.x), a.summed(a.op("exp", a.x))),
    "less outer": lambda a: a.op("sub", a.op("contract", a.x, a.y), a.op("contract", a.x, a.rows)),
    "free first": lambda a: a.op("add", a.w, a.summed(a.x)),
    "free last": lambda a: a.op("add", a.summed(a.x), a.w),
    "free taken off": lambda a: a.op("sub", a.summed(a.x), a.w),
    "taken off free": lambda a: a.op("sub", a.w, a.summed(a.x)),
    "two free": lambda a: a.op("add", a.op("sub", a.summed(a.x), a.w), a.op("exp", a.w)),
    "free between": lambda a: a.op("sub", a.op("add", a.w, a.summed(a.x)), a.op("exp", a.w)),
    "free less free": lambda a: a.op("sub", a.op("add", a.w, a.summed(a.x)), a.op("add", a.w, a.summed(a.x))),
    "two tables": lambda a: a.op("add", a.looked(a.ids, a.rows), a.looked(a.tags, a.pairs)),
    "turned": lambda a: a.op("neg", a.summed(a.x)),
    "turned with free": lambda a: a.op("neg", a.op("add", a.summed(a.x), a.w)),
    "named": lambda a: a.op("rename", a.op("contract", a.x, a.y), names=("p", "q")),
    "named with free": lambda a: a.op("rename", a.op("add", a.summed(a.x), a.w), names=("p",)),
    "in another shape": lambda a: a.op(
        "reshape", a.op("contract", a.x, a.y), sizes=(2, 3), names=(None, None)
    ),
    "crosswise": lambda a: a.op("transpose", a.op("contract", a.x, a.y), perm=(1, 0)),
    "a part": lambda a: a.op("slice", a.op("contract", a.x, a.y), axis=1, start=1, stop=2),
    "padded": lambda a: a.op("pad", a.summed(a.x), axis=0, before=1, after=2),
    "with an axis": lambda a: a.op("unsqueeze", a.summed(a.x), axis=1, name=None),
    "without one": lambda a: a.op("squeeze", a.summed(a.x, keep=True), axis=0),
    "summed again": lambda a: a.op("sum", a.op("contract", a.x, a.y), axes=(1,), keep=False),
    "mean of it": lambda a: a.op("mean", a.op("contract", a.x, a.y), axes=(0,), keep=True),
    "times a weight": lambda a: a.op("mul", a.summed(a.op("sum", a.x, axes=(1,), keep=True)), a.one),
    "a weight times it": lambda a: a.op("mul", a.w, a.op("contract", a.y, a.x)),
    "times with free": lambda a: a.op("mul", a.op("add", a.op("contract", a.x, a.y), a.v), a.one),
    "a number times a weight": lambda a: a.op("mul", a.summed(a.z), a.w),
    "a number over a weight": lambda a: a.op("div", a.summed(a.z), a.w),
    "a number copied out": lambda a: a.op("expand_like", a.summed(a.z), a.v),
    "over a weight": lambda a: a.op("div", a.op("contract", a.y, a.x), a.w),
    "copied out": lambda a: a.op(
        "expand_like", a.op("sum", a.op("contract", a.x, a.y), axes=(1,), keep=True), a.v
    ),
    "matrix product": lambda a: a.op(
        "matmul", a.op("contract", a.x, a.y), a.u, transpose_x=False, transpose_y=False
    ),
    "product from the left": lambda a: a.op(
        "matmul", a.v, a.op("contract", a.y, a.x), transpose_x=False, transpose_y=False
    ),
    "product crosswise": lambda a: a.op(
        "matmul", a.op("contract", a.y, a.x), a.u, transpose_x=True, transpose_y=False
    ),
    "contract with a weight": lambda a: a.op("contract", a.v, a.op("contract", a.x, a.rows)),
    "contract by a weight": lambda a: a.op("contract", a.op("contract", a.x, a.rows), a.v),
    "what bob sends": lambda a: a.summed(a.op("mul", a.x, a.sent)),
    "what bob sends of no row": lambda a: a.summed(a.op("mul", a.x, a.alone)),
    "shared": lambda a: a.op("add", a.op("neg", s := a.summed(a.x)), s),
}


@pytest.mark.parametrize("name", SUMS)
def test_what_each_row_adds(name: str) -> None:
    at = At()
    gradient = SUMS[name](at)
    free, rows = Parting(at.b, "alice").of(Gradient("w", gradient.id))
    assert rows is not None
    square, sums = rows.square(at.b), rows.total(at.b, at.f)
    given = at.given()
    whole, alone = evaluated(at.b, given), [evaluated(at.b, at.row(given, i)) for i in range(BATCH)]
    rest = np.zeros(()) if free is None else whole[free.id]
    each = [found[gradient.id] - rest for found in alone]
    np.testing.assert_allclose(whole[gradient.id], rest + sum(each), atol=1e-12)
    factor = given["f"][:, 0]
    total = sum(whole[one.id] for one in sums)
    assert total.shape == whole[gradient.id].shape
    np.testing.assert_allclose(total, sum(f * one for f, one in zip(factor, each, strict=True)), atol=1e-12)
    lengths = np.array([(one**2).sum() for one in each])
    assert whole[square.id].shape == (BATCH, 1)
    if isinstance(rows, Looked):
        assert (whole[square.id][:, 0] >= lengths - 1e-12).all()
    else:
        np.testing.assert_allclose(whole[square.id][:, 0], lengths, atol=1e-12)


def test_what_is_cheap_stays_what_it_is() -> None:
    at = At()

    def parts(name: str) -> Any:
        gradient = Gradient("w", SUMS[name](at).id)
        return Parting(at.b, "alice").of(gradient)

    assert isinstance(parts("contract")[1], Outer) and isinstance(parts("named")[1], Outer)
    assert isinstance(parts("contract of several")[1], Each) and isinstance(parts("rows")[1], Looked)
    assert len(parts("two tables")[1].pairs) == 2
    assert parts("sum")[0] is None and parts("free first")[0] is at.w and parts("free last")[0] is at.w
    free = at.op("exp", at.w)
    assert Parting(at.b, "alice").of(Gradient("w", free.id)) == (free, None)
    pairs = Parting(at.b, "alice").of(Gradient("table", None, (("ids", "rows"), ("tags", "pairs"))))
    assert pairs == (None, Looked(at.table, ((at.ids, at.rows), (at.tags, at.pairs))))


REFUSED: dict[str, tuple[Make, str]] = {
    "another place's sum": (
        lambda a: _at(a, "bob", lambda: a.op("add", a.w, a.summed(a.sent))), "is made at bob, summed over",
    ),
    "a mean": (lambda a: a.op("mean", a.x, axes=(0,), keep=False), "`mean` of values of a batch is not"),
    "a largest": (lambda a: a.op("max", a.x, axes=(0,), keep=False), "`max` of values of a batch is not"),
    "two sums multiplied": (
        lambda a: a.op("mul", a.summed(a.x), a.summed(a.op("exp", a.x))), "`mul` of two sums over the batch",
    ),
    "a root": (lambda a: a.op("sqrt", a.summed(a.x)), "`sqrt` of a sum over the batch is not supported"),
    "over a sum": (lambda a: a.op("div", a.w, a.summed(a.x)), "`div` of a sum over the batch is not"),
    "a table less": (
        lambda a: a.op("sub", a.looked(a.ids, a.rows), a.looked(a.tags, a.pairs)), "read in another way",
    ),
    "a table and more": (lambda a: a.op("add", a.looked(a.ids, a.rows), a.table_sum()), "another way"),
    "a table turned": (lambda a: a.op("neg", a.looked(a.ids, a.rows)), "read in another way"),
    "rows that meet": (
        lambda a: a.summed(a.op("sub", a.x, a.op("mean", a.x, axes=(0,), keep=True))), "used in every row",
    ),
    "rows that met before": (
        lambda a: a.op("contract", a.op("exp", a.op("sub", a.x, a.summed(a.x))), a.y), "used in every row",
    ),
    "ids that rows meet in": (
        lambda a: a.looked(a.ids, a.op("add", a.rows, a.summed(a.y))), "used in every row",
    ),
}  # fmt: skip


def _at(at: At, place: str, make: Callable[[], Node]) -> Node:
    with at.b.within(place=place):
        return make()


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_rows_add_up_to(name: str) -> None:
    make, why = REFUSED[name]
    at = At()
    at.table_sum = lambda: at.op("contract", at.op("pad", at.x, axis=1, before=1, after=1), at.rows)  # type: ignore
    gradient = make(at)
    with pytest.raises(NoSum) as refused:
        Parting(at.b, "alice").of(Gradient("w", gradient.id))
    assert why in refused.value.why and refused.value.node.id in at.b.graph


def test_a_penalty_on_the_rows_that_are_read_is_refused() -> None:
    at = At()
    distinct = at.op("unique", at.ids)
    values = at.op("gather", at.table, distinct, missing=False)
    for pair in ((distinct.id, values.id), (distinct.id, "rows"), ("ids", values.id)):
        with pytest.raises(NoSum, match="reveals which rows these are"):
            Parting(at.b, "alice").of(Gradient("table", None, (pair,)))


def test_what_others_send_of_no_row_is_taken_as_given() -> None:
    """Bob's mean of his rows is bob's: no row of alice's meets another in it, though it depends on rows."""
    at = At()
    theirs = _at(at, "bob", lambda: at.op("mean", at.sent, axes=(0,), keep=True))
    gradient = at.summed(at.op("mul", at.x, theirs))
    _, rows = Parting(at.b, "alice").of(Gradient("w", gradient.id))
    assert isinstance(rows, Each)
    mine = at.op("exp", theirs)
    summed = at.summed(at.op("mul", at.x, mine))
    assert isinstance(Parting(at.b, "alice").of(Gradient("w", summed.id))[1], Each)
    count = at.op("count", at.x, axes=(0,))
    counted = at.op("contract", at.x, at.op("div", at.y, count))
    rows = Parting(at.b, "alice").of(Gradient("w", counted.id))[1]
    assert isinstance(rows, Outer), "of what is counted the shape alone is read"
    like = at.op("expand_like", at.op("exp", at.one), at.summed(at.x))
    parts = Parting(at.b, "alice").of(Gradient("w", like.id))
    assert parts == (like, None), "and of what a value is repeated like"


# --- shapes --------------------------------------------------------------------------------------------


def test_values_as_matrices_and_in_the_shape_of_others() -> None:
    b, (deep, open_, g) = builder(
        deep=type_of(2, 5, 3), open=TensorType((ROWS, Axis("tag", None), Axis(None, 1), Axis(None, 3))),
        g=type_of(4, 3),
    )  # fmt: skip
    assert matrix(b, g) is g
    assert matrix(b, deep).type.sizes == (None, 10, 3) and matrix(b, open_).type.sizes == (None, None, 3)
    like = b.weight("like", [Axis("p", 12)], Initializer("zeros"))
    named = b.weight("same", [Axis("q", 4), Axis(None, 3)], Initializer("zeros"))
    assert shaped(b, g, named) is g
    made = shaped(b, g, like)
    assert made.type.sizes == (None, 12) and made.type.axes[1].name == "p"


def test_ids_of_axes_with_other_names_are_compared() -> None:
    """Each many-valued column has an axis of its own name."""
    b, (ids, tags, values, more) = builder(
        ids=TensorType((ROWS, Axis("value", None)), "int"), tags=TensorType((ROWS, Axis("tag", 2)), "int"),
        values=TensorType((ROWS, Axis("value", None), Axis(None, 2))),
        more=TensorType((ROWS, Axis("tag", 2), Axis(None, 2))),
    )  # fmt: skip
    table = b.weight("table", [Axis("row", 5), Axis(None, 2)], Initializer("zeros"))
    looked, draw = Looked(table, ((ids, values), (tags, more))), np.random.default_rng(0)
    given = {
        "ids": np.array([[0, 0, -1], [1, 2, 3]]), "tags": np.array([[0, 4], [-1, -1]]),
        "values": draw.normal(size=(2, 3, 2)), "more": draw.normal(size=(2, 2, 2)),
    }  # fmt: skip
    square = looked.square(b)
    found = evaluated(b, given)[square.id]
    norms = [np.linalg.norm(given[name], axis=-1) for name in ("values", "more")]
    first = (norms[0][0, 0] + norms[0][0, 1] + norms[1][0, 0]) ** 2 + norms[1][0, 1] ** 2
    np.testing.assert_allclose(found[:, 0], [first, (norms[0][1] ** 2).sum()])


# --- whole specs ---------------------------------------------------------------------------------------


def inputs(graph: Any, count: int, seed: int) -> dict[str, Any]:
    """Numbers for all that a run feeds; of ids, no row of a table twice in a row of the batch."""
    draw, values = np.random.default_rng(seed), {}
    city = draw.integers(0, 5, count)
    tags = np.array([[0, 1, -1], [2, 1, 3], [1, -1, -1], [-1, -1, -1]] * count)[:count]
    known = {"alice.city": city, "alice.home": (city + draw.integers(1, 5, count)) % 5, "alice.tags": tags}
    known["bob.liked"] = draw.integers(0, 2, (count, 1)).astype(float)
    weights = np.random.default_rng(7)
    for node in graph:
        if node.op == "weight":
            values[node.id] = weights.normal(size=node.type.sizes)
        elif node.op == "drawn":
            values[node.id] = draw.normal(size=node.attrs["width"])
        elif node.op in ("feature", "label", "example_weight"):
            values[node.id] = known.get(node.id, draw.normal(size=(count, 1)))
    return values


def private(spec: str) -> tuple[Any, dict[str, str]]:
    """A model, and by weight of alice's the value that it learns from."""
    model = compile_source(SourceText("m.vfl", granted(spec))).model
    found = {g.weight: g for g in model.gradients if model.graph[g.weight].place == "alice"}
    return model, {weight: g.dense for weight, g in found.items()}


@pytest.mark.parametrize("name", BOTTOMS)
@pytest.mark.parametrize("clip", [1e6, 0.05])
def test_what_weights_learn_from(name: str, clip: float) -> None:
    """The mean of the rows' clipped gradients, and the noise that was drawn over the number of rows."""
    spec = f"{HEAD}{BOTTOMS[name]}{TAIL.replace('MORE', '')}"
    model, learned = private(spec + PROTECT.format(clip=clip, noise=2.0))
    given, count = inputs(model.graph, 6, 1), 6
    values = evaluated(_Of(model.graph), given)
    (guard,) = model.guards
    assert set(guard.weights) == set(learned) and guard.place == "alice" and guard.phase == "backward"
    each = []
    for index in range(count):
        row = {n: v[index : index + 1] if model.graph[n].type.batched else v for n, v in given.items()}
        silent = {n: np.zeros_like(v) if model.graph[n].op == "drawn" else v for n, v in row.items()}
        each.append(_plain(spec, silent))
    lengths = [np.sqrt(sum((part**2).sum() for part in one.values())) for one in each]
    drawn = {node.id: node for node in model.graph if node.op == "drawn"}
    assert {node.attrs["scale"] for node in drawn.values()} == {2.0 * clip}
    for weight, gradient in learned.items():
        factors = [min(1.0, clip * HAIR / max(length, 1e-12)) for length in lengths]
        mean = sum(f * one[weight] for f, one in zip(factors, each, strict=True)) / count
        (noise,) = [n for n in drawn if n in model.graph.ancestors([gradient])]
        noise_part = given[noise].reshape(mean.shape) / count
        np.testing.assert_allclose(values[gradient], mean + noise_part, rtol=1e-6, atol=1e-12)


class _Of:
    """A graph where `evaluated` wants the build of one."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph


_MODELS: dict[str, tuple[Any, dict[str, str]]] = {}


def _plain(spec: str, given: dict[str, Any]) -> dict[str, Any]:
    """The gradients of a spec without protection; of a table, all of it."""
    if spec not in _MODELS:
        _MODELS[spec] = private(spec)
    model, _ = _MODELS[spec]
    values = evaluated(_Of(model.graph), {n: v for n, v in given.items() if n in model.graph})  # type: ignore
    found = {}
    for gradient in model.gradients:
        if model.graph[gradient.weight].place != "alice":
            continue
        if gradient.dense is not None:
            found[gradient.weight] = values[gradient.dense]
            continue
        table = np.zeros(model.graph[gradient.weight].type.sizes)
        for ids, rows in gradient.rows:
            flat = values[ids].reshape(-1)
            np.add.at(table, flat[flat >= 0], values[rows].reshape(-1, table.shape[1])[flat >= 0])
        found[gradient.weight] = table
    return found
