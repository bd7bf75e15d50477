"""Exports a trained run: each party's inference model, or all of them merged into one.

Models do as much of the columns' encoders as their format can express; what comes before is described
beside each, and `encode.py` does it. Every file is loaded again and compared with the trained model on
raw sample rows, through that encoder, before the export counts as done.
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
from vflc_common.arrays import Array
from vflc_common.encoding import NotExpressed
from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime import files
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.missing import refuse_missing
from vflc_runtime.data.source import TableSource
from vflc_runtime.errors import Failure
from vflc_runtime.export import standalone
from vflc_runtime.export.description import describe, encoded
from vflc_runtime.export.model import ExportedModel, FedFile, Format, by_place, merged_model
from vflc_runtime.export.raw import RawFeature, RowSample, raw_columns, sample
from vflc_runtime.run.session import Session
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.trained import trained_session

TOLERANCE = {"float32": (1e-4, 1e-5), "float64": (1e-9, 1e-9)}
"""Relative and absolute difference that rounding explains."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported: a folder, each file's path inside it, and in words which epoch's model it is."""

    folder: Path
    models: dict[str, ExportedModel]
    which: str

    def __repr__(self) -> str:
        return f"<{', '.join(self.models)} in {self.folder}: {self.which}>"


def export(
    run: Path | str,
    out: Path | str,
    format: str = "onnx",
    merged: bool = False,
    sources: Mapping[str, TableSource] | None = None,
) -> Exported:
    """Writes the inference models of the run in `run` to the folder `out`.

    Args:
        run: the run's folder.
        out: a folder that does not exist yet, or an empty one.
        format: `onnx` or `keras`.
        merged: one model of all parties instead of one a party.
        sources: of each party its source, to compare on; generated rows where None.

    Raises:
        Failure: VFL0629 for a run without a model, VFL0613 where it was compiled without the
            format, VFL0612 where `out` cannot be written, VFL0501 where an exported model differs
            from the trained one, VFL0503 where TensorFlow is missing.
    """
    out, folder = Path(out), RunFolder(Path(run))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Failure("VFL0612", f"{out} exists and is not empty", "choose another folder with -o")
    if merged and format == "keras":
        help = "export ONNX files, or without --merged: each party's model stands by itself"
        refuse_missing(folder.bundle(DEFAULT_ENGINE).manifest, "one Keras model of all parties", help)
    session = _trained(folder, format)
    _check_bare(session)
    if format == "keras":
        _check_own(session)
    fitted = folder.fitted(session.bundle)
    writer = _format(format, session, fitted)
    models = [merged_model(session.bundle)] if merged else by_place(session.bundle)
    columns = raw_columns(session.bundle, fitted)
    for model in models:
        _take_raw(model, columns, writer)
    script = standalone.source({step["name"] for raw in columns.values() for step in raw.encoders})
    rows = _sample(session.bundle, fitted, sources)
    predictions = session.predict(rows.inputs)
    truth = _truth(session, rows, predictions)
    with files.writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".vflc-", dir=out.parent) as temporary:
            new = Path(temporary) / "export"
            trials = [
                _written(model, writer, new, session.bundle, rows, truth[_at(model)]) for model in models
            ]
            files.write_bytes(new / standalone.NAME, script.encode())
            for model, found in zip(models, writer.run(trials), strict=True):
                _compare(model, found, truth[_at(model)], session.bundle.manifest.precision)
            if out.exists():
                out.rmdir()
            shutil.move(new, out)
    return Exported(out, {f"{model.name}{writer.suffix}": model for model in models}, folder.which())


def _sample(
    bundle: Bundle, fitted: Mapping[str, Any], sources: Mapping[str, TableSource] | None
) -> RowSample:
    try:
        return sample(bundle, fitted, sources)
    except Failure as failure:
        if sources is not None:
            raise
        help = "name a table of each party to compare on: --data PARTY=TABLE, in Python `data=`"
        message = f"no generated rows fit this spec: {failure.message}"
        raise Failure(failure.code, message, help, failure.where) from None


def _trained(folder: RunFolder, format: str) -> Session:
    try:
        return trained_session(folder, "predict", format, None)
    except Failure as failure:
        if failure.code != "VFL0613" or format != "keras" or any((folder.path / "bundle").glob("*/keras")):
            raise
        raise Failure(
            "VFL0613",
            f"{folder.path} was compiled without the Keras backend",
            "name its spec, to compile it again: --spec SPEC; in Python, compile it with "
            '`backends=("onnx", "keras")`',
        ) from None


