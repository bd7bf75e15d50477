"""What protections need of a graph, on graphs of a few nodes: who reads what where, sums, chains, rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vflc.diagnostics import DiagnosticCollector, Span
from vflc.diagnostics import SourceText as Text
from vflc.ir.build import Build, Initializer
from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.model import Gradient, Loss, names_of
from vflc.ir.release import Guard, Protection, Target
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import infer
from vflc.ops.source import INPUTS
from vflc.ops.summands import Each, Looked, Outer
from vflc.passes.protect.gradients import _check_budget, _Gradients
from vflc.passes.protect.joint import (
    ProtectionChain,
    covers_rows,
    fresh,
    named,
    readers_elsewhere,
    rewired,
    warn_of_nothing_saved,
)
from vflc.passes.protect.row_gradients import Parting
from vflc.passes.protect.sums import GuardedSum, find_sum, offered
from vflc.passes.protect.weights import _listed

SPAN = Span(Text("spec.vfl", "x"), 0, 1)
ROW = TensorType((ROWS, Axis(None, 2)))
AGE = frozenset({SecretSource("alice", "Age")})


def node(
    id: str, place: str | None, *inputs: str, op: str = "add", type: TensorType = ROW, **more: Any
) -> Node:
    return Node(id, op, inputs, more.pop("attrs", {}), type, more.pop("sources", AGE), place, **more)


def graph(*nodes: Node) -> Graph:
    return Graph({each.id: each for each in nodes})


def protection(mechanism: str = "gaussian", target: str = "a", **options: Any) -> Protection:
    return Protection("p", Target((), None, target, SPAN), mechanism, options, SPAN)


def codes(collector: DiagnosticCollector) -> list[str]:
    return [each.code for each in collector.diagnostics]


# --- joint ------------------------------------------------------------------------------------------


def test_who_reads_a_value_elsewhere() -> None:
    found = readers_elsewhere(
        graph(
            node("a", "alice"), node("c", None, op="constant"), node("own", "alice", "a"),
            node("h", "hub", "a", "c"), node("b", "bob", "a", "h"), node("b2", "bob", "a", "h"),
            node("placeless", None, "a"),
        )
    )  # fmt: skip
    assert {name: places for name, places in found.items() if places} == {"a": ["hub", "bob"], "h": ["bob"]}


def test_values_by_name_and_by_scope() -> None:
    assert named("a", ["ab", "a", "a.b", "b.a", "a.b.c"]) == ["a", "a.b", "a.b.c"]


def test_a_name_that_is_free() -> None:
    assert fresh(graph(), "a") == "a" and fresh(graph(node("a", None)), "a") == "a_2"
    assert fresh(graph(node("a", None), node("a_2", None)), "a") == "a_3"


def test_a_graph_whose_nodes_read_others_keeps_inputs_before_users() -> None:
    old = graph(node("a", "x"), node("b", "x", "a"), node("c", "x", "b"), node("d", "x", "a"))
    found = rewired(old, {"b": node("b", "x", "d", "a")})
    assert list(found.nodes) == ["a", "d", "b", "c"] and found["b"].inputs == ("d", "a")
    assert list(rewired(old, {}).nodes) == list(old.nodes)


@pytest.mark.parametrize(
    ("type", "covered"),
    [
        (ROW, True),
        (TensorType((ROWS,)), True),
        (TensorType((ROWS, Axis(None, None))), False),
        (TensorType((Axis(None, 2),)), False),
        (TensorType((ROWS, Axis(None, 2)), "int"), False),
    ],
)
def test_protections_cover_rows_of_numbers(type: TensorType, covered: bool) -> None:
    collector = DiagnosticCollector()
    assert covers_rows([node("good", "x"), node("a", "x", type=type)], protection(), collector) is covered
    assert codes(collector) == ["VFL0333"] * (not covered)


@pytest.mark.parametrize(
    ("mechanism", "per", "size", "warned"),
    [("quantize", "row", 1, True), ("quantize", "batch", 1, False), ("quantize", "row", 2, False),
     ("top_k", "row", 1, False)],
)  # fmt: skip
def test_a_number_alone_in_its_row_saves_nothing(mechanism: str, per: str, size: int, warned: bool) -> None:
    collector, one = DiagnosticCollector(), TensorType((ROWS, Axis(None, size)))
    values = [node("wide", "x"), node("a", "x", type=one), node("b", "x", type=one)]
    warn_of_nothing_saved(values, protection(mechanism, per=per, bits=4), collector)
    assert codes(collector) == ["VFL0226"] * warned


@pytest.mark.parametrize(
    ("before", "after", "follows"),
    [
        (None, "gaussian", True), (None, "top_k", True), ("gaussian", "top_k", True),
        ("gaussian", "secure_sum", True),
        ("gaussian", "gaussian", False), ("top_k", "gaussian", False), ("secure_sum", "gaussian", False),
        ("top_k", "secure_sum", False), ("secure_sum", "top_k", False), ("iso", "quantize", True),
    ],
)  # fmt: skip
def test_what_may_follow_what(before: str | None, after: str, follows: bool) -> None:
    chain, collector = (
        ProtectionChain({} if before is None else {"a": protection(before)}),
        DiagnosticCollector(),
    )
    assert chain.follows(["free", "a"], protection(after), collector) is follows
    assert codes(collector) == ["VFL0336"] * (not follows)


# --- sums -------------------------------------------------------------------------------------------


def summed(*more: Node, top: tuple[str, ...] = ("ac", "b")) -> Graph:
    """a of alice and c of carol are added at the hub, and then b of bob."""
    own = [node(name, place) for name, place in (("a", "alice"), ("b", "bob"), ("c", "carol"))]
    return graph(*own, node("ac", "hub", "a", "c"), node("acb", "hub", *top), *more)


def found(g: Graph, name: str = "a") -> GuardedSum | None:
    return find_sum(g, g.users(), name)


def test_a_sum_of_several_places() -> None:
    whole = GuardedSum("acb", "hub", ("a", "c", "b"))
    assert [found(summed(), name) for name in "abc"] == [whole] * 3
    assert found(summed(node("end", "hub", "acb", op="exp"))) == whole, "what is made of the sum is none"
    assert found(summed(node("own", "alice", "a", op="exp"))) == whole, "what alice does with it is hers"
    shaped = summed(node("named", "hub", "acb", op="rename"))
    assert found(shaped) == GuardedSum("named", "hub", ("a", "c", "b"))


def test_what_enters_more_than_a_sum_is_in_none() -> None:
    assert found(summed(node("more", "hub", "a", op="exp"))) is None
    assert found(summed(node("more", "bob", "a", op="exp"))) is None
    assert found(graph(node("a", "alice"), node("twice", "hub", "a", "a"))) is None
    assert found(graph(node("a", "alice"), node("times", "hub", "a", op="mul"))) is None
    assert found(graph(node("a", "alice"))) is None
    part = found(summed(node("more", "hub", "ac", op="exp")), "b")
    assert part == GuardedSum("acb", "hub", ("b",)), "a part of the sum that is used elsewhere"
    alone = found(summed(node("more", "hub", "c", op="exp")))
    assert alone == GuardedSum("acb", "hub", ("a", "b")), "c is known, what it is added to is not"
    own = graph(node("a", "alice"), node("b", "bob"), node("h", "hub"), node("ah", "hub", "a", "h"),
                node("s", "hub", "ah", "b"))  # fmt: skip
    assert found(own) == GuardedSum("s", "hub", ("a", "b"))


def test_sums_that_could_travel_masked_are_offered() -> None:
    g = summed()
    (offer,) = offered(g, [])
    assert (offer.place, offer.terms) == ("hub", ("a", "c", "b"))
    assert offer.text.startswith("hub reads `a`, `c` and `b` only as a sum: `protect a with secure_sum`")
    masked = Guard("p", "alice", "forward", ("c",), ("c",), "partial", "")
    assert not offered(g, [masked])
    noisy = Guard("p", "alice", "forward", ("c",), ("d",), "proven", "")
    assert len(offered(g, [noisy])) == 1
    assert not offered(graph(node("a", "alice"), node("b", "alice"), node("s", "hub", "a", "b")), [])
    wide = node("b", "bob", type=TensorType((ROWS, Axis(None, 3))))
    assert not offered(graph(node("a", "alice"), wide, node("s", "hub", "a", "b")), [])
    public = [node(name, place, sources=frozenset()) for name, place in (("a", "alice"), ("b", "bob"))]
    assert not offered(graph(*public, node("s", "hub", "a", "b")), [])
    once = [node(n, p, type=TensorType((Axis(None, 2),))) for n, p in (("a", "alice"), ("b", "bob"))]
    assert not offered(graph(*once, node("s", "hub", "a", "b")), [])


# --- gradients --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "epochs", "guards", "code"),
    [
        ({"epsilon": 8.0}, 3, 1, None),
        ({"epsilon": None, "noise": 1e-3}, 3, 1, None),
        ({"epsilon": 1e-4, "delta": 1e-9}, 3, 1, "VFL0337"),
        ({"epsilon": 1e-4, "delta": 1e-9}, 3, 0, None),
        ({"epsilon": 3.0, "noise": 5.0}, 1, 1, None),
        ({"epsilon": 3.0, "noise": 5.0}, 9, 1, "VFL0312"),
        ({"epsilon": 3.0, "noise": 5.0}, 1, 9, "VFL0312"),
        ({"epsilon": 3.0, "noise": 5.0, "passes": 8}, 1, 1, "VFL0312"),
    ],
)
def test_an_epsilon_has_to_do_for_all_messages_of_a_row(
    options: dict[str, Any], epochs: int, guards: int, code: str | None
) -> None:
    given = {"noise": None, "delta": 1e-6, "limit": 100.0} | options
    guard = Guard("p", "bob", "backward", ("a",), ("b",), "proven", "", options=given)
    other = Guard("other", "bob", "backward", ("a",), ("b",), "proven", "", options={"passes": 99})
    model: Any = SimpleNamespace(guards=[other, *[guard] * guards], train=SimpleNamespace(epochs=epochs))
    collector = DiagnosticCollector()
    _check_budget(model, protection(**given), collector)
    assert codes(collector) == ([] if code is None else [code])
    if code == "VFL0312":
        said = collector.diagnostics[0].message
        assert said.startswith(
            "1 epoch with" if epochs == 1 and "passes" not in options else f"{epochs} epoch"
        )
        assert ("8 passes after training" in said) is ("passes" in options)


@pytest.mark.parametrize(
    ("sources", "losses", "place", "found"),
    [
        ({"bob.y"}, (("bce", "bob.y"),), "bob", "bob.y"),
        ({"bob.y"}, (("mse", "bob.y"),), "bob", None),
        ({"bob.y", "bob.z"}, (("bce", "bob.y"),), "bob", None),
        (set(), (("bce", "bob.y"),), "bob", None),
        ({"bob.y"}, (("bce", "bob.y"),), "alice", None),
    ],
)
def test_the_label_that_parts_a_batch(sources: set[str], losses: Any, place: str, found: str | None) -> None:
    labels = frozenset(SecretSource(*each.split("."), True) for each in sources)  # type: ignore[misc]
    g = graph(node("bob.y", "bob", op="label"), node("bob.z", "bob", op="label"))
    made = tuple(Loss("y", "l", 1.0, kind, None, label, SPAN) for kind, label in losses)
    drawn = Guard("p", "bob", "forward", ("bob.y",), ("z",), "proven", "", mechanism="label_dp")
    for guards in ((), (drawn,)):
        model: Any = SimpleNamespace(graph=g, losses=made, guards=guards)
        collector, wanted = DiagnosticCollector(), None if guards else found
        work = _Gradients(model, collector)
        assert work._label(protection("marvell"), [node("g", "bob", sources=labels | AGE)], place) == wanted
        assert codes(collector) == ["VFL0333"] * (wanted is None)


# --- rows of gradients ------------------------------------------------------------------------------


def evaluated(b: Build, given: dict[str, Any]) -> dict[str, Any]:
    """Every value of a graph by the reference of its op."""
    from vflc.ops import OPS

    values: dict[str, Any] = dict(given)
    for each in b.graph:
        if each.id not in values and each.op not in INPUTS:
            inputs = [values[name] for name in each.inputs]
            values[each.id] = OPS[each.op].reference(each, inputs, [b.graph[n].type for n in each.inputs])
    return values


def builder(**types: TensorType) -> tuple[Build, list[Node]]:
    b = Build(Graph(), infer)
    return b, [b.graph.add(Node(name, "feature", (), {"name": name}, type)) for name, type in types.items()]


FACTOR = np.array([[0.5], [2.0], [0.0]])


@pytest.mark.parametrize("sizes", [(), (2,), (2, 3), (2, 3, 2)])
def test_summands_as_they_are(sizes: tuple[int, ...]) -> None:
    b, (x, f) = builder(
        x=TensorType((ROWS, *(Axis(None, s) for s in sizes))), f=TensorType((ROWS, Axis(None, 1)))
    )
    each, rows = Each(x), np.random.default_rng(0).normal(size=(3, *sizes))
    square, (total,) = each.square(b), each.total(b, f)
    values = evaluated(b, {"x": rows, "f": FACTOR})
    flat = rows.reshape(3, -1)
    assert np.allclose(values[square.id], (flat**2).sum(1, keepdims=True))
    assert np.allclose(values[total.id], (flat * FACTOR).sum(0).reshape(sizes))


def test_summands_that_are_outer_products() -> None:
    b, (x, y, f) = builder(x=ROW, y=TensorType((ROWS, Axis(None, 3))), f=TensorType((ROWS, Axis(None, 1))))
    outer, draw = Outer(x, y), np.random.default_rng(0)
    given = {"x": draw.normal(size=(3, 2)), "y": draw.normal(size=(3, 3)), "f": FACTOR}
    square, (total,), leaf = outer.square(b), outer.total(b, f), outer.each(b).leaf
    values = evaluated(b, given)
    products = given["x"][:, :, None] * given["y"][:, None, :]
    assert np.allclose(values[leaf.id], products)
    assert np.allclose(values[square.id], (products**2).sum((1, 2))[:, None])
    assert np.allclose(values[total.id], (products * FACTOR[:, :, None]).sum(0))


@pytest.mark.parametrize("shape", [(), (2,), (2, 2)])
def test_rows_of_a_table_are_at_most_as_long_as_their_parts_together(shape: tuple[int, ...]) -> None:
    axes = tuple(Axis(None, size) for size in shape)
    types = {"ids": TensorType((ROWS, *axes), "int"), "values": TensorType((ROWS, *axes, Axis(None, 2)))}
    b, (ids, values, other, f) = builder(
        **types, other=TensorType((ROWS,), "int"), f=TensorType((ROWS, Axis(None, 1)))
    )
    more = b.graph.add(Node("more", "feature", (), {"name": "more"}, ROW))
    table = b.weight("table", [Axis(None, 4), Axis(None, 2)], Initializer("zeros"))
    looked, draw = Looked(table, ((ids, values), (other, more))), np.random.default_rng(1)
    given = {
        "ids": draw.integers(-1, 2, (3, *shape)), "values": draw.normal(size=(3, *shape, 2)), "f": FACTOR,
        "other": np.array([1, 0, 3]), "more": draw.normal(size=(3, 2)),
    }  # fmt: skip
    square = looked.square(b)
    assert looked.leaf is ids and len(looked.total(b, f)) == 2
    found = evaluated(b, given)[square.id]
    for row in range(3):
        lengths = np.zeros(4)
        for id, part in zip(given["ids"][row].reshape(-1), given["values"][row].reshape(-1, 2), strict=True):
            if id >= 0:
                lengths[id] += np.linalg.norm(part)
        lengths[given["other"][row]] += np.linalg.norm(given["more"][row])
        assert found[row, 0] == pytest.approx((lengths**2).sum())


def test_names_of_weights() -> None:
    assert names_of(node("w", "bob")) == ["w"]
    parts = [SimpleNamespace(name="u"), SimpleNamespace(name="v")]
    assert names_of(node("w", "bob", attrs={"parts": parts})) == ["u", "v"]
    assert _listed([f"w{i}" for i in range(8)]).endswith("`w7`")
    assert _listed([f"w{i}" for i in range(9)]).endswith("`w7` …")


@pytest.mark.parametrize("between", [(), (4,), (2, 3)])
def test_summands_of_a_layers_kernel(between: tuple[int, ...]) -> None:
    """Of a layer on rows it is an outer product; on values of several axes a row, a sum of these."""
    axes = [Axis(None, size) for size in between]
    b, (x, y, f) = builder(
        x=TensorType((ROWS, *axes, Axis(None, 3))), y=TensorType((ROWS, *axes, Axis(None, 2))),
        f=TensorType((ROWS, Axis(None, 1))),
    )  # fmt: skip
    b.place = "alice"
    kernel = b.op("contract", x, y)
    free, rows = Parting(b, "alice").of(Gradient("w", kernel.id))
    assert free is None and isinstance(rows, Each if between else Outer)
    square, (total,) = rows.square(b), rows.total(b, f)
    draw = np.random.default_rng(0)
    given = {"x": draw.normal(size=(3, *between, 3)), "y": draw.normal(size=(3, *between, 2)), "f": FACTOR}
    found = evaluated(b, given)
    each = np.einsum("rim,rin->rmn", given["x"].reshape(3, -1, 3), given["y"].reshape(3, -1, 2))
    assert np.allclose(found[kernel.id], each.sum(0))
    assert np.allclose(found[square.id], (each**2).sum((1, 2))[:, None])
    assert np.allclose(found[total.id], (each * FACTOR[:, :, None]).sum(0))
