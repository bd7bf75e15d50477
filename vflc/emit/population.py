"""The bundle of a population: a plan for every user alike, one for the hub, and the manifest of a visit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from vflc import __version__
from vflc.emit.diagram import ROWS_TOUCHED
from vflc.emit.manifest import FORMAT, WIDTHS, canonical, dtype_name, signed
from vflc.emit.onnx import to_onnx
from vflc.emit.plan import encoders, shape_of
from vflc.emit.update import LAST, build_updates, makes_up, slots_of, update_graph
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.model import PROGRAMS, Gradient, Model, OptimizerRule, Population, Visit

FED = frozenset({"feature", "label", "weight"})


def population_files(
    model: Model, precision: str, loads: Callable[[str, str, bytes], None]
) -> dict[str, dict[str, bytes]]:
    """The files of both places by name; `loads` checks each graph."""
    population, visit = _parts(model)
    users, entries = _visit_graphs(model, population, visit, precision)
    for name in ("rebuild", "client"):
        users |= _updates(population.rules[name], precision, entries)
    server: dict[str, Any] = {}
    hub = _updates(population.rules["server"], precision, server)
    files: dict[str, dict[str, bytes]] = {}
    for place, graphs, data in (
        (population.place, users, _users_plan(model, population, visit, precision, entries)),
        (population.hub, hub, _hub_plan(model, population, precision, server)),
    ):
        for name, content in graphs.items():
            loads(place, name, content)
        columns = encoders(model, place)
        for party in columns["parties"].values():
            party["population"] = True
        files[place] = {
            "plan.json": canonical(data).encode(),
            "encoders.json": canonical(columns).encode(),
            **{f"{name}.onnx": content for name, content in graphs.items()},
        }
    return files


def _parts(model: Model) -> tuple[Population, Visit]:
    assert model.population is not None and model.visit is not None
    return model.population, model.visit


# --- graphs ---------------------------------------------------------------------------------------


def _visit_graphs(
    model: Model, population: Population, visit: Visit, precision: str
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What a step of each phase computes, and what measuring and predicting do."""
    measured = [*visit.losses, *visit.predictions.values()]
    wanted: dict[str, tuple[Graph, list[str]]] = {}
    for phase, gradients in visit.gradients.items():
        outputs = [name for g in gradients for name in ([g.dense] if g.dense else [v for _, v in g.rows])]
        if outputs:
            outputs += measured if phase == "client" else []
            wanted[phase] = visit.graphs[phase], outputs
    wanted["evaluate"] = visit.forward, measured
    wanted["predict"] = visit.forward, list(visit.predictions.values())
    graphs, entries = {}, {}
    for name, (graph, outputs) in wanted.items():
        outputs = list(dict.fromkeys(outputs))
        needed = graph.ancestors(outputs)
        nodes = [n.id for n in graph if n.id in needed and n.op not in FED and n.op not in PLACELESS]
        read = {source for node in nodes for source in graph[node].inputs} | set(outputs)
        inputs = [n.id for n in graph if n.id in read and n.op in FED]
        graphs[name] = to_onnx(graph, name, nodes, inputs, outputs, precision)
        entries[name] = _entry(name, inputs, outputs)
    return graphs, entries


def _updates(rule: OptimizerRule, precision: str, entries: dict[str, Any]) -> dict[str, bytes]:
    graphs = {}
    for name, update in build_updates(rule, None).items():
        nodes = [n.id for n in update.graph if n.id not in update.inputs and n.op != "constant"]
        graphs[name] = to_onnx(update.graph, name, nodes, update.inputs, update.outputs, precision)
        entries[name] = _entry(name, update.inputs, update.outputs)
    return graphs


def _entry(name: str, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, Any]:
    return {"file": f"{name}.onnx", "inputs": list(inputs), "outputs": list(outputs)}


# --- plans ----------------------------------------------------------------------------------------


def _head(model: Model, place: str, precision: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "vflc": __version__,
        "kind": "population",
        "model": model.name,
        "place": place,
        "precision": precision,
    }


def _users_plan(
    model: Model, population: Population, visit: Visit, precision: str, graphs: dict[str, Any]
) -> dict[str, Any]:
    place, hub = population.place, population.hub
    raw = [n for n in visit.forward if n.op in ("feature", "label") and "party" in n.attrs]
    run = [{"do": "run", "graph": name} for name in ("rebuild", "client") if name in graphs]
    into = {"do": "receive", "message": f"{hub}>{place}.forward"}
    tables = any(node.op == "weight" and node.attrs["table"] for node in global_weights(model))
    ask = [{"do": "send", "message": f"{place}>{hub}.forward"}] if tables else []
    return {
        **_head(model, place, precision),
        "inputs": [_input(node) for node in raw],
        "ids": [asdict(ids) for ids in visit.ids],
        "mask": visit.mask or None,
        "weights": [_weight(node, population) for node in _weights(model)],
        "graphs": graphs,
        "phases": {
            phase: {"optimizer": _optimizer(population.rules[phase]), "gradients": [_gradient(g) for g in gs]}
            for phase, gs in visit.gradients.items()
        },
        "losses": [
            {"name": loss.name, "value": value, "coefficient": loss.coefficient}
            for loss, value in zip(model.losses, visit.losses, strict=True)
        ],
        "predictions": [
            {"name": p.name, "value": visit.predictions[p.name], "label": p.label, "kind": p.kind}
            for p in model.predictions
        ],
        "reconstruct": asdict(population.config),
        "programs": {
            "train": [*ask, into, *run, {"do": "send", "message": f"{place}>{hub}.backward"}],
            "evaluate": [*ask, into, *run[:-1], {"do": "run", "graph": "evaluate"}],
            "predict": [*ask, into, *run[:-1], {"do": "run", "graph": "predict"}],
        },
    }


