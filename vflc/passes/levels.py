"""How many crossings lie behind a value: the clock by which places take turns."""

from __future__ import annotations

from vflc.ir.graph import Graph


def levels(graph: Graph) -> dict[str, int]:
    """For every node the most crossings on any path to it; 0 for what a place computes alone."""
    found: dict[str, int] = {}
    for node in graph:
        level = 0
        for source in graph.inputs(node):
            crosses = source.place is not None and source.place != node.place
            level = max(level, found[source.id] + crosses)
        found[node.id] = level
    return found
