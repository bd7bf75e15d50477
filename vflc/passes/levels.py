"""How many crossings and steps lie behind a value: the clock by which places take turns."""

from __future__ import annotations

from collections.abc import Mapping

from vflc.ir.graph import STEPS, Graph


def levels(graph: Graph) -> Mapping[str, int]:
    """For every node the most crossings on any path to it; 0 for what a place computes alone.

    What a step of the run makes counts like what comes from elsewhere: it parts two graphs.
    """
    return graph.once("levels", lambda: _levels(graph))


def _levels(graph: Graph) -> dict[str, int]:
    found: dict[str, int] = {}
    for node in graph:
        level, place = 0, node.place
        for source in graph.inputs(node):
            crosses = source.op in STEPS or (source.place != place and source.place is not None)
            if (before := found[source.id] + crosses) > level:
                level = before
        found[node.id] = level
    return found
