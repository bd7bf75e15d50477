"""The manifest of a population: every value of a client update that crosses."""

from __future__ import annotations

import hashlib
from typing import Any

from vflc_common.words import BYTES, FORMAT, PROGRAMS

from vflc import __version__
from vflc.emit.manifest.diagram import ROWS_TOUCHED
from vflc.emit.manifest.edges import dtype_name
from vflc.emit.manifest.learned import learned
from vflc.emit.manifest.manifest import plugins
from vflc.emit.plan import shape_of
from vflc.emit.population.plan import (
    delta_of,
    examples_of,
    global_weights,
    ids_of,
    parts,
    weights_of,
)
from vflc.ir.stages import Vectorised


def population_manifest(
    model: Vectorised,
    spec: str,
    precision: str,
    contents: dict[str, dict[str, str]],
    parties: list[dict[str, Any]],
) -> dict[str, Any]:
    """Every value of a client update that crosses: rows asked for, global weights, and their changes back."""
    population, client = parts(model)
    place, hub = population.place, population.hub
    sent: dict[str, list[dict[str, Any]]] = {"ask": [], "into": [], "back": []}
    secrets = sorted({str(s) for loss in model.losses for s in model.graph[loss.node].sources})
    for weight in global_weights(model):
        features = sorted({f for ids in client.ids if ids.table == weight.id for f in ids.features})
        shape: list[Any] = list(shape_of(weight.type))
        if weight.attrs["table"]:
            shape = [ROWS_TOUCHED, *shape[1:]]
            sent["ask"].append(_edge(ids_of(weight), place, hub, [ROWS_TOUCHED], "int32", 4, features))
        size = BYTES[precision]
        for axis in shape[1:] if weight.attrs["table"] else shape:
            size *= int(axis or 1)
        kind = dtype_name("float", precision)
        sent["into"].append(_edge(weight.id, hub, place, shape, kind, size, []))
        back = _edge(delta_of(weight), place, hub, shape, kind, size, secrets)
        sent["back"].append({**back, "phase": "backward", "gradient_of": weight.id, "programs": ["train"]})
    count = _edge(examples_of(population), place, hub, [], "int32", 4, [])
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
        s: [w.id for w in weights_of(model) if population.scope_of(w.id) == s] for s in ("global", "local")
    }
    return {
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
        **plugins(model),
        **learned(model),
    }


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
