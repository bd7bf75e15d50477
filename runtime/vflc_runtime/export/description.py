"""What stands beside an exported model: its inputs, step by step, and its outputs, as JSON and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.encoder import width_of
from vflc_common.encoders import ENCODERS
from vflc_common.encoding import MISSING

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.errors import Failure
from vflc_runtime.export import encode as export_encode
from vflc_runtime.export.marks import mark
from vflc_runtime.export.model import ExportedModel, Signature
from vflc_runtime.export.raw import RawFeature
from vflc_runtime.export.standalone import steps

Description = dict[str, Any]
VERSION = 1
MOST = "most"
"""The size of an axis that is as long as the longest row of the batch."""


def describe(model: ExportedModel, bundle: Bundle, types: Mapping[str, Signature]) -> Description:
    """A model as JSON; docs/exports.md says what each entry means.

    Args:
        model: its inputs' columns and encoders, and its outputs, are described.
        bundle: of the run.
        types: of the inputs that are no columns, and of the outputs, type and shape.
    """
    plans = [bundle.plans[place] for place in dict.fromkeys(part.place for part in model.parts)]
    predicted = {v: name for plan in plans for name, v in plan.reports["predict"].predictions}
    present = {i.id: {"present": i.party} for plan in plans for i in plan.inputs.values() if i.present}
    present |= {mark(party): {"present": party} for party in model.lacking}
    classes = {name: each for plan in plans for name, each in plan.reports["predict"].classes.items()}
    return {
        "version": VERSION,
        "model": bundle.manifest.model,
        "digest": bundle.manifest.digest,
        "places": [part.place for part in model.parts],
        "precision": bundle.manifest.precision,
        "inputs": [
            _column(model.raw[name], bundle.manifest.precision)
            if name in model.raw
            else _value(name, types[name]) | present.get(name, {})
            for name in model.inputs
        ],
        "outputs": [
            {
                **_value(name, types[name]),
                "prediction": predicted.get(name),
                "classes": list(classes.get(predicted.get(name, ""), ())) or None,
            }
            for name in model.outputs
        ],
    }


def _value(name: str, signature: Signature) -> Description:
    return {"name": name, "type": signature[0], "shape": list(signature[1])}


def _column(raw: RawFeature, precision: str) -> Description:
    type, shape = signature(raw, precision)
    return {
        "name": raw.id,
        "type": type,
        "shape": list(shape),
        "party": raw.party,
        "column": raw.column,
        "declared": raw.type,
        "computed": raw.computed,
        "reads": raw.reads,
        "before": [_step(encoder) for encoder in raw.before],
        "inside": [_step(encoder) for encoder in raw.encoders],
        "rows": raw.rows,
        "padding": {"string": "", "int32": -1}.get(type),
        "missing": None if raw.encoded else {"string": "", "int": MISSING, "float": "NaN"}[raw.type],
    }


def _step(encoder: Mapping[str, Any]) -> Description:
    return {name: value for name, value in encoder.items() if value is not None}


def signature(raw: RawFeature, precision: str) -> Signature:
    """The type and shape in which a model takes a column."""
    if raw.encoded:
        if raw.shape in ("number", "vector"):
            return precision, ("batch", width_of(raw.type) if raw.shape == "vector" else 1)
        return "int32", ("batch", raw.length or MOST) if raw.many else ("batch",)
    type = {"string": "string", "int": "int64", "float": "float64"}[raw.type]
    return type, ("batch", MOST) if raw.pieces else ("batch",)


def encoded(description: Description, rows: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """Raw rows as the model takes them, [rows, …] by input, by the encoder that is given to its users.

    Raises:
        Failure: VFL0501 where it refuses a row that the runtime took, VFL0504 where encoders of other
            packages may have.
    """
    names = _used(description)
    try:
        inputs = export_encode.encode(description, rows, steps(names))
    except export_encode.RefusedValue as refused:
        message = f"the exported encoder refuses a row that the trained model accepts: {refused}"
        others = [plugin for name in names if (plugin := ENCODERS.plugin(name)) is not None]
        if others:
            packages = ", ".join(dict.fromkeys(f"{each.package} {each.version}" for each in others))
            raise Failure("VFL0504", message, f"report it to {packages}, whose encoders it uses") from None
        raise Failure("VFL0501", message, "this is a bug in vflc: please report it with the spec") from None
    types = {given["name"]: given["type"] for given in description["inputs"]}
    return {
        name: np.array(values, np.str_ if types[name] == "string" else np.dtype(types[name]))
        for name, values in inputs.items()
    }


def _used(description: Description) -> list[str]:
    """The encoders that stand in a description."""
    given = [each for each in description["inputs"] if "column" in each]
    steps = [step for each in given for step in (*each["before"], *each["inside"])]
    return sorted({part["name"] for step in steps for part in (step, *step.get("components", ()))})


# --- as text ----------------------------------------------------------------------------------------


def text(description: Description) -> str:
    """The description for a reader, which goes into the file."""
    places = ", ".join(dict.fromkeys(description["places"]))
    lines = [
        f"The trained model of `{description['model']}` for prediction: the part of {places}.",
        f"Digest of the program: {description['digest']}. Written by vflc export.",
        "",
        "Inputs:",
        *(f"- {line}" for line in map(input_line, description["inputs"])),
        "",
        "Outputs:",
        *(f"- {line}" for line in map(output_line, description["outputs"])),
    ]
    used = [f"- {name}: {ENCODERS[name].step}" for name in _used(description)]
    if used:
        lines += ["", "Encoders:", *used]
    return "\n".join(lines)


def input_line(given: Description) -> str:
    """An input in a line."""
    if "present" in given:
        return f"{_typed(given)}: {_PRESENT[given['type'] == 'bool']} that {given['present']} has"
    if "column" not in given:
        return f"{_typed(given)}: what another model of this export gives"
    what = "an expression over" if given["computed"] else "the column"
    names = ", ".join(given["reads"]) if given["computed"] else given["column"]
    said = f"{_typed(given)}: {what} {names} of {given['party']}"
    if given["before"]:
        said += f", after {_steps(given['before'])}"
    if given["inside"]:
        said += f"; the model does {_steps(given['inside'])}"
    return said


def output_line(given: Description) -> str:
    """An output in a line."""
    if given["prediction"] is None:
        return f"{_typed(given)}: an input of another model of this export"
    if given["classes"]:
        return f"{_typed(given)}: the prediction {given['prediction']}, {_shares(given)}"
    return f"{_typed(given)}: the prediction {given['prediction']}, in the units of the table"


_PRESENT = ("1, and not 0, in rows", "true in rows")


def _shares(given: Description) -> str:
    named = [str(each) for each in given["classes"]]
    if given["shape"][-1] == len(named) - 1 == 1:
        return f"the share of the class {named[1]}"
    return f"the shares of the classes {', '.join(named)}"


def _typed(given: Description) -> str:
    return f"{given['name']}, {given['type']} [{', '.join(map(str, given['shape']))}]"


def _steps(steps: Sequence[Description]) -> str:
    return " -> ".join(step["name"] for step in steps)
