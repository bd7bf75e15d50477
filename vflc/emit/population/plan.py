"""`plan.json` of a population's places: what every user runs alike, and what the hub does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import asdict
from vflc_common.words import FORMAT

from vflc import __version__
from vflc.emit.onnx.update import slots_of, update_graph
from vflc.emit.plan import shape_of
from vflc.ir.graph import Node
from vflc.ir.model import ClientGraphs, Gradient, OptimizerRule, Population
from vflc.ir.stages import Vectorised
from vflc.ops.penalised import makes_up


def _head(model: Vectorised, kind: str, place: str, precision: str) -> dict[str, Any]:
    population, _ = parts(model)
    return {
        "format": FORMAT,
        "vflc": __version__,
        "kind": kind,
        "model": model.name,
        "place": place,
        "precision": precision,
        "tables": [place] if kind == "users" else [],
        "examples": examples_of(population),
    }


# What crosses bears these names, as value and as edge. A global weight crosses by its own.


def ids_of(weight: Node) -> str:
    """The rows of a table that a user asks for."""
    return f"{weight.id}.ids"


def delta_of(weight: Node) -> str:
    """How a client update changed a weight."""
    return f"{weight.id}.delta"


def examples_of(population: Population) -> str:
    """How much a user's changes count."""
    return f"{population.place}.examples"


def users_plan(
    model: Vectorised,
    precision: str,
    graphs: dict[str, Any],
    gradients: Mapping[str, Sequence[Gradient]],
) -> dict[str, Any]:
    """The plan of every user. `graphs` and the `gradients` of each phase are those of a backend."""
    population, client = parts(model)
    place, hub = population.place, population.hub
    raw = [n for n in client.forward if n.op in ("feature", "label") and "party" in n.attrs]
    run = [{"do": "run", "graph": name} for name in ("rebuild", "client") if name in graphs]
    into = {"do": "receive", "message": f"{hub}>{place}.forward"}
    tables = any(node.op == "weight" and node.attrs["table"] for node in global_weights(model))
    ask = [{"do": "send", "message": f"{place}>{hub}.forward"}] if tables else []
    return {
        **_head(model, "users", place, precision),
        "inputs": [_input(node) for node in raw],
        "ids": [asdict(ids) for ids in client.ids],
        "mask": client.mask or None,
        "weights": [_weight(node, population) for node in weights_of(model)],
        "graphs": graphs,
        "phases": {
            phase: {"optimizer": _optimizer(population.rules[phase]), "gradients": [_gradient(g) for g in gs]}
            for phase, gs in gradients.items()
        },
        "losses": [
            {"name": loss.name, "value": value, "coefficient": loss.coefficient}
            for loss, value in zip(model.losses, client.losses, strict=True)
        ],
        "predictions": [
            {
                "name": p.name,
                "value": client.predictions[p.name],
                "label": p.label,
                "kind": p.kind,
                **({"classes": list(p.classes)} if p.classes else {}),
            }
            for p in model.predictions
        ],
        "reconstruct": asdict(population.config),
        "programs": {
            "train": [*ask, into, *run, {"do": "send", "message": f"{place}>{hub}.backward"}],
            "evaluate": [*ask, into, *run[:-1], {"do": "run", "graph": "evaluate"}],
            "predict": [*ask, into, *run[:-1], {"do": "run", "graph": "predict"}],
        },
    }


def hub_plan(model: Vectorised, precision: str, graphs: dict[str, Any]) -> dict[str, Any]:
    """The plan of the hub, which keeps the global weights."""
    population, _ = parts(model)
    place, hub = population.place, population.hub
    tables = any(node.attrs["table"] for node in global_weights(model))
    out = [{"do": "receive", "message": f"{place}>{hub}.forward"}] if tables else []
    out.append({"do": "send", "message": f"{hub}>{place}.forward"})
    back = [{"do": "receive", "message": f"{place}>{hub}.backward"}, {"do": "update", "update": "server"}]
    return {
        **_head(model, "hub", hub, precision),
        "weights": [_weight(node, population) for node in global_weights(model)],
        "graphs": graphs,
        "optimizer": _optimizer(population.rules["server"]),
        "programs": {"train": out + back, "evaluate": out, "predict": out},
    }


def parts(model: Vectorised) -> tuple[Population, ClientGraphs]:
    """What only a model over a population has."""
    assert model.population is not None and model.client is not None
    return model.population, model.client


def weights_of(model: Vectorised) -> list[Node]:
    """All weights, global and local."""
    return [node for node in model.graph if node.op == "weight"]


def global_weights(model: Vectorised) -> list[Node]:
    """The weights that the hub keeps."""
    return [node for node in weights_of(model) if node.place == parts(model)[0].hub]


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
    scope, table = population.scope_of(node.id), node.attrs["table"]
    return {
        "name": node.id,
        "shape": shape_of(node.type),
        "init": asdict(node.attrs["init"]),
        "table": table,
        "scope": scope,
        "ids": ids_of(node) if table and scope == "global" else None,
        "delta": delta_of(node) if scope == "global" else None,
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
        "slots": [{"name": name, "init": init} for name, init in slots_of(rule).items()],
        "sparse": not makes_up(rule),
    }
