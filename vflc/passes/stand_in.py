"""Learned defaults, where a party may lack rows: what its values are in rows that it has not.

In place of a value that crosses from such a party, its readers at another place read the sum of the
value, which is 0 in rows that the party lacks, and a weight of that place times 1 in these rows.
Which rows they are, the run feeds at the place: alignment tells it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.build import Build, Initializer
from vflc.ir.graph import Graph, Node
from vflc.ir.model import PartyInfo
from vflc.ir.stages import Placed
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import infer
from vflc.passes.properties import GRAPH, PLACED
from vflc.passes.protect.joint import fresh, readers_elsewhere, rewired


@dataclass(frozen=True)
class StandIn:
    """The pass.

    Args:
        masked: whether what the party computes is made 0 in rows that it lacks. In a model at one place it
            is computed for these as well; split, the party does not send it.
    """

    masked: bool
    name: ClassVar = "stand-in"
    requires: ClassVar = (*GRAPH, PLACED)
    ensures: ClassVar = (*GRAPH, PLACED)

    def __call__(self, model: Placed, collector: DiagnosticCollector) -> Placed:
        for party in model.parties:
            if party.missing:
                model = _with_defaults(model, party, self.masked, collector)
        return model


def _with_defaults(model: Placed, party: PartyInfo, masked: bool, collector: DiagnosticCollector) -> Placed:
    graph = Graph(dict(model.graph.nodes))
    replaced: dict[tuple[str, str], str] = {}
    for name, places in readers_elsewhere(model.graph).items():
        node = graph[name]
        if node.place != party.name or not node.type.batched:
            continue
        if node.type.dtype != "float" or node.type.row_size is None:
            _refuse(
                collector, party, f"`{name}` crosses, and is no row of numbers, for which there are defaults"
            )
            continue
        for place in places:
            default = name if len(places) == 1 else f"{name}.{place}"
            replaced[name, place] = _stand_in(graph, party, node, place, f"{default}.default", masked)
    changed = {
        node.id: replace(node, inputs=tuple(replaced.get((i, node.place), i) for i in node.inputs))
        for node in model.graph
        if node.place is not None and any((i, node.place) in replaced for i in node.inputs)
    }
    logits = tuple(
        replace(loss, logit=replaced.get((loss.logit or "", str(graph[loss.node].place)), loss.logit))
        for loss in model.losses
    )
    return replace(model, graph=rewired(graph, changed), losses=logits)


def _stand_in(graph: Graph, party: PartyInfo, node: Node, place: str, name: str, masked: bool) -> str:
    """The id of the value with its default, at `place`."""
    build = Build(graph, infer, (), place, span=node.span)
    axes = node.type.row_axes
    default = build.weight(fresh(graph, name), axes, Initializer("zeros", 0.0))
    has = _present(graph, party, place)
    if len(axes) > 1:
        has = build.op("reshape", has, sizes=(1,) * len(axes), names=(None,) * len(axes))
    lacks = build.op("sub", build.constant(1.0), has)
    own = build.op("mul", node, has) if masked else node
    return build.op("add", own, build.op("mul", default, lacks)).id


def _present(graph: Graph, party: PartyInfo, place: str) -> Node:
    """1 in rows that the party has and 0 in others, [B, 1]: one input for each place that reads it."""
    id = f"{party.name}.present.{place}"
    if id in graph:
        return graph[id]
    attrs = {"party": party.name, "name": "present", "kind": "number", "rows": None}
    type = TensorType((ROWS, Axis(None, 1)))
    return graph.add(Node(id, "present", (), attrs, type, frozenset(), place, "forward", party.span))


def check_alone(model: Placed, once: Sequence[str], collector: DiagnosticCollector) -> None:
    """VFL0116 where a party that may lack rows is needed for more than what it sends of its own."""
    for party in model.parties:
        if party.missing and party.name in model.places and party.name not in once:
            _refuse(
                collector,
                party,
                "its part has a loss or a prediction, reads others' values, mixes rows or draws at random",
            )


def _refuse(collector: DiagnosticCollector, party: PartyInfo, why: str) -> None:
    collector.error(
        "VFL0116",
        f"{party.name} cannot lack rows: {why}",
        party.span,
        "let it send numbers that it computes from each of its rows alone, or remove `missing party allowed`",
    )
