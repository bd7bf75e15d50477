"""The two gradients of a client update: of local weights to rebuild them, of global ones to train them.

In: a vectorised graph. Out: for `rebuild` and `client` the graph with backward values, and the
gradient of each weight that the phase changes. The objective is the sum over the users of their
own, so that a user's weights get that user's gradient.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.stages import Vectorised
from vflc.ops import infer
from vflc.passes.differentiate import differentiated
from vflc.passes.properties import GRAPH, PHASES, VECTORISED


class Phases:
    """The pass."""

    name: ClassVar = "phases"
    requires: ClassVar = (*GRAPH, VECTORISED)
    ensures: ClassVar = (*GRAPH, VECTORISED, PHASES)

    def __call__(self, model: Vectorised, collector: DiagnosticCollector) -> Vectorised:
        population, client = model.population, model.client
        scopes = {"rebuild": ("local",), "client": ("global", "local")[: 1 + population.config.joint]}
        graphs, gradients = {}, {}
        for phase, trained in scopes.items():
            graph = Graph({n.id: _trainable(n, population.scope_of(n.id) in trained) for n in client.forward})
            build = Build(graph, infer, place=population.place)
            losses = []
            for loss, value in zip(model.losses, client.losses, strict=True):
                with build.within(scope=(loss.name, "sum"), span=loss.span):
                    total = build.op("sum", graph[value], axes=(0,), keep=False)
                losses.append(replace(loss, node=total.id))
            graphs[phase], gradients[phase] = differentiated(graph, losses)
        if not gradients["client"] and losses:
            collector.error(
                "VFL0404",
                "no gradient of the objective reaches a global weight, so the hub would learn nothing",
                losses[0].span,
                "use a global weight on the way to the prediction; no gradient flows through `floor`, "
                "`sign` or `stop_gradient`",
            )
        return replace(model, client=replace(client, graphs=graphs, gradients=gradients))


def _trainable(node: Node, trainable: bool) -> Node:
    return replace(node, attrs={**node.attrs, "trainable": trainable}) if node.op == "weight" else node