def _hub_plan(model: Model, population: Population, precision: str, graphs: dict[str, Any]) -> dict[str, Any]:
    place, hub = population.place, population.hub
    tables = any(node.attrs["table"] for node in global_weights(model))
    out = [{"do": "receive", "message": f"{place}>{hub}.forward"}] if tables else []
    out.append({"do": "send", "message": f"{hub}>{place}.forward"})
    back = [{"do": "receive", "message": f"{place}>{hub}.backward"}, {"do": "update", "update": "server"}]
    return {
        **_head(model, hub, precision),
        "weights": [_weight(node, population) for node in global_weights(model)],
        "graphs": graphs,
        "optimizer": _optimizer(population.rules["server"]),
        "programs": {"train": out + back, "evaluate": out, "predict": out},
    }


def _weights(model: Model) -> list[Node]:
    return [node for node in model.graph if node.op == "weight"]


def global_weights(model: Model) -> list[Node]:
    """The weights that the hub keeps."""
    return [node for node in _weights(model) if node.place == _parts(model)[0].hub]


def _input(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "party": node.attrs["party"],
        "column": node.attrs["name"],
        "kind": node.attrs["kind"],
        "dtype": node.type.dtype,
        "label": node.op == "label",
    }


def _weight(node: Node, population: Population) -> dict[str, Any]:
    return {
        "name": node.id,
        "shape": shape_of(node.type),
        "init": asdict(node.attrs["init"]),
        "table": node.attrs["table"],
        "scope": population.scope_of(node.id),
    }


def _gradient(gradient: Gradient) -> dict[str, Any]:
    return {
        "weight": gradient.weight,
        "dense": gradient.dense,
        "rows": [list(pair) for pair in gradient.rows],
    }


def _optimizer(rule: OptimizerRule) -> dict[str, Any]:
    """`sparse`: a row without a gradient stays as it is, and so does what is kept for it."""
    return {
        "id": rule.id,
        "graph": update_graph(rule),
        "rows_graph": update_graph(rule, rows=True),
        "slots": [{"name": name, "init": init} for name, init in slots_of(rule).items()],
        "row_slots": [{"name": LAST, "init": 0.0}] if makes_up(rule) else [],
        "sparse": not makes_up(rule),
    }


# --- manifest -------------------------------------------------------------------------------------


def population_manifest(
    model: Model, spec: str, precision: str, contents: dict[str, str], parties: list[dict[str, Any]]
) -> dict[str, Any]:
    """Every value of a visit that crosses: rows asked for, global weights, and their changes back."""
    population, visit = _parts(model)
    place, hub = population.place, population.hub
    sent: dict[str, list[dict[str, Any]]] = {"ask": [], "into": [], "back": []}
    secrets = sorted({str(s) for loss in model.losses for s in model.graph[loss.node].sources})
    for weight in global_weights(model):
        features = sorted({f for ids in visit.ids if ids.table == weight.id for f in ids.features})
        shape: list[Any] = list(shape_of(weight.type))
        if weight.attrs["table"]:
            shape = [ROWS_TOUCHED, *shape[1:]]
            sent["ask"].append(_edge(f"{weight.id}.ids", place, hub, [ROWS_TOUCHED], "int32", 4, features))
        size = WIDTHS[precision]["float"]
        for axis in shape[1:] if weight.attrs["table"] else shape:
            size *= int(axis or 1)
        kind = dtype_name("float", precision)
        sent["into"].append(_edge(weight.id, hub, place, shape, kind, size, []))
        back = _edge(f"{weight.id}.delta", place, hub, shape, kind, size, secrets)
        sent["back"].append({**back, "phase": "backward", "gradient_of": weight.id, "programs": ["train"]})
    count = _edge(f"{place}.examples", place, hub, [], "int32", 4, [])
    sent["back"].append({**count, "phase": "backward", "programs": ["train"]})
    ends = {"ask": (place, hub, "forward"), "into": (hub, place, "forward"), "back": (place, hub, "backward")}
    messages = [
        {
            "id": f"{source}>{target}.{phase}",
            "from": source,
            "to": target,
            "phase": phase,
            "programs": ["train"] if kind == "back" else list(PROGRAMS),
            "edges": [edge["id"] for edge in sent[kind]],
        }
        for kind, (source, target, phase) in ends.items()
        if sent[kind]
    ]
    names = {
        s: [w.id for w in _weights(model) if population.scope_of(w.id) == s] for s in ("global", "local")
    }
    return signed(
        {
            "format": FORMAT,
            "vflc": __version__,
            "model": model.name,
            "spec_sha256": hashlib.sha256(spec.encode()).hexdigest(),
            "precision": precision,
            "places": [place, hub],
            "contents": contents,
            "parties": parties,
            "population": {"place": place, "hub": hub, **names},
            "edges": [edge for kind in sent.values() for edge in kind],
            "messages": messages,
        }
    )


def _edge(
    name: str, source: str, target: str, shape: list[Any], dtype: str, size: int, depends: list[str]
) -> dict[str, Any]:
    rows = ROWS_TOUCHED in shape
    return {
        "id": name,
        "value": name,
        "from": source,
        "to": target,
        "phase": "forward",
        "shape": shape,
        "axes": [ROWS_TOUCHED if axis == ROWS_TOUCHED else None for axis in shape],
        "dtype": dtype,
        "bytes_per_row": size if rows else 0,
        "bytes_per_step": 0 if rows else size,
        "depends_on": depends,
        "gradient_of": None,
        "programs": list(PROGRAMS),
        "protections": [],
        "findings": [],
        "accepted": [],
    }
