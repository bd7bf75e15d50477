"""Exports a trained run: each party's inference model, or all of them merged into one.

Models take raw columns where their format can express the encoders. Every file is loaded again
and compared with the trained model on sample rows before the export counts as done.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime import files
from vflc_runtime.bundle import Bundle
from vflc_runtime.data.source import Source
from vflc_runtime.errors import Failure
from vflc_runtime.evaluate import trained
from vflc_runtime.export_model import Format, Model, Trial, by_place, merged_model
from vflc_runtime.export_raw import TEXT, NotExpressed, Raw, Sample, raw_columns, sample
from vflc_runtime.plan import Plan
from vflc_runtime.session import Session
from vflc_runtime.state import RunFolder

Array = NDArray[Any]
TOLERANCE = {"float32": (1e-4, 1e-5), "float64": (1e-9, 1e-9)}
"""Relative and absolute difference that rounding explains."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported: a folder, and each file's path inside it."""

    folder: Path
    models: dict[str, Model]


def export(
    run: Path | str,
    out: Path | str,
    format: str = "onnx",
    merged: bool = False,
    sources: Mapping[str, Source] | None = None,
) -> Exported:
    """Writes the inference models of the run in `run` to the folder `out`.

    Args:
        run: the run's folder.
        out: a folder that does not exist yet, or an empty one.
        format: `onnx` or `keras`.
        merged: one model of all parties instead of one a party.
        sources: of each party its source, to compare on; generated rows where None.

    Raises:
        Failure: VFL0614 for a run without a model, VFL0613 where it was compiled without the
            format, VFL0612 where `out` cannot be written, VFL0501 where an exported model differs
            from the trained one, VFL0503 where TensorFlow is missing.
    """
    out, folder = Path(out), RunFolder(Path(run))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Failure("VFL0612", f"{out} is there and is not empty", "choose another folder with -o")
    session = _trained(folder, format)
    fitted = folder.fitted(session.bundle)
    writer = _format(format, session)
    models = [merged_model(session.bundle)] if merged else by_place(session.bundle)
    columns = raw_columns(session.bundle, fitted)
    for model in models:
        _take_raw(model, columns, writer)
    rows = sample(session.bundle, fitted, sources)
    predictions = session.predict(rows.inputs)
    truth = _truth(session, rows) | _named(session.bundle, predictions)
    with files.writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".vflc-", dir=out.parent) as temporary:
            new = Path(temporary) / "export"
            for model in models:
                _write(model, writer, new, session.bundle)
            trials = [_trial(model, writer, new, rows, truth) for model in models]
            for model, found in zip(models, writer.run(trials), strict=True):
                _compare(model, found, truth, session.bundle.manifest.precision)
            if out.exists():
                out.rmdir()
            shutil.move(new, out)
    return Exported(out, {f"{model.name}{writer.suffix}": model for model in models})


def _trained(folder: RunFolder, format: str) -> Session:
    try:
        return trained(folder, "predict", format, None)
    except Failure as failure:
        if failure.code != "VFL0613" or format != "keras" or any((folder.path / "bundle").glob("*/keras")):
            raise
        raise Failure(
            "VFL0613",
            f"{folder.path} was compiled without the Keras backend",
            "name its spec, which is compiled again: `vflc export RUN --format keras --spec SPEC`",
        ) from None


def _format(format: str, session: Session) -> Format:
    if format == "keras":
        from vflc_runtime.export_keras import KerasFormat

        return KerasFormat(session)
    from vflc_runtime.export_onnx import OnnxFormat

    return OnnxFormat(session)


# --- what is in a model -----------------------------------------------------------------------------


def _take_raw(model: Model, columns: Mapping[str, Raw | None], writer: Format) -> None:
    for name in model.inputs:
        if name not in columns:
            continue
        raw = columns[name]
        if raw is None:
            model.not_expressed[name] = "the column is computed by an expression: give it encoded"
            continue
        raw = raw.without_text()
        try:
            left = writer.expressible(raw)
        except NotExpressed as why:
            model.not_expressed[name] = f"{why}: give it encoded"
            continue
        model.raw[name] = raw
        done = [left] if left is not None else []
        if raw.prepared:
            done.append(f"give the text {', '.join(TEXT[step] for step in raw.prepared)}")
        if done:
            model.not_expressed[name] = "; ".join(done)


# --- writing and comparing -------------------------------------------------------------------------


def _write(model: Model, writer: Format, folder: Path, bundle: Bundle) -> None:
    path = folder / f"{model.name}{writer.suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = _metadata(model, bundle)
    writer.write(model, path, metadata)
    files.write_json(path.with_suffix(".json"), metadata)


def _metadata(model: Model, bundle: Bundle) -> dict[str, Any]:
    plans = {part.place: bundle.plans[part.place] for part in model.parts}
    predicted = {v: name for plan in plans.values() for name, v in plan.reports["predict"].predictions}
    return {
        "model": bundle.manifest.model,
        "digest": bundle.manifest.digest,
        "places": list(plans),
        "precision": bundle.manifest.precision,
        "inputs": [_input(model, name, plans) for name in model.inputs],
        "outputs": [{"name": name, "prediction": predicted.get(name)} for name in model.outputs],
        "not_expressed": model.not_expressed,
        "missing": {"string": "the empty text", "float": "NaN", "int": "the least 64-bit number"},
    }


def _input(model: Model, name: str, plans: Mapping[str, Plan]) -> dict[str, Any]:
    if name in model.raw:
        return {"name": name, "takes": "raw", "type": model.raw[name].type}
    if any(name in plan.inputs for plan in plans.values()):
        return {"name": name, "takes": "encoded"}
    return {"name": name, "takes": "what another graph leaves"}


def _truth(session: Session, rows: Sample) -> dict[str, Array]:
    """Every value of the batch that the trained model has just computed."""
    found: dict[str, Array] = dict(rows.inputs)
    for engine in session.engines.values():
        for name in engine.values():
            found.setdefault(name, np.array(engine.get(name)))
    return found


def _named(bundle: Bundle, predictions: Mapping[str, Array]) -> dict[str, Array]:
    return {
        value: np.array(predictions[name])
        for plan in bundle.plans.values()
        for name, value in plan.reports["predict"].predictions
    }


def _trial(model: Model, writer: Format, folder: Path, rows: Sample, truth: Mapping[str, Array]) -> Trial:
    feeds = {
        name: writer.fed(raw, raw.as_prepared(rows.raw[name])) if raw is not None else truth[name]
        for name, raw in ((name, model.raw.get(name)) for name in model.inputs)
    }
    return Trial(folder / f"{model.name}{writer.suffix}", feeds, model.outputs)


def _compare(model: Model, found: Mapping[str, Array], truth: Mapping[str, Array], precision: str) -> None:
    relative, absolute = TOLERANCE[precision]
    for name in model.outputs:
        expected = truth[name]
        apart = np.abs(found[name].reshape(expected.shape) - expected)
        model.difference = max(model.difference, float(apart.max(initial=0.0)))
        if not bool((apart <= absolute + relative * np.abs(expected)).all()):
            raise Failure(
                "VFL0501",
                f"{model.name} gives another {name!r} than the trained model: {float(apart.max()):g} apart",
                "this is a defect in vflc: please report it with the spec",
            )


def report(exported: Exported) -> str:
    """What was written and what the format could not express, as JSON."""
    return json.dumps(
        {
            "folder": str(exported.folder),
            "files": {
                name: {"difference": model.difference, "not_expressed": model.not_expressed}
                for name, model in exported.models.items()
            },
        },
        indent=2,
        ensure_ascii=False,
    )
