"""Which parties run once for each key of a batch, where another has many rows a key."""

from __future__ import annotations

from collections.abc import Sequence

from vflc_common.words import PROGRAMS

from vflc.ir.graph import Graph, Node
from vflc.ir.model import Edge
from vflc.ir.stages import Optimized
from vflc.ops import OPS
from vflc.ops.source import INPUTS


def once(model: Optimized, edges: Sequence[Edge]) -> tuple[str, ...]:
    """The places whose rows are the distinct keys of a batch: what they send is sent once a key.

    Such a place has one row a key, and computes from its own rows alone, each by itself. What comes
    back to it is the gradient of what it sent, which is linear: its sum over the rows of a key is the
    key's. All else, losses, predictions and what other parties' rows flow into, is of the joined rows.
    """
    many = any(party.many for party in model.parties)
    few = [p for p in model.parties if p.key and not p.many and (many or p.missing or p.part is not None)]
    places = [party.name for party in few]
    return tuple(place for place in places if place in model.places and _can(model, edges, place))


def _can(model: Optimized, edges: Sequence[Edge], place: str) -> bool:
    if any(edge.target == place and not _returns(model, edge, place) for edge in edges):
        return False
    for program in PROGRAMS:
        graph = model.graph_of(program)
        roots = _of_rows(model)
        if any(graph[name].place == place for name in roots if name in graph):
            return False
        if not all(_by_itself(graph, node) for node in graph if node.place == place):
            return False
    return True


def _returns(model: Optimized, edge: Edge, place: str) -> bool:
    """Whether an edge brings back the gradient of what `place` sent, or what is one for all rows."""
    graph = model.graph_of(edge.programs[0])
    node = graph[edge.node]
    if not node.type.batched:
        return edge.phase == "backward"
    return edge.gradient_of is not None and graph[edge.gradient_of].place == place


def _of_rows(model: Optimized) -> list[str]:
    """Losses, predictions and what is measured."""
    predicted = [name for p in model.predictions for name in (p.node, *p.measured)]
    return [*(loss.node for loss in model.losses if loss.label), *predicted]


def _by_itself(graph: Graph, node: Node) -> bool:
    """Whether a forward value of a row is computed from that row, and by no chance."""
    if node.phase != "forward" or node.op in INPUTS:
        return node.op not in ("random", "drawn")
    record = OPS[node.op]
    if record.by_id is not None:
        return True  # which ids there are, or a sum by id, is the same of the distinct rows
    reduced = not node.type.batched and any(each.type.batched for each in graph.inputs(node))
    return not (record.mixes_rows or reduced)
