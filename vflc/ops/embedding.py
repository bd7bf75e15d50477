"""Functions of the language that read tables by id, and weights declared by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ir.build import Initializer
from vflc.ir.graph import Node
from vflc.ir.types import Axis
from vflc.ops.kinds import AxisName, Nodes, flat
from vflc.ops.layers import initial, pick, positive
from vflc.ops.registry import OpError, function
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build

COMBINERS = ("sum", "mean")


def weight(b: Build, *sizes: int, init: AxisName = "uniform", scale: float = 0.05) -> Node:
    """A trained weight of these sizes: `weight(50)`. By default it starts uniform in ±`scale`."""
    axes = [Axis(None, positive("a size of a weight", size)) for size in sizes]
    return b.weight("weight", axes, initial(init, scale))


def table(b: Build, rows: int, dim: int, init: AxisName = "uniform", scale: float = 0.05) -> Node:
    """A table of vectors that `embed` and `lookup` read by id: `table(3706, 50)`."""
    return _table(b, "table", positive("`rows`", rows), positive("`dim`", dim), initial(init, scale))


def _table(b: Build, label: str, rows: int, dim: int, init: Initializer) -> Node:
    return b.weight(label, (Axis("row", rows), Axis(None, dim)), init, table=True)


def is_table(node: Node) -> bool:
    return node.op == "weight" and bool(node.attrs["table"])


def _check_rows(source: Node, feature: Node) -> None:
    rows, ids = source.type.axes[0].size, feature.attrs.get("rows")
    if rows is not None and ids is not None and ids > rows:
        raise OpError(
            f"`{feature.attrs['name']}` has {ids} different ids, but the table has {rows} rows",
            f"give the table at least {ids} rows",
            "VFL0205",
        )


def _feature(node: Node, op: str) -> Node:
    if node.op not in ("feature", "label"):
        raise OpError(
            f"{op} of a computed value {node.type}",
            f"give it features: `{op}(alice.features, …)`",
            "VFL0203",
        )
    return node


def combined(b: Build, source: Node, ids: Node, combiner: str) -> Node:
    """Rows of a table added up, or averaged, over the last axis of the ids; -1 is no id."""
    rows = b.op("gather", source, ids, missing=True)
    total = b.op("sum", rows, axes=(ids.type.rank - 1,), keep=False)
    if combiner == "sum":
        return total
    present = b.op("cast", b.op("greater_equal", ids, b.constant(0, "int")), dtype="float")
    count = b.op("sum", present, axes=(ids.type.rank - 1,), keep=True)
    return b.op("div", total, b.op("maximum", count, number(b, 1)))


def _embed_one(
    b: Build, field: Node, dim: int, combiner: str, source: Node | None, init: Initializer
) -> Node:
    name, kind = str(field.attrs["name"]), field.attrs["kind"]
    if kind == "number":
        vector = b.weight(name, (Axis(None, dim),), init)
        return b.op("mul", field, vector)
    if kind == "vector":
        matrix = b.weight(name, (field.type.axes[1], Axis(None, dim)), init)
        return b.op("matmul", field, matrix, transpose_x=False, transpose_y=False)
    if source is None:
        source = _table(b, name, field.attrs["rows"], dim, init)
    _check_rows(source, field)
    if kind == "ids":
        return combined(b, source, field, combiner)
    return b.op("gather", source, field, missing=False)


def embed(
    b: Build,
    fields: Nodes,
    dim: int,
    combiner: AxisName = "sum",
    table: Node | None = None,
    init: AxisName = "uniform",
    scale: float = 0.05,
) -> Node:
    """An embedding of each field: [dim] for one feature, [field, dim] for a list.

    An id reads its row of a table; the rows of several ids are summed (`combiner = mean`: averaged);
    a number multiplies a learned vector, and a vector a learned matrix. With `table = …`, all ids read
    that table.
    """
    pick("combiner", combiner, COMBINERS)
    positive("`dim`", dim)
    if table is not None and (not is_table(table) or table.type.sizes[1] != dim):
        raise OpError(f"embed in {dim} dimensions with a table {table.type}", "give it a `table(rows, dim)`")
    start = initial(init, scale)
    nodes = [_feature(node, "embed") for node in flat([fields])]
    if not nodes:
        raise OpError("embed of no features", "give it a feature or a list of them", "VFL0203")
    vectors = [_embed_one(b, node, dim, combiner, table, start) for node in nodes]
    return vectors[0] if isinstance(fields, Node) else b.op("stack", *vectors, axis=1, name="field")


def lookup(b: Build, table: Node, feature: Node) -> Node:
    """The rows of a table for the ids of a feature: [dim], or [value, dim] for many ids a row."""
    if not is_table(table):
        raise OpError(
            f"lookup in {table.type}, which is not a table",
            "make a table: `items = table(3706, 50)`",
            "VFL0203",
        )
    if feature.type.dtype != "int":
        raise OpError(f"lookup of numbers {feature.type}", "give it a feature with ids", "VFL0203")
    _check_rows(table, _feature(feature, "lookup"))
    return b.op("gather", table, feature, missing=feature.type.rank > 1)


def one_hot(b: Build, feature: Node, depth: int | None = None) -> Node:
    """1 at the position of the id and 0 elsewhere: [depth]; for many ids a row, how often each occurs."""
    if feature.type.dtype != "int":
        raise OpError(f"one_hot of numbers {feature.type}", "give it a feature with ids", "VFL0203")
    rows = feature.attrs.get("rows")
    size = depth if depth is not None else rows
    if size is None or (rows is not None and size < rows):
        raise OpError(f"one_hot of depth {size} for {rows} different ids", "remove `depth`", "VFL0205")
    ones = b.op("one_hot", feature, depth=size)
    return b.op("sum", ones, axes=(feature.type.rank - 1,), keep=False) if feature.type.rank > 1 else ones


for _function in (weight, table, embed, lookup, one_hot):
    function(_function)
