"""What crosses between the places of a graph, in bytes a row."""

from __future__ import annotations

from vflc.diagnostics import DiagnosticCollector, Refused
from vflc.ir.graph import PLACELESS, Graph
from vflc.ir.stages import Lowered, Placed
from vflc.passes.place import FORBIDDEN, Placement, astray, bytes_a_row, trainable_below

ASTRAY = 1e9
"""Bytes a row that it is worth to keep the end of a model at the owner of the labels."""


def cost(model: Lowered) -> float:
    """Bytes a row that a step of training sends, once values are placed; FORBIDDEN where that is refused."""
    collector = DiagnosticCollector()
    try:
        placed = Placement(unsplit=False)(model, collector)
    except Refused:
        return FORBIDDEN
    if collector.errors:
        return FORBIDDEN
    return sum(crossing(placed).values()) + ASTRAY * astray(model, placed)


def crossing(model: Placed) -> dict[tuple[str, str], float]:
    """Bytes a row, by value and place that reads it from elsewhere: forward, and back where it learns."""
    graph: Graph = model.graph
    learning = trainable_below(graph)
    found: dict[tuple[str, str], float] = {}
    for node in graph:
        for source in graph.inputs(node):
            if source.op not in PLACELESS and node.place != source.place and node.place is not None:
                size = bytes_a_row(source, model.train.batch) * (1 + (source.id in learning))
                found[source.id, node.place] = size
    return found
