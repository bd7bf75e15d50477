"""From a scheduled model to a bundle in memory."""

from __future__ import annotations

import hashlib
from typing import Any

from vflc_common.canonical import canonical
from vflc_common.words import PROGRAMS

from vflc.diagnostics import Diagnostic, Refused
from vflc.emit.bundle import Bundle
from vflc.emit.manifest.hashes import FileHashes, hashes, keras_folders
from vflc.emit.manifest.manifest import manifest, parties, with_page
from vflc.emit.onnx.subgraph import to_onnx
from vflc.emit.onnx.update import build_updates, optimizers_at
from vflc.emit.onnx.whole import whole_onnx
from vflc.emit.outside import check_runs, given_values
from vflc.emit.plan import encoders, given_at, guard_graph, listed_files, outside_models, plan
from vflc.emit.population.bundle import population_files, population_keras_files
from vflc.emit.population.manifest import population_manifest
from vflc.ir.listed import ListedFile
from vflc.ir.model import PlaceSchedule
from vflc.ir.outside import OutsideModel
from vflc.ir.stages import ByMode, Scheduled, Vectorised

_LOADED: set[bytes] = set()
"""Hashes of graphs that onnxruntime has loaded: ways of one spec, and specs alike, share most of theirs."""


def emit(
    model: Scheduled,
    spec: str,
    precision: str,
    backends: tuple[str, ...],
    warnings: list[Diagnostic],
    unfused: Scheduled | None = None,
    whole: Scheduled | None = None,
    outline: ByMode | None = None,
) -> Bundle:
    """Writes every place's plan and graphs, and the manifest over them all.

    The manifest is the same whatever the backends, so that each party is free to choose its own.
    The Keras backend takes `unfused`, the same model with its tables not fused, and `whole`, at one place.
    `outline` is the model as written, which merged exports are made of.
    """
    files: dict[str, bytes] = {}
    contents: dict[str, FileHashes] = {}
    for schedule in model.schedules:
        mine = _place(model, schedule, precision)
        if outline is not None and schedule.place == model.places[0]:
            mine |= whole_onnx(outline, precision)
        outside = outside_models(model, schedule.place)
        for each in outside:
            check_runs(each)
        beside: list[OutsideModel | ListedFile] = [*outside, *listed_files(model, schedule.place)]
        contents[schedule.place] = hashes(mine) | {each.file: each.sha256 for each in beside}
        written = mine if "onnx" in backends else {"encoders.json": mine["encoders.json"]}
        written |= {each.file: each.content for each in beside if each.content is not None}
        files |= {f"{schedule.place}/{name}": content for name, content in written.items()}
    data, page = with_page(manifest(model, spec, precision, contents))
    if unfused is not None and whole is not None:
        files |= keras_folders(_keras(model, unfused, whole, precision), data["digest"])
    files["manifest.json"] = canonical(data).encode()
    files["manifest.md"] = page
    return Bundle(data, files, warnings, model)


def emit_population(
    model: Vectorised, spec: str, precision: str, backends: tuple[str, ...], warnings: list[Diagnostic]
) -> Bundle:
    """Writes the plans and graphs of a population's two places, as `emit` does."""
    places, keras = population_files(model, precision, _loads), {}
    listed = {place: listed_files(model, place) for place in places}
    contents = {
        place: hashes(files) | {each.file: each.sha256 for each in listed[place]}
        for place, files in places.items()
    }
    if "onnx" not in backends:
        places = {place: {"encoders.json": own["encoders.json"]} for place, own in places.items()}
    if "keras" in backends:
        keras = population_keras_files(model, precision)
    for place, own in places.items():
        own |= {each.file: each.content for each in listed[place] if each.content is not None}
    data, page = with_page(population_manifest(model, spec, precision, contents, parties(model)))
    files = {f"{place}/{name}": content for place, own in places.items() for name, content in own.items()}
    if keras:
        files |= keras_folders(keras, data["digest"])
    files["manifest.json"] = canonical(data).encode()
    files["manifest.md"] = page
    return Bundle(data, files, warnings, model)


def _place(model: Scheduled, schedule: PlaceSchedule, precision: str) -> dict[str, bytes]:
    graphs: dict[str, bytes] = {}
    for program in model.programs:
        graph = model.graph_of(program)
        for stage in schedule.stages[program]:
            graphs[stage.name] = to_onnx(
                graph, stage.name, stage.nodes, stage.inputs, stage.outputs, precision
            )
    for guard in model.guards:
        if guard.graph is not None and guard.place == schedule.place:
            inner, nodes, inputs, outputs = guard_graph(guard)
            graphs[guard.id] = to_onnx(inner, guard.id, nodes, inputs, outputs, precision)
    for rule in optimizers_at(model, schedule.place):
        for name, update in build_updates(rule, model.train.clip_value).items():
            nodes = [n.id for n in update.graph if n.id not in update.inputs and n.op != "constant"]
            kind = "float64" if update.double else precision
            graphs[name] = to_onnx(update.graph, name, nodes, update.inputs, update.outputs, kind)
    for name, content in graphs.items():
        _loads(schedule.place, name, content)
    files = {name: f"{name}.onnx" for name in graphs}
    data: dict[str, Any] = plan(model, schedule, precision, files)
    return {
        **given_values(given_at(model, schedule.place), precision),
        "plan.json": canonical(data).encode(),
        "encoders.json": canonical(encoders(model, schedule.place, map(model.graph_of, PROGRAMS))).encode(),
        **{files[name]: content for name, content in graphs.items()},
    }


def _keras(
    model: Scheduled, unfused: Scheduled, whole: Scheduled, precision: str
) -> dict[str, dict[str, bytes]]:
    """The Keras plans, which must speak of the same edges and messages as the manifest."""
    from vflc.emit.keras.plan import keras_files
    from vflc.emit.keras.whole import whole_files

    assert (unfused.edges, unfused.messages) == (model.edges, model.messages), "fused tables crossed"
    files = {each.place: keras_files(unfused, each, precision) for each in unfused.schedules}
    files[model.places[0]] |= whole_files(whole, precision)
    return files


def _loads(place: str, name: str, content: bytes) -> None:
    """Every graph is loaded where it was compiled, not first at a party; the same one once a process."""
    digest = hashlib.sha256(content).digest()
    if digest in _LOADED:
        return
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # nothing runs: threads take longest
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as wrong:  # onnxruntime's own exceptions have no common base
        message = f"{place}/{name}.onnx does not load: {wrong}"
        raise Refused(
            [Diagnostic("VFL0501", message, None, "this is a bug in vflc: please report it")]
        ) from wrong
    _LOADED.add(digest)
