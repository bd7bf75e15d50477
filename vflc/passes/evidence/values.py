"""Facts about every forward value: its range, how many values it can take, and what it tells of each secret.

All are upper bounds on what a receiver can learn, or, for `injective`, true of all weights but a
set of measure zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, log2

from msgspec import Struct, field

from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.model import ColumnInfo
from vflc.ir.stages import Partitioned
from vflc.ops import OPS
from vflc.ops.source import COLUMNS
from vflc.ops.traits import FREE, ValueRange
from vflc.passes.learn.bounds import Columns, declared
from vflc.passes.learn.columns import codes

BITS = {"float": 32, "int": 32, "bool": 1}


class Dependence(Struct, frozen=True):
    """How a secret reaches a value.

    Args:
        width: most numbers a row that carry it, at the narrowest point of all its paths together.
        linear: the value is an affine function of the secret (of its indicator, for ids), given
            the weights and everything else.
        injective: different secrets give different values, whatever else is known.
    """

    width: float
    linear: bool
    injective: bool


class Fact(Struct, frozen=True):
    """What is known of one value.

    Args:
        ways: for every feature and label that flowed in.
        distinct: how many different values of a row can occur; infinite where nothing bounds it.
        range: of every element.
        varies: whether it differs from row to row.
    """

    ways: Mapping[SecretSource, Dependence] = field(default_factory=dict)
    distinct: float = inf
    range: ValueRange = FREE
    varies: bool = True

    def bits(self, node: Node) -> float:
        """The most bits that one row can carry."""
        size = node.type.row_size
        own = inf if size is None else float(size * BITS[node.type.dtype])
        return min(own, log2(self.distinct) if self.distinct >= 1 else 0.0)


def facts(model: Partitioned, graph: Graph, known: Mapping[int, Fact] | None = None) -> dict[str, Fact]:
    """A fact for every forward node of a graph, inputs first.

    Args:
        model: with the parties' columns.
        graph: of training, or of evaluation and prediction.
        known: what was found of another graph, by `id` of its nodes: most are part of both.
    """
    columns, found = declared(model), dict[str, Fact]()
    same: set[str] = set()
    for node in graph:
        if node.phase != "forward":
            continue
        shared = known.get(id(node)) if known and same.issuperset(node.inputs) else None
        if shared is not None:
            same.add(node.id)
        found[node.id] = shared or _fact(columns, graph, node, found)
    return found


def _fact(columns: Columns, graph: Graph, node: Node, found: Mapping[str, Fact]) -> Fact:
    inputs = [found[name] for name in node.inputs]
    if node.op in COLUMNS:
        return _source(node, columns[node.attrs["party"], node.attrs["name"]])
    if not inputs:
        varies = node.op == "random"
        return Fact(distinct=1, range=_range(node, inputs), varies=varies)
    distinct = _distinct(node, inputs)
    varies = node.type.batched and any(each.varies for each in inputs)
    return Fact(_ways(graph, node, inputs), distinct, _range(node, inputs), varies)


def _source(node: Node, column: ColumnInfo) -> Fact:
    """A column: an id takes as many values as it has rows; a number any, unless it is computed from few."""
    distinct = inf if column.shape == "ids" else codes(column)
    width = float(node.type.row_size or inf)
    return Fact(
        {source: Dependence(width, True, True) for source in node.sources}, distinct, _range(node, ())
    )


def _distinct(node: Node, inputs: Sequence[Fact]) -> float:
    """The product over the inputs; truth values bound it by themselves."""
    if OPS[node.op].mixes_rows:
        return inf
    product = 1.0
    for each in {id(each): each for each in inputs}.values():
        product *= each.distinct
    size = node.type.row_size
    if node.type.dtype == "bool" and size is not None and size < 64:
        product = min(product, 2.0**size)
    return product


def _range(node: Node, inputs: Sequence[Fact]) -> ValueRange:
    bounds = OPS[node.op].bounds
    return bounds if isinstance(bounds, ValueRange) else bounds(node, [each.range for each in inputs])


def _ways(graph: Graph, node: Node, inputs: Sequence[Fact]) -> dict[SecretSource, Dependence]:
    """How each secret of the inputs reaches the value.

    That follows from the inputs that carry it, and how they do: most secrets come in one of few ways.
    """
    varying = sum(each.varies for each in inputs)
    found: dict[tuple[int, ...], Dependence] = {}
    same: dict[Dependence, Dependence] = {}

    def way(positions: Sequence[int], befores: Sequence[Dependence]) -> Dependence:
        key = (*positions, *map(id, befores))
        if (known := found.get(key)) is None:
            made = _way(graph, node, inputs, positions, befores, varying)
            known = found[key] = same.setdefault(made, made)
        return known

    telling = [position for position, each in enumerate(inputs) if each.ways]
    if len(telling) == 1:
        only = inputs[telling[0]].ways
        kinds = dict(zip(map(id, only.values()), only.values(), strict=True))
        alike = {key: way(telling, (each,)) for key, each in kinds.items()}
        if len(set(map(id, alike.values()))) == 1:
            return dict.fromkeys(only, next(iter(alike.values())))
        return {source: alike[id(each)] for source, each in only.items()}
    carriers: dict[SecretSource, list[int]] = {}
    befores: dict[SecretSource, list[Dependence]] = {}
    for position, each in enumerate(inputs):
        for source, way_in in each.ways.items():
            if (known := carriers.get(source)) is None:
                carriers[source], befores[source] = [position], [way_in]
            else:
                known.append(position)
                befores[source].append(way_in)
    return {source: way(positions, befores[source]) for source, positions in carriers.items()}


def _way(
    graph: Graph,
    node: Node,
    inputs: Sequence[Fact],
    positions: Sequence[int],
    befores: Sequence[Dependence],
    varying: int,
) -> Dependence:
    """How a secret reaches a value that comes to inputs at some positions, to each in a way of its own.

    `varying` inputs differ from row to row.
    """
    carriers, size = list(zip(positions, befores, strict=True)), node.type.row_size
    width = sum({node.inputs[position]: each.width for position, each in carriers}.values())
    if OPS[node.op].mixes_rows:
        width = inf
    linear = all(each.linear and _linear(node, len(inputs), i, positions) for i, each in carriers)
    injective = any(each.injective and _injective(graph, node, inputs, i, varying) for i, each in carriers)
    return Dependence(min(width, inf if size is None else float(size)), linear, injective)


def _linear(node: Node, count: int, position: int, carriers: Sequence[int]) -> bool:
    """Whether the op is affine in this input, with coefficients that the secret does not enter."""
    op = OPS[node.op]
    if op.reads_codes and position == count - 1:
        return True
    slope = op.slope(position)
    if slope.kind == "copy":
        return True
    return slope.by is not None and slope.by not in (position, *carriers)


def _injective(graph: Graph, node: Node, inputs: Sequence[Fact], position: int, varying: int) -> bool:
    """Whether the op keeps different values of this input apart, with weights in general position.

    `varying` inputs differ from row to row.
    """
    size, width = node.type.row_size, graph[node.inputs[position]].type.row_size
    if size is None or width is None:
        return False
    op = OPS[node.op]
    if op.reads_codes:
        return position == len(inputs) - 1
    if op.joins:
        return True
    if size < width or varying > inputs[position].varies:
        return False
    slope = op.slope(position)
    if slope.by == position:  # as of x·x, which is the same for -x
        return inputs[position].range.weak_sign != 0
    return slope.kind in ("copy", "factor", "mix", "sign")
