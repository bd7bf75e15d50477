"""Parts the graph in two: what runs in training, and what runs in evaluation and prediction.

In: a placed graph with `when_training(a, b)`. Out: `graph` reads a, `inference` reads b, and
neither has the op any more. A value keeps its id in both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vflc.diagnostics import Collector
from vflc.ir.graph import Graph
from vflc.ir.model import Model


@dataclass(frozen=True, slots=True)
class Modes:
    """The pass."""

    name: str = "modes"

    def __call__(self, model: Model, collector: Collector) -> Model:
        roots = [loss.node for loss in model.losses] + [p.node for p in model.predictions]
        roots += [p.label for p in model.predictions if p.label]
        training = _resolved(model.graph, 0)
        inference = _resolved(model.graph, 1)
        assigned = [value for _, value in model.assigns]
        return replace(
            model,
            graph=training.only(
                training.ancestors(roots + assigned + [weight for weight, _ in model.assigns])
            ),
            inference=inference.only(inference.ancestors(roots)),
        )


def _resolved(graph: Graph, branch: int) -> Graph:
    result = Graph()
    for node in graph:
        if node.op == "when_training":
            axes = tuple(axis.name for axis in node.type.axes)
            node = replace(node, op="rename", inputs=(node.inputs[branch],), attrs={"names": axes})
        result.add(node)
    return result
