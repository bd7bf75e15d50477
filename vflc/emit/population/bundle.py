"""The bundle of a population: graphs and a plan for every user alike, and the same for the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from vflc_common.canonical import canonical

from vflc.emit.onnx.subgraph import to_onnx
from vflc.emit.onnx.update import build_updates, update_graph
from vflc.emit.plan import encoders
from vflc.emit.population.plan import hub_plan, parts, users_plan
from vflc.ir.graph import PLACELESS, Graph
from vflc.ir.model import ClientGraphs, Gradient, OptimizerRule
from vflc.ir.stages import Vectorised

FED = frozenset({"feature", "label", "weight"})
PHASES = ("rebuild", "client")
Files = dict[str, dict[str, bytes]]
"""Of each place its files by name."""


class _Unit(Struct, frozen=True):
    """What becomes one file."""

    graph: Graph
    nodes: Sequence[str]
    inputs: Sequence[str]
    outputs: Sequence[str]


def population_files(model: Vectorised, precision: str, loads: Callable[[str, str, bytes], None]) -> Files:
    """The files of both places with ONNX graphs; `loads` checks each graph."""
    population, client = parts(model)
    users = _client_units(client) | _updates(population.rules[name] for name in PHASES)
    hub = _updates([population.rules["server"]])
    plans = (
        (population.place, users, users_plan(model, precision, _entries(users), client.gradients)),
        (population.hub, hub, hub_plan(model, precision, _entries(hub))),
    )
    files: Files = {}
    for place, units, plan in plans:
        graphs = {
            name: to_onnx(u.graph, name, u.nodes, u.inputs, u.outputs, precision) for name, u in units.items()
        }
        for name, content in graphs.items():
            loads(place, name, content)
        columns = encoders(model, place, (model.graph,))
        for party in columns["parties"].values():
            party["population"] = True
        files[place] = {
            "plan.json": canonical(plan).encode(),
            "encoders.json": canonical(columns).encode(),
            **{f"{name}.onnx": content for name, content in graphs.items()},
        }
    return files


def _entries(units: Mapping[str, _Unit]) -> dict[str, Any]:
    return {
        name: {"file": f"{name}.onnx", "inputs": list(unit.inputs), "outputs": list(unit.outputs)}
        for name, unit in units.items()
    }


def _client_units(client: ClientGraphs) -> dict[str, _Unit]:
    """What a step of each phase computes, and what measuring and predicting do."""
    measured = [*client.losses, *client.predictions.values()]
    units = {}
    for phase, gradients in client.gradients.items():
        outputs = [name for g in gradients for name in ([g.dense] if g.dense else [v for _, v in g.rows])]
        if outputs:
            units[phase] = _unit(client.graphs[phase], outputs + (measured if phase == "client" else []))
    units["evaluate"] = _unit(client.forward, measured)
    units["predict"] = _unit(client.forward, list(client.predictions.values()))
    return units


def _unit(graph: Graph, outputs: Sequence[str]) -> _Unit:
    """All that is computed on the way from what is fed to the outputs."""
    needed = graph.ancestors(outputs)
    nodes = [n.id for n in graph if n.id in needed and n.op not in FED and n.op not in PLACELESS]
    read = {source for node in nodes for source in graph[node].inputs} | set(outputs)
    return _Unit(
        graph, nodes, [n.id for n in graph if n.id in read and n.op in FED], list(dict.fromkeys(outputs))
    )


def _updates(rules: Iterable[OptimizerRule]) -> dict[str, _Unit]:
    found = {}
    for rule in rules:
        name = update_graph(rule)
        update = build_updates(rule, None)[name]
        nodes = [n.id for n in update.graph if n.id not in update.inputs and n.op != "constant"]
        found[name] = _Unit(update.graph, nodes, update.inputs, update.outputs)
    return found


# --- Keras ------------------------------------------------------------------------------------------


def population_keras_files(model: Vectorised, precision: str) -> Files:
    """The same as Keras models, with a plan of their own.

    Weights are inputs, as every user has its own. vflc's gradients say only which weights change in
    a phase: their values come from a tape over the forward model, seeded by the losses.
    """
    from vflc.emit.keras.models import to_keras

    population, client = parts(model)
    users = _forward_units(client) | _updates(population.rules[name] for name in PHASES)
    hub = _updates([population.rules["server"]])
    files: Files = {population.place: {}, population.hub: {}}
    entries: dict[str, dict[str, Any]] = {population.place: {}, population.hub: {}}
    for place, units in ((population.place, users), (population.hub, hub)):
        for name, unit in units.items():
            made = to_keras(unit.graph, name, unit.nodes, unit.outputs, precision)
            files[place][made.file] = made.content
            entries[place][name] = {"file": made.file, "inputs": [*made.inputs], "outputs": [*made.outputs]}
    gradients = {}
    for phase, found in client.gradients.items():
        gradients[phase] = tuple(_taped(each) for each in found)
        if phase in entries[population.place]:
            entry = entries[population.place][phase]
            entry["gradients"] = [{"gradient": str(g.dense), "weight": g.weight} for g in gradients[phase]]
            entry["outputs"] = entry["outputs"] + [str(g.dense) for g in gradients[phase]]
    plans = {
        population.place: users_plan(model, precision, entries[population.place], gradients),
        population.hub: hub_plan(model, precision, entries[population.hub]),
    }
    for place, plan in plans.items():
        files[place]["plan.json"] = canonical(plan).encode()
    return files


def _taped(of: Gradient) -> Gradient:
    """One value for all rows of a table's copies, beside the ids that say which of them a batch reads."""
    name = f"{of.weight}#gradient"
    return Gradient(of.weight, name, tuple((ids, name) for ids, _ in of.rows))


def _forward_units(client: ClientGraphs) -> dict[str, _Unit]:
    """The values of each phase without their gradients."""
    forward = Graph({n.id: replace(n, op="feature") if n.op == "weight" else n for n in client.forward})
    measured = [*client.losses, *client.predictions.values()]
    units = {name: _unit(forward, measured) for name in PHASES if client.gradients[name]}
    return units | {
        "evaluate": _unit(forward, measured),
        "predict": _unit(forward, list(client.predictions.values())),
    }
