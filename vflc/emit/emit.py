"""From a scheduled model to a bundle in memory."""

from __future__ import annotations

import hashlib
from typing import Any

from vflc.diagnostics import Diagnostic, Refused
from vflc.emit.bundle import Bundle
from vflc.emit.manifest import canonical, manifest, markdown
from vflc.emit.onnx import to_onnx
from vflc.emit.plan import encoders, plan
from vflc.emit.update import build_update, optimizers_at, update_graph
from vflc.ir.model import PROGRAMS, Model, Schedule
from vflc.passes.cut import graph_of


def emit(
    model: Model, spec: str, precision: str, backends: tuple[str, ...], warnings: list[Diagnostic]
) -> Bundle:
    """Writes every place's plan and graphs, and the manifest over them all."""
    files: dict[str, bytes] = {}
    contents: dict[str, str] = {}
    for schedule in model.schedules:
        mine = _place(model, schedule, precision)
        contents[schedule.place] = _digest(mine)
        files |= {f"{schedule.place}/{name}": content for name, content in mine.items()}
    data = manifest(model, spec, precision, contents)
    files["manifest.json"] = canonical(data).encode()
    files["manifest.md"] = markdown(data).encode()
    return Bundle(data, files, warnings, model)


def _place(model: Model, schedule: Schedule, precision: str) -> dict[str, bytes]:
    graphs: dict[str, bytes] = {}
    for program in PROGRAMS:
        graph = graph_of(model, program)
        for stage in schedule.stages[program]:
            graphs[stage.name] = to_onnx(
                graph, stage.name, stage.nodes, stage.inputs, stage.outputs, precision
            )
    for rule in optimizers_at(model, schedule.place):
        update = build_update(rule, model.train.clip_value)
        nodes = [n.id for n in update.graph if n.id not in update.inputs and n.op != "constant"]
        name = update_graph(rule)
        graphs[name] = to_onnx(update.graph, name, nodes, update.inputs, update.outputs, precision)
    for name, content in graphs.items():
        _loads(schedule.place, name, content)
    files = {name: f"{name}.onnx" for name in graphs}
    data: dict[str, Any] = plan(model, schedule, precision, files)
    return {
        "plan.json": canonical(data).encode(),
        "encoders.json": canonical(encoders(model, schedule.place)).encode(),
        **{files[name]: content for name, content in graphs.items()},
    }


def _loads(place: str, name: str, content: bytes) -> None:
    """Every graph is loaded where it was compiled, not first at a party."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as wrong:  # onnxruntime's own exceptions have no common base
        message = f"{place}/{name}.onnx does not load: {wrong}"
        raise Refused(
            [Diagnostic("VFL0501", message, None, "this is a defect in vflc: please report it")]
        ) from wrong


def _digest(files: dict[str, bytes]) -> str:
    seen = hashlib.sha256()
    for name in sorted(files):
        seen.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return seen.hexdigest()
