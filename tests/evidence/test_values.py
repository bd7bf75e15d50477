"""Facts about values, rule by rule: on small graphs, what is known of a value from what it is made of."""

from __future__ import annotations

from math import inf, log2
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from vflc.diagnostics import SourceText as Text
from vflc.diagnostics import Span
from vflc.ir.build import Build, Initializer
from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.model import ColumnInfo, PartyInfo
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import infer
from vflc.ops.traits import AT_LEAST_0, FREE, POSITIVE, SHARE, UNIT, ValueRange
from vflc.passes.evidence.values import Dependence, Fact, facts

SPAN = Span(Text("spec.vfl", "x"), 0, 1)
CONDITION = {"op": ">", "args": [{"column": "A"}, {"number": 3}]}
COLUMNS = (("Age", None, "number", None), ("Pay", None, "number", None), ("Rich", CONDITION, "number", None),
           ("City", None, "id", 8), ("Few", CONDITION, "id", 64), ("Tags", None, "ids", 8),
           ("Seen", None, "ids", 8))  # fmt: skip
TYPES = {"number": TensorType((ROWS, Axis(None, 1))), "id": TensorType((ROWS,), "int")}
LENGTHS = {"Tags": None, "Seen": 5}


def column(name: str, value: Any, shape: str, rows: int | None) -> ColumnInfo:
    return ColumnInfo(name, "feature", None if value else "float", value, (), shape, rows, SPAN)


ALICE = PartyInfo("alice", "ID", tuple(column(*each) for each in COLUMNS), SPAN, SPAN)
MODEL: Any = SimpleNamespace(parties=(ALICE,))


