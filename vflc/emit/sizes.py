"""Sizes of what crosses that no spec fixes: a row has as many values as some row of a table."""

from __future__ import annotations

from typing import Any

from vflc.ir.graph import Graph, Node
from vflc.ops.source import COLUMNS


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
        lines.append(f"- the most values of a row of {', '.join(columns)}: told by the size of {named}")
    return [*lines, "", "`sequence(max = n)` behind a column's encoders fixes the size in the spec."]
