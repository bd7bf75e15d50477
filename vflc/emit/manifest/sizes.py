"""Sizes of what crosses that no spec fixes: a row has as many values as some row of a table."""

from __future__ import annotations

from typing import Any

from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.stages import Scheduled
from vflc.ops import OPS
from vflc.ops.source import COLUMNS

VALUES = 1
"""The axis of many ids a row, behind the batch."""


def sized_by(graph: Graph, node: Node) -> list[str]:
    """The columns whose longest row is the open size of a value; none where the spec fixes all sizes."""
    found: set[str] = set()
    seen: set[str] = set()
    stack = [node.id]
    while stack:
        name = stack.pop()
        each = graph[name]
        if name in seen or each.type.row_size is not None:
            continue
        seen.add(name)
        if each.op in COLUMNS:
            found.add(name)
        stack.extend(each.inputs)
    return sorted(found)


def sizes_told(data: dict[str, Any]) -> list[str]:
    """For `manifest.md`: which edges tell a receiver how long the longest row of a column is."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for edge in data["edges"]:
        if edge.get("sized_by"):
            groups.setdefault(tuple(edge["sized_by"]), []).append(edge["id"])
    if not groups:
        return []
    lines = ["", "## Sizes that the data decides", ""]
    for columns, edges in groups.items():
        named = ", ".join(f"`{edge}`" for edge in edges)
        row = f"the largest number of values in a row of {', '.join(columns)}"
        lines.append(f"- {row}: revealed by the size of {named}")
    return [*lines, "", "To fix the size in the spec, end a column's encoders with `sequence(max = n)`."]


def only_summed(model: Scheduled, feature: str) -> bool:
    """Whether no value of the model depends on how far the ids of a feature are filled up with -1.

    So it is where what is read by them is 0 for -1, stays 0, and is summed over them at once: then a batch
    need not be wider than its own longest row. Gradients follow: they are those of one function.
    """
    return all(
        _is_summed(graph, graph[feature]) for graph in (model.graph, model.inference) if feature in graph
    )


def _is_summed(graph: Graph, feature: Node) -> bool:
    users, stack, seen = graph.users(), [feature], set[str]()
    while stack:
        node = stack.pop()
        readers = [user for user in users[node.id] if user.phase == "forward"]
        if node is not feature and not readers:
            return False  # it is looked at as it is
        for reader in readers:
            if _sums_up(reader) and node is not feature:
                continue
            if reader.place != node.place or not _is_zero(graph, reader, node, node is feature):
                return False
            if reader.id not in seen:
                seen.add(reader.id)
                stack.append(reader)
    return True


def _sums_up(reader: Node) -> bool:
    """Whether it sums over the ids of a row, so that zeros make no difference."""
    return OPS[reader.op].parts.reduces == "sum" and VALUES in reader.attrs["axes"]


def _number(node: Node) -> float | None:
    """The value of a constant number."""
    value = node.attrs.get("value") if node.op in PLACELESS else None
    return value if isinstance(value, (int, float)) else None


def _is_zero(graph: Graph, reader: Node, node: Node, ids: bool) -> bool:
    """Whether a value is 0 for what is filled up: read by ids of -1, or made of what is 0 there."""
    op = OPS[reader.op]
    if ids and op.zero_for_none(reader.attrs):
        return reader.inputs[-1] == node.id and reader.inputs.count(node.id) == 1
    if ids and op.holds is not None:
        x, y = (-1 if name == node.id else _number(graph[name]) for name in reader.inputs)
        return x is not None and y is not None and not op.holds(x, y)
    return not ids and op.keeps_zero and reader.attrs.get("axis") != VALUES
