"""`train { freeze a.*, tower }`: weights that training leaves as they are."""

from __future__ import annotations

from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.graph import Graph, Node
from vflc.ir.model import TrainConfig, matches

Assigns = tuple[tuple[str, str], ...]


def frozen(
    graph: Graph, assigns: Assigns, train: TrainConfig, collector: DiagnosticCollector
) -> tuple[Graph, Assigns]:
    """The graph in which frozen weights are constants, and the assignments of statistics that still happen.

    Nothing after this knows more than that such a weight is not trained: it gets no gradient, and what would
    have crossed for its gradient alone is never made. Frozen statistics of `batch_norm` stand in training,
    too, for those of the batch.
    """
    if not train.frozen:
        return graph, assigns
    weights = [node.id for node in graph if node.op == "weight"]
    still: set[str] = set()
    for pattern, span in train.frozen:
        found = {name for name in weights if matches(pattern, name)}
        still |= found
        if not found:
            help = f"the weights are {', '.join(weights[:8])}{' …' if len(weights) > 8 else ''}"
            collector.error("VFL0101", f"`{pattern}` matches no weight", span, help)
    if still and not any(
        node.attrs["trainable"] for node in graph if node.op == "weight" and node.id not in still
    ):
        text = "every weight is frozen, so there is nothing to train"
        collector.error(
            "VFL0023", text, train.frozen[0][1], "freeze fewer weights, or `vflc evaluate` the run"
        )
    made = Graph()
    for node in graph:
        made.add(_without(node, still))
    return made, tuple(each for each in assigns if each[0] not in still)


def _without(node: Node, still: set[str]) -> Node:
    """A node where some weights are frozen; a statistic that is not kept any more is one in all modes."""
    if node.op == "weight" and node.id in still:
        return replace(node, attrs={**node.attrs, "trainable": False})
    if node.op == "when_training" and node.inputs[1] in still:
        return replace(node, inputs=(node.inputs[1], node.inputs[1]))
    return node