def _check_bare(session: Session) -> None:
    """VFL0683 where predictions are made of noisy values: an exported model has nobody who draws."""
    for place, plan in session.bundle.plans.items():
        for guard in plan.guards.values():
            if "predict" in guard.programs and guard.draws:
                raise Failure(
                    "VFL0683",
                    f"what {place} sends in prediction carries noise, which an exported model cannot draw",
                    "predict with `vflc predict` or `vflc party`, or limit the noise: "
                    f"{guard.mechanism}(…) in training",
                    guard.where,
                )


def _check_own(session: Session) -> None:
    """VFL0509 where a file of another tool is a part of the model: Keras has no layer that runs it."""
    for place, plan in session.bundle.plans.items():
        for name, graph in plan.graphs.items():
            if graph.outside is not None:
                value = name.removeprefix("model.")
                raise Failure(
                    "VFL0509",
                    f"{place} runs {graph.file} for {value!r}, which no Keras file can hold",
                    'export ONNX files: --format onnx, in Python `format="onnx"`',
                )


def _format(format: str, session: Session, fitted: Mapping[str, Any]) -> Format:
    if format == "keras":
        from vflc_runtime.export.keras import KerasFormat

        return KerasFormat(session, fitted)
    from vflc_runtime.export.onnx import OnnxFormat

    return OnnxFormat(session, fitted)


# --- what is in a model -----------------------------------------------------------------------------


def _take_raw(model: ExportedModel, columns: Mapping[str, RawFeature], writer: Format) -> None:
    """Leaves to the model as much of each column's encoders as its format can do."""
    for name in model.inputs:
        if name in columns:
            model.raw[name], why = _cut(columns[name], writer)
            note = _note(model.raw[name], why)
            if note:
                model.not_expressed[name] = note


def _cut(raw: RawFeature, writer: Format) -> tuple[RawFeature, str]:
    reasons = []
    for cut in raw.cuts():
        try:
            cut.check()
            writer.check(cut)
        except NotExpressed as why:
            reasons.append(str(why))
        else:
            return cut, ""
    return raw.all_before(), reasons[-1]


def _note(raw: RawFeature, why: str) -> str:
    """What the caller does, for the summary."""
    done = ["computed"] if raw.computed is not None else []
    done += [encoder["name"] for encoder in raw.before]
    if not done:
        return ""
    return f"{standalone.NAME} does {' -> '.join(done)}" + (f" ({why})" if why else "")


# --- writing and comparing -------------------------------------------------------------------------


def _written(
    model: ExportedModel,
    writer: Format,
    folder: Path,
    bundle: Bundle,
    rows: RowSample,
    truth: Mapping[str, Array],
) -> FedFile:
    """Writes a model and what describes it; what it is tried with comes through the encoder beside it."""
    path = folder / f"{model.name}{writer.suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    description = describe(model, bundle, writer.signatures(model))
    writer.write(model, path, description)
    files.write_json(path.with_suffix(".json"), description)
    feeds = {**{name: truth[name] for name in model.inputs}, **encoded(description, rows.rows)}
    return FedFile(path, feeds, model.outputs)


def _at(model: ExportedModel) -> str | None:
    """The place of a model; None for all of them."""
    return None if model.whole else model.parts[0].place


def _truth(
    session: Session, rows: RowSample, predictions: Mapping[str, Array]
) -> dict[str | None, dict[str, Array]]:
    """By place the values that the trained model has just computed of the batch; of all places under None.

    A value that crosses is not the same at both ends where a party lacks rows.
    """
    found: dict[str | None, dict[str, Array]] = {}
    for place, engine in session.engines.items():
        values = {name: np.array(engine.get(name)) for name in engine.values()}
        named = session.bundle.plans[place].reports["predict"].predictions
        values |= {value: np.array(predictions[name]) for name, value in named}
        found[place] = {**rows.inputs, **values}
    everywhere = [dict(rows.marks), *reversed(found.values())]
    found[None] = {name: value for values in everywhere for name, value in values.items()}
    return found


def _compare(
    model: ExportedModel, found: Mapping[str, Array], truth: Mapping[str, Array], precision: str
) -> None:
    relative, absolute = TOLERANCE[precision]
    for name in model.outputs:
        expected = truth[name]
        apart = np.abs(found[name].reshape(expected.shape) - expected)
        model.difference = max(model.difference, float(apart.max(initial=0.0)))
        if not bool((apart <= absolute + relative * np.abs(expected)).all()):
            raise Failure(
                "VFL0501",
                f"{model.name} gives a different {name!r} than the trained model: they differ by "
                f"{float(apart.max()):g}",
                "this is a bug in vflc: please report it with the spec",
            )


def report(exported: Exported) -> str:
    """What was written and what the format could not express, as JSON."""
    return json.dumps(
        {
            "folder": str(exported.folder),
            "model": exported.which,
            "files": {
                name: {"difference": model.difference, "not_expressed": model.not_expressed}
                for name, model in exported.models.items()
            },
        },
        indent=2,
        ensure_ascii=False,
    )
