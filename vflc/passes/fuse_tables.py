"""Tables of one width at one place become one: one gather and one row update instead of many.

In: a placed graph with `when_training` still in it. Out: the same values; tables that only
gathers read, that share width, place and optimizer, are parts of one weight. Each part keeps its
name, and so its initial value and its place in saved models.
"""

from __future__ import annotations

from collections import defaultdict
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.model import TablePart
from vflc.ir.stages import Placed
from vflc.ir.types import Axis, TensorType
from vflc.ops import OPS, infer
from vflc.ops.reading import reads_rows
from vflc.passes.optimize import rule_for
from vflc.passes.properties import GRAPH, PLACED


class FuseTables:
    """The pass."""

    name: ClassVar = "fuse-tables"
    requires: ClassVar = (*GRAPH, PLACED)
    ensures: ClassVar = (*GRAPH, PLACED)

    def __call__(self, model: Placed, collector: DiagnosticCollector) -> Placed:
        groups = [group for group in _groups(model) if len(group) > 1]
        return replace(model, graph=_fused(model.graph, groups)) if groups else model


def _groups(model: Placed) -> list[list[Node]]:
    graph, users = model.graph, model.graph.users()
    groups: dict[tuple[object, ...], list[Node]] = defaultdict(list)
    for node in graph:
        if node.op != "weight" or not node.attrs["table"] or not node.attrs["trainable"]:
            continue
        owners: set[str] = set()
        for user in users[node.id]:
            # A table that another place reads crosses, and must not take its neighbours along.
            if user.place != node.place or user.inputs[0] != node.id or not reads_rows(user):
                break
            owners |= graph[user.inputs[1]].owners
        else:
            if len(owners) == 1:  # with ids of one party it is updated by rows, else as a whole
                optimizer = rule_for(model.train, node.attrs["name"]).id
                groups[node.place, *owners, optimizer, node.type.sizes[1:]].append(node)
    return list(groups.values())


class _Home(Struct):
    """Where a table went: the fused weight's id, and the row its own row 0 is now."""

    table: str
    offset: int


def _fused(graph: Graph, groups: list[list[Node]]) -> Graph:
    result = Graph()
    build = Build(result, infer)
    homes: dict[str, _Home] = {}
    for group in groups:
        homes.update(_merge(build, group))
    batched = _stacks(graph, homes)
    users = graph.users()
    absorbed = {name for stack in batched for name in graph[stack].inputs if len(users[name]) == 1}
    for node in graph:
        if node.id in homes or node.id in absorbed:
            continue
        if node.id in batched or (reads_rows(node) and node.inputs[0] in homes):
            with build.within(place=node.place, phase="forward", span=node.span, scope=(node.id,)):
                node = (_one_gather if node.id in batched else _shifted)(build, graph, node, homes)
        result.add(node)
    return result


def _merge(build: Build, group: list[Node]) -> dict[str, _Home]:
    first = group[0]
    parts: list[TablePart] = []
    homes: dict[str, _Home] = {}
    rows = 0
    for table in group:
        size = table.type.sizes[0]
        assert size is not None
        parts.append(TablePart(table.attrs["name"], size, rows))
        rows += size
    widths = "x".join(str(size) for size in first.type.sizes[1:])
    fused = build.fresh(f"tables.{first.place}.{widths}")
    for table, part in zip(group, parts, strict=True):
        homes[table.id] = _Home(fused, part.offset)
    attrs = {
        **first.attrs,
        "name": fused,
        "parts": tuple(parts),
        "inits": tuple(t.attrs["init"] for t in group),
    }
    axes = (Axis("row", rows), *first.type.axes[1:])
    build.graph.add(replace(first, id=fused, attrs=attrs, type=TensorType(axes)))
    return homes


def _stacks(graph: Graph, homes: dict[str, _Home]) -> set[str]:
    """Stacks of nothing but gathers of one kind, of one id a row from one fused table."""
    found: set[str] = set()
    for node in graph:
        if OPS[node.op].places != "stacked" or node.attrs["axis"] != 1:
            continue
        first, *_ = gathers = graph.inputs(node)
        if not reads_rows(first) or OPS[first.op].zero_for_none(first.attrs):
            continue
        plain = all(
            (g.op, g.place, g.attrs) == (first.op, node.place, first.attrs)
            and g.inputs[0] in homes
            and graph[g.inputs[1]].type.rank == 1
            for g in gathers
        )
        if plain and len({homes[g.inputs[0]].table for g in gathers}) == 1:
            found.add(node.id)
    return found


def _one_gather(build: Build, graph: Graph, stack: Node, homes: dict[str, _Home]) -> Node:
    """stack(gather(T1, a), gather(T2, b)) = gather(T, stack(a, b) + offsets): each id is read by itself."""
    gathers = graph.inputs(stack)
    ids = build.op(
        "stack", *(build.graph[g.inputs[1]] for g in gathers), axis=1, name=stack.type.axes[1].name
    )
    offsets = build.constant(tuple(homes[g.inputs[0]].offset for g in gathers), "int")
    shifted = build.op("add", ids, offsets)
    table = homes[gathers[0].inputs[0]].table
    return replace(stack, op=gathers[0].op, inputs=(table, shifted.id), attrs=gathers[0].attrs)


def _shifted(build: Build, graph: Graph, gather: Node, homes: dict[str, _Home]) -> Node:
    """gather(T1, a) = gather(T, a + offset)."""
    home, missing = homes[gather.inputs[0]], OPS[gather.op].zero_for_none(gather.attrs)
    ids = _shift(build, build.graph[gather.inputs[1]], home.offset, missing)
    return replace(gather, inputs=(home.table, ids.id))


def _shift(build: Build, ids: Node, offset: int, missing: bool) -> Node:
    """Ids in the fused table; −1 stays −1."""
    if offset == 0:
        return ids
    shifted = build.op("add", ids, build.constant(offset, "int"))
    if not missing:
        return shifted
    absent = build.op("less", ids, build.constant(0, "int"))
    return build.op("where", absent, ids, shifted)
