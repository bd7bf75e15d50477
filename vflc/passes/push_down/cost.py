"""What it costs to train a model as it is split: whether it can be, where it ends, and what crosses."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from vflc.diagnostics import DiagnosticCollector, Refused
from vflc.ir.graph import PLACELESS, Graph
from vflc.ir.stages import Lowered, Placed
from vflc.passes.place import Placement, astray, bytes_a_row, trainable_below

HOP = 125_000
"""Bytes that cross in the time of one hop, there and back: at 1 Gbit/s, in a millisecond."""


class Price(NamedTuple):
    """Of a split; the lower one is taken, by the first field in which two differ.

    Args:
        refused: whether it cannot be placed.
        astray: whether the model ends elsewhere than at the owner of the labels.
        weighed: bytes a row that a step of training sends, and for each hop as many as cross in its time.
        sent: the bytes alone.
    """

    refused: bool = True
    astray: bool = True
    weighed: float = inf
    sent: float = inf


REFUSED = Price()


def cost(model: Lowered) -> Price:
    """What a step of training costs, once values are placed."""
    collector = DiagnosticCollector()
    try:
        placed = Placement(unsplit=False)(model, collector)
    except Refused:
        return REFUSED
    if collector.errors:
        return REFUSED
    sent = sum(crossing(placed).values())
    return Price(False, astray(model, placed), sent + HOP / model.train.batch * hops(placed.graph), sent)


def hops(graph: Graph) -> int:
    """How often the value that waits longest has to wait for one from another place."""
    depth: dict[str, int] = {}
    for node in graph:
        ways = (
            depth[source.id] + (source.op not in PLACELESS and None not in places and len(places) > 1)
            for source in graph.inputs(node)
            for places in ({source.place, node.place},)
        )
        depth[node.id] = max(ways, default=0)
    return max(depth.values(), default=0)


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
