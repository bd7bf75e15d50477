"""Where each term of the objective judges the model: the value whose derivative tells the label."""

from __future__ import annotations

from msgspec import Struct

from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.model import Loss
from vflc.ir.stages import Partitioned
from vflc.ops.source import COLUMNS
from vflc.passes.place import trainable_below


class ScoreBesideLabels(Struct, frozen=True):
    """A value that a loss compares with labels, and the labels.

    Args:
        node: id of the value: a logit, a prediction, or, of a loss written by hand, the last value
            that everything the loss is computed from goes through.
        labels: what it is compared with.
        guarded: every label passed a mechanism that counts as privacy on its way to the loss.
    """

    loss: Loss
    node: str
    labels: tuple[SecretSource, ...]
    guarded: bool


def scores(model: Partitioned) -> list[ScoreBesideLabels]:
    """Those of every term of the objective that depends on a label; a loss may have several."""
    graph = model.graph
    learning = trainable_below(graph)
    noised = {after for guard in model.guards if guard.private for after in guard.after}
    found = []
    for loss in model.losses:
        interior = _interior(graph, loss)
        if not interior:
            continue
        labels = sorted({s for node in interior for s in node.sources if s.label}, key=str)
        bare = _labels_past(graph, loss, noised)
        ids = {node.id for node in interior}
        judged = _judged(graph, loss, ids, learning)
        found += [ScoreBesideLabels(loss, name, tuple(labels), not bare) for name in judged]
    return found


def _interior(graph: Graph, loss: Loss) -> list[Node]:
    """The nodes between labels and the loss."""
    above = graph.ancestors([loss.node])
    return [n for n in graph if n.id in above and n.op not in COLUMNS and n.tells_label]


def _labels_past(graph: Graph, loss: Loss, noised: set[str]) -> bool:
    """Whether a label reaches the loss on a path without a mechanism."""
    seen: set[str] = set()
    stack = [loss.node]
    while stack:
        name = stack.pop()
        if name in seen or name in noised:
            continue
        seen.add(name)
        stack += graph[name].inputs
    return any(graph[name].op in COLUMNS and graph[name].tells_label for name in seen)


def _judged(graph: Graph, loss: Loss, interior: set[str], learning: set[str]) -> list[str]:
    """The values through which gradients leave the interior."""
    if loss.logit is not None and loss.logit in learning:
        return [loss.logit]
    border = [
        name
        for node in interior
        for name in graph[node].inputs
        if name in learning and name not in interior and graph[name].op != "weight"
    ]
    border = list(dict.fromkeys(n.id for n in graph if n.id in set(border)))
    gate = _gate(graph, border, learning)
    return [_deepest(graph, gate, learning)] if gate else border


def _gate(graph: Graph, border: list[str], learning: set[str]) -> str | None:
    """The last value that all paths from the border to trainable weights go through."""
    order = {node.id: i for i, node in enumerate(graph)}
    for name in sorted(graph.ancestors(border) & learning, key=lambda n: -order[n]):
        if graph[name].op != "weight" and graph[name].type.batched and not _around(graph, border, name):
            return name
    return None


def _around(graph: Graph, border: list[str], gate: str) -> bool:
    """Whether a trainable weight can be reached without passing the gate."""
    above, stack = set(), [name for name in border if name != gate]
    while stack:
        name = stack.pop()
        if name == gate or name in above:
            continue
        above.add(name)
        stack += graph[name].inputs
    return any(graph[name].op == "weight" and graph[name].attrs["trainable"] for name in above)


def _deepest(graph: Graph, name: str, learning: set[str]) -> str:
    """Down through functions of one value alone: a loss written with probabilities judges the logit."""
    while True:
        carriers = [each for each in dict.fromkeys(graph[name].inputs) if each in learning]
        if len(carriers) != 1:
            return name
        (carrier,) = carriers
        if graph[carrier].op == "weight" or not graph[carrier].type.batched:
            return name
        name = carrier
