"""Files of other tools in a bundle: tried where they were compiled, listed for whoever signs the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vflc_common.onnx_usable import usable
from vflc_common.onnx_wire import printable
from vflc_common.words import FIRST_FILE

from vflc.diagnostics import Diagnostic, Refused
from vflc.emit.manifest.text import plain
from vflc.ir.model import names_of
from vflc.ir.outside import OP, FileValues, OutsideModel
from vflc.ir.stages import ByMode

TRIED = (2, 3)
"""Rows of the batches that a file is tried with."""


def given_values(arrays: Mapping[str, Any], precision: str) -> dict[str, bytes]:
    """The file of the first values that files give for weights, by the weights' names; none without any."""
    import numpy as np
    from safetensors.numpy import save

    if not arrays:
        return {}
    return {FIRST_FILE: save({n: np.ascontiguousarray(a, precision) for n, a in sorted(arrays.items())})}


def check_runs(model: OutsideModel) -> None:
    """Runs a file; one that is not here is left to the party that has it.

    Raises:
        Refused: VFL0507, it does not run, or gives other shapes than it says.
    """
    wrong = None if model.content is None else _wrong(model.content)
    if wrong is not None:
        help = "export it again, and check it with onnx.checker and onnxruntime"
        raise Refused([Diagnostic("VFL0507", f"{model.path} {wrong}", model.span, help)])


def _wrong(content: bytes) -> str | None:
    """Why a file cannot be run as it says; None where it can."""
    import numpy as np
    import onnxruntime

    _, signature = usable(content)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for rows in TRIED:
            feeds = {port.name: np.zeros((rows, *port.sizes), port.element) for port in signature.inputs}
            made = session.run([port.name for port in signature.outputs], feeds)
            for port, found in zip(signature.outputs, made, strict=True):
                if found.shape != (rows, *port.sizes):
                    name = printable(port.name)
                    return f"gives `{name}` of shape {list(found.shape)} for {rows} rows"
    except Exception as error:  # onnxruntime's own exceptions have no common base
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"does not run: {printable(first)}"
    return None


def listed(model: ByMode) -> dict[str, Any]:
    """What the manifest says of the files, by place and path; nothing where there are none."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for node in [*model.graph, *model.inference]:
        if node.op == "weight" and "values" in node.attrs:
            values: FileValues = node.attrs["values"]
            entry = {
                "place": node.place, "path": values.path, "sha256": values.sha256, "weights": [],
                "trainable": node.attrs["trainable"],
            }  # fmt: skip
            known = found.setdefault((str(node.place), f"{values.path} {node.attrs['trainable']}"), entry)
            known["weights"] = sorted({*known["weights"], *names_of(node)})
        if node.op == OP:
            outside: OutsideModel = node.attrs["model"]
            entry = {
                "place": node.place, "path": outside.path, "sha256": outside.sha256,
                "inputs": [list(sizes) for sizes in outside.inputs],
                "outputs": [list(sizes) for sizes in outside.outputs],
                "reads": sorted(map(str, node.sources)),
            }  # fmt: skip
            known = found.setdefault((str(node.place), outside.file), entry)
            known["reads"] = sorted({*known["reads"], *entry["reads"]})
    return {"models": [found[key] for key in sorted(found)]} if found else {}


def described(models: list[Mapping[str, Any]]) -> list[str]:
    """The part of the page about them."""
    whole = [model for model in models if "weights" not in model]
    parts = [model for model in models if "weights" in model]
    lines = ["", "## Models from elsewhere"] * bool(models)
    if whole:
        lines += [
            "",
            "These run as they are, at one party, and are not trained. What one gives is taken for an",
            "arbitrary function of what it reads.",
            "",
            "| at | file | SHA-256 | inputs | outputs | reads |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
    for model in whole:
        cells = [model["place"], plain(model["path"]), f"`{model['sha256']}`"]
        for word in ("inputs", "outputs"):
            cells.append(", ".join(" × ".join(map(str, sizes or [1])) for sizes in model[word]))
        lines.append(f"| {' | '.join(cells)} | {plain(', '.join(model['reads'])) or '–'} |")
    if parts:
        lines += [
            "",
            "These are parts of the model as any other. Their weights begin with the numbers of the file.",
            "",
            "| at | file | SHA-256 | weights | trained |",
            "| --- | --- | --- | --- | --- |",
        ]
    for model in parts:
        cells = [model["place"], plain(model["path"]), f"`{model['sha256']}`"]
        cells += [plain(", ".join(model["weights"])), "yes" if model["trainable"] else "no"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