class Small:
    """A graph over alice's columns, and facts about it."""

    def __init__(self) -> None:
        self.b = Build(Graph(), infer, (), "alice")
        for name, _, shape, rows in COLUMNS:
            type = TYPES.get(shape) or TensorType((ROWS, Axis("value", LENGTHS[name])), "int")
            attrs = {"party": "alice", "name": name, "kind": shape, "rows": rows}
            node = Node(name, "feature", (), attrs, type, frozenset({SecretSource("alice", name)}), "alice")
            self.b.graph.add(node)
        self.k = self.weight("k", 1, 4)
        self.table = self.weight("table", 8, 3)

    def weight(self, name: str, *sizes: int) -> Node:
        return self.b.weight(name, [Axis(None, size) for size in sizes], Initializer("zeros"))

    def __getattr__(self, name: str) -> Node:
        return self.b.graph[name]

    def op(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        return self.b.op(op, *inputs, **attrs)

    def matmul(self, x: Node, y: Node) -> Node:
        return self.op("matmul", x, y, transpose_x=False, transpose_y=False)

    def of(self, node: Node) -> Fact:
        return facts(MODEL, self.b.graph)[node.id]

    def way(self, node: Node, name: str = "Age") -> tuple[float, bool, bool]:
        """How a column reaches a value: its width, whether linear, whether injective."""
        found = self.of(node).ways[SecretSource("alice", name)]
        return found.width, found.linear, found.injective


@pytest.mark.parametrize(
    ("name", "width", "distinct"),
    [("Age", 1, inf), ("Rich", 1, 2), ("City", 1, 8), ("Few", 1, 2), ("Tags", inf, inf), ("Seen", 5, inf)],
)
def test_a_column(name: str, width: float, distinct: float) -> None:
    small = Small()
    fact = small.of(small.b.graph[name])
    assert fact == Fact({SecretSource("alice", name): Dependence(width, True, True)}, distinct, FREE, True)


@pytest.mark.parametrize(
    ("distinct", "type", "bits"),
    [
        (inf, TensorType((ROWS, Axis(None, 3))), 96),
        (inf, TensorType((ROWS, Axis(None, 3)), "int"), 96),
        (inf, TensorType((ROWS, Axis(None, 3)), "bool"), 3),
        (8, TensorType((ROWS, Axis(None, 3))), 3),
        (6, TensorType((ROWS, Axis(None, 2)), "bool"), 2),
        (1, TensorType((ROWS, Axis(None, 3))), 0),
        (0, TensorType((ROWS, Axis(None, 3))), 0),
        (0.5, TensorType((ROWS, Axis(None, 3))), 0),
        (inf, TensorType((ROWS, Axis(None, None))), inf),
        (1.5, TensorType((ROWS, Axis(None, None))), log2(1.5)),
    ],
)
def test_the_most_bits_of_a_row(distinct: float, type: TensorType, bits: float) -> None:
    assert Fact(distinct=distinct).bits(Node("x", "neg", (), {}, type)) == bits


def test_values_without_columns_are_one_and_the_same() -> None:
    small = Small()
    assert small.of(small.k) == Fact({}, 1, FREE, False)
    assert small.of(small.b.constant(2.0)) == Fact({}, 1, ValueRange(2, 2), False)
    drawn = small.b.random("chance", small.Age)
    assert small.of(drawn).varies and small.of(small.op("add", drawn, small.k)).varies
    total = small.op("sum", small.Age, axes=(0,), keep=False)
    assert not small.of(total).varies, "a batch has one"
    assert not small.of(small.op("neg", small.k)).varies
    assert small.of(small.op("add", small.Age, small.k)).varies


def test_how_many_values_come_of_how_many() -> None:
    small = Small()
    city = small.op("cast", small.City, dtype="float")
    row = small.op("reshape", city, sizes=(1,), names=(None,))
    assert small.of(small.op("mul", row, row)).distinct == 8
    assert small.of(small.op("mul", row, small.Rich)).distinct == 16
    assert small.of(small.op("mul", row, small.Age)).distinct == inf
    assert small.of(small.op("greater", small.Age, small.Pay)).distinct == 2
    both = small.op("greater", small.matmul(small.Age, small.k), small.Pay)
    assert small.of(both).distinct == 16, "four truth values"
    assert small.of(small.op("greater", small.Rich, small.op("neg", small.Rich))).distinct == 2
    wide = small.op("greater", small.matmul(small.Age, small.weight("wide", 1, 64)), small.Pay)
    assert small.of(wide).distinct == inf, "too many to count"
    most = small.op("greater", small.matmul(small.Age, small.weight("most", 1, 63)), small.Pay)
    assert small.of(most).distinct == 2.0**63
    open_ended = small.op("greater", small.op("cast", small.Tags, dtype="float"), small.Pay)
    assert small.of(open_ended).distinct == inf


@pytest.mark.parametrize(
    ("op", "range"),
    [
        ("sigmoid", SHARE),
        ("exp", POSITIVE),
        ("square", AT_LEAST_0),
        ("neg", FREE),
        ("sign", ValueRange(-1, 1)),
    ],
)
def test_ranges(op: str, range: ValueRange) -> None:
    small = Small()
    assert small.of(small.op(op, small.Age)).range == range


def test_a_range_follows_from_those_of_what_is_read() -> None:
    small = Small()
    share = small.op("sigmoid", small.Age)
    assert small.of(small.op("sub", small.b.constant(1.0), share)).range == SHARE
    assert small.of(small.op("greater", share, small.Pay)).range == UNIT


ROW = {"sizes": (1,), "names": (None,)}


def test_a_function_of_one_number() -> None:
    small = Small()
    assert small.way(small.op("neg", small.Age)) == (1, True, True)
    assert small.way(small.op("sigmoid", small.Age)) == (1, False, True)
    assert small.way(small.op("relu", small.Age)) == (1, False, False)
    assert small.way(small.op("square", small.Age)) == (1, False, False), "it is the same for -x"
    assert small.way(small.op("abs", small.op("exp", small.Age))) == (1, False, True)
    assert small.way(small.op("square", small.op("neg", small.op("exp", small.Age)))) == (1, False, True)
    assert small.way(small.matmul(small.Age, small.k)) == (1, True, True)
    assert small.way(small.op("sigmoid", small.matmul(small.Age, small.k))) == (1, False, True)
    narrow = small.matmul(small.matmul(small.Age, small.k), small.weight("narrow", 4, 1))
    assert small.way(narrow) == (1, True, False), "fewer numbers than were there"


def test_several_ways_to_one_value() -> None:
    small = Small()
    up = small.matmul(small.Age, small.k)
    assert small.way(small.op("add", up, small.Pay)) == (1, True, False), "the other hides it"
    assert small.way(small.op("add", up, small.Pay), "Pay") == (1, True, False)
    assert small.way(small.op("add", up, small.b.constant(1.0))) == (1, True, True)
    pair = small.op("concat", small.Age, small.op("sigmoid", small.Age), axis=1)
    assert small.way(pair) == (2, False, True), "one of the two keeps it apart, and one is not linear"
    assert small.way(small.matmul(pair, small.weight("one", 2, 1))) == (1, False, False)
    again = small.op("concat", small.Age, small.Age, axis=1)
    assert small.way(again) == (1, True, True), "the same number twice"
    hidden = small.op("concat", small.op("relu", small.Age), small.Pay, axis=1)
    assert small.way(hidden) == (1, False, False) and small.way(hidden, "Pay") == (1, True, True)


def test_products() -> None:
    small = Small()
    assert small.way(small.op("mul", small.Age, small.Pay)) == (1, True, False)
    assert small.way(small.op("mul", small.Age, small.Age)) == (1, False, False)
    mixed = small.op("mul", small.Age, small.op("add", small.Age, small.Pay))
    assert small.way(mixed) == (1, False, False), "the factor has it, too"
    assert small.way(mixed, "Pay") == (1, True, False)
    assert small.way(small.op("mul", small.Age, small.b.constant(3.0))) == (1, True, True)
    assert small.way(small.op("div", small.Pay, small.Age)) == (1, False, False)


def test_ids_and_their_rows() -> None:
    small = Small()
    rows = small.op("gather", small.table, small.City)
    assert small.way(rows, "City") == (1, True, True)
    assert small.way(small.op("one_hot", small.City, depth=8), "City") == (1, True, True)
    assert small.way(small.op("cast", small.City, dtype="float"), "City") == (1, True, True)
    sums = small.op("sum", small.Age, axes=(0,), keep=True)
    told = small.b.graph.add(Node("told", "gather", (sums.id, "City"), {}, small.Age.type))
    assert small.way(told, "City") == (1, True, True)
    assert small.way(told) == (1, True, False)


def test_what_has_no_fixed_size_is_not_injective() -> None:
    small = Small()
    assert small.way(small.op("cast", small.Tags, dtype="float"), "Tags") == (inf, True, False)
    assert small.way(small.op("cast", small.Seen, dtype="float"), "Seen") == (5, True, True)


def test_gradients_have_no_facts_and_what_is_known_is_kept() -> None:
    small = Small()
    up = small.op("neg", small.Age)
    with small.b.within(phase="backward"):
        back = small.op("exp", up)
    after, graph = small.op("sigmoid", up), small.b.graph
    found = facts(MODEL, graph)
    assert up.id in found and back.id not in found and after.id in found
    marked = {id(node): replace(found[node.id], distinct=5) for node in graph if node.id in found}
    assert facts(MODEL, graph, marked)[up.id].distinct == 5
    changed = Graph({node.id: replace(node) if node.id == "Age" else node for node in graph})
    again = facts(MODEL, changed, marked)
    assert again["Pay"].distinct == 5 and again["Age"].distinct == inf
    assert again[up.id].distinct == inf, "what it reads is another value"
