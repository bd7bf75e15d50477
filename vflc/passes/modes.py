"""Parts the graph in two: what runs in training, and what runs in evaluation and prediction.

In: a placed graph with `when_training(a, b)`. Out: `graph` reads a, `inference` reads b, and
neither has the op any more. A value keeps its id in both.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.graph import Graph
from vflc.ir.stages import ByMode, Placed
from vflc.passes.properties import GRAPH, ONE_MODE, PLACED


class Modes:
    """The pass."""

    name: ClassVar = "modes"
    requires: ClassVar = (*GRAPH, PLACED)
    ensures: ClassVar = (*GRAPH, PLACED, ONE_MODE)

    def __call__(self, model: Placed, collector: DiagnosticCollector) -> ByMode:
        roots = [loss.node for loss in model.losses] + [p.node for p in model.predictions]
        roots += [name for p in model.predictions for name in p.measured]
        training = resolved(model.graph, 0)
        inference = resolved(model.graph, 1)
        assigned = [value for _, value in model.assigns]
        assigned += [value for guard in model.guards for _, value in guard.keeps]
        return ByMode.of(
            model,
            graph=training.only(
                training.ancestors(roots + assigned + [weight for weight, _ in model.assigns])
            ),
            inference=inference.only(inference.ancestors(roots + [fit.counts for fit in model.fits])),
        )


def resolved(graph: Graph, branch: int) -> Graph:
    """The graph of training (branch 0), or of evaluation and prediction (1)."""
    if not any(node.op == "when_training" for node in graph):
        return graph
    result = Graph()
    for node in graph:
        if node.op == "when_training":
            axes = tuple(axis.name for axis in node.type.axes)
            node = replace(node, op="rename", inputs=(node.inputs[branch],), attrs={"names": axes})
        result.add(node)
    return result
