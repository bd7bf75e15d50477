"""Where the weights and values of a population live, and the proof that nothing else crosses.

In: the graph of a spec with a population. Out: the same with places: global weights at the hub,
all else at the users. Every weight is global or local; nothing that a local weight, a feature or
a label flowed into is computed at the hub, so all that can cross are global weights and their change.
"""

from __future__ import annotations

from typing import ClassVar

from vflc_common.encoders import record

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.model import PartyInfo, Population
from vflc.ir.stages import Housed, Lowered
from vflc.passes.properties import GRAPH, NEEDED, PLACED


class Home:
    """The pass."""

    name: ClassVar = "home"
    requires: ClassVar = (*GRAPH, NEEDED)
    ensures: ClassVar = (*GRAPH, PLACED)

    def __call__(self, model: Lowered, collector: DiagnosticCollector) -> Housed:
        population = model.population
        assert population is not None
        for party in model.parties:
            _check_encoders(party, collector)
        local = _below_local(model.graph, population)
        graph = Graph({n.id: _placed(n, population, local, collector) for n in model.graph})
        scopes = {population.scope_of(node.id) for node in graph if node.op == "weight"}
        if "global" not in scopes and not collector.errors:
            collector.error(
                "VFL0109",
                "the spec has no global weight, so training would change nothing",
                model.losses[0].span,
                f"let the hub keep one: global items = table(3706, 50) at {population.hub}",
            )
        places = tuple(party.name for party in model.parties)
        return Housed.of(model, graph=graph, places=places)


def _below_local(graph: Graph, population: Population) -> dict[str, str]:
    """Values that a local weight flowed into, with the name of one."""
    found: dict[str, str] = {}
    for node in graph:
        if node.op == "weight" and population.scope_of(node.id) == "local":
            found[node.id] = node.id
        else:
            below = next((found[name] for name in node.inputs if name in found), None)
            if below is not None:
                found[node.id] = below
    return found


def _placed(
    node: Node, population: Population, local: dict[str, str], collector: DiagnosticCollector
) -> Node:
    if node.op in PLACELESS:
        return node
    if node.op == "weight":
        return _weight(node, population, collector)
    if node.place == population.hub:
        _refuse(node, population, local, collector)
    if node.op == "random":
        text = "this version does not support dropout in a population"
        collector.error("VFL0502", text, node.span, "remove it from the spec")
    return node.moved(population.place)


def _weight(node: Node, population: Population, collector: DiagnosticCollector) -> Node:
    scope = population.scope_of(node.id)
    if scope is None:
        collector.error(
            "VFL0406",
            f"the weight `{node.id}` is neither global nor local",
            node.span,
            f"bind it first, as `global x = … at {population.hub}` (averaged over the users) "
            f"or as `local x = … at {population.place}` (stays with each user)",
        )
    elif not node.attrs["trainable"]:
        text = "this version does not support running statistics in a population"
        collector.error("VFL0502", text, node.span, "remove batch_norm")
    return node.moved(population.hub if scope == "global" else population.place)


def _refuse(
    node: Node, population: Population, local: dict[str, str], collector: DiagnosticCollector
) -> None:
    hub, here = population.hub, f"at {population.place}"
    labels = sorted(str(source) for source in node.sources if source.label)
    features = sorted(str(source) for source in node.sources if not source.label)
    help = f"compute this {here}: the hub sees global weights and their changes, nothing else"
    if node.id in local:
        text = f"the local weight `{local[node.id]}` is read at {hub}, but it may not leave its user"
        collector.error("VFL0303", text, node.span, help)
    elif labels:
        collector.error("VFL0401", f"the label {labels[0]} is read at {hub}", node.span, help)
    elif features:
        collector.error("VFL0302", f"the feature {features[0]} is read at {hub}", node.span, help)
    else:
        collector.error("VFL0407", f"{hub} only keeps weights and cannot compute", node.span, help)


def _check_encoders(party: PartyInfo, collector: DiagnosticCollector) -> None:
    for column in party.columns:
        for encoder in column.encoders:
            unfitted = record(encoder).unfitted(encoder)
            if unfitted:
                collector.error(
                    "VFL0502",
                    f"`{encoder['name']}` would be fitted to the values of all users",
                    column.span,
                    f"give its parameters: {encoder['name']}({', '.join(f'{n} = …' for n in unfitted)})",
                )
