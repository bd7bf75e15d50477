"""Something for missing values."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from vflc_common.arrow import pa, pc
from vflc_common.encoder import (
    VALUE,
    ArgumentType,
    Encoder,
    EncoderParameter,
    EncoderSettings,
    Fit,
    Python,
)
from vflc_common.numpy import np
from vflc_common.text import text

if TYPE_CHECKING:
    from vflc_common.backends import KerasBuilder, OnnxBuilder
    from vflc_common.values import Values


WAYS = ("median", "mean", "mode")
"""How a value is found in the training rows."""


def encode(values: Values, settings: EncoderSettings) -> Values:
    value, flat = settings["value"], values.flat
    if pa.types.is_string(flat.type):
        return values.with_flat(flat.fill_null(text(value)))
    if pa.types.is_integer(flat.type) and isinstance(value, float) and not value.is_integer():
        flat = flat.cast(pa.float64(), safe=False)
    return values.with_flat(flat.fill_null(pa.scalar(value).cast(flat.type)))


def missing(value: Any, step: EncoderSettings) -> Any:
    return step["value"] if value is None else value


class Gathered:
    """All values of a column, so that the order in which rows come makes no difference."""

    def __init__(self) -> None:
        self.count, self._texts, self._parts = 0, Counter[str](), list[Any]()
        self._whole = False

    def add(self, values: pa.Array) -> None:
        """Takes in some more values [n], none of which is missing."""
        self.count += len(values)
        if pa.types.is_string(values.type):
            found = pc.value_counts(values)
            self._texts.update(dict(zip(*(part.to_pylist() for part in found.flatten()), strict=True)))
        else:
            self._parts.append(values.to_numpy(zero_copy_only=False))
            self._whole = pa.types.is_integer(values.type)

    def typical(self, by: str) -> str | int | float:
        """Their mean, median or most frequent value, of which the least; of whole numbers a whole one."""
        if self._texts:
            return min(self._texts, key=lambda text: (-self._texts[text], text))
        numbers = np.concatenate(self._parts)
        if by == "mode":
            different, times = np.unique(numbers, return_counts=True)
            found: int | float = different[times.argmax()].item()
            return found
        typical = float(np.median(numbers)) if by == "median" else math.fsum(numbers) / len(numbers)
        return round(typical) if self._whole else typical


def wrong(settings: EncoderSettings, kind: str) -> str | None:
    if (settings["value"] is None) == (settings.get("by") is None):
        return "`missing` needs a value, as missing(0), or one of median, mean and mode"
    if settings["value"] is None:
        fits = kind != "string" or settings["by"] == "mode"
        return None if fits else f"text has no {settings['by']}; use missing(mode)"
    if isinstance(settings["value"], str) == (kind == "string"):
        return None
    return f"the value for a missing {kind} must be {'text' if kind == 'string' else 'a number'}"


def onnx(g: OnnxBuilder, value: str, settings: EncoderSettings) -> str:
    return g("Where", g("IsNaN", value), g.constant(settings["value"]), value)


def keras(k: KerasBuilder, value: Any, settings: EncoderSettings) -> Any:
    instead = k.constant(settings["value"], str(value.dtype))
    return k.ops.where(k.ops.isnan(value), instead, value)


def filling(value: Any) -> EncoderSettings:
    """The link that puts `value` where nothing is."""
    return {"name": ENCODER.name, "value": value}


ENCODER = Encoder(
    name="missing",
    doc="Replaces missing values by `value`: before `standardize` by that number; after it, "
    "`missing(0)` is the mean. `missing(median)`, `missing(mean)` and `missing(mode)` take it from the "
    "party's aligned training rows; text has only a `mode`, its most frequent value. Of whole numbers, "
    "median and mean are rounded.",
    step="a missing value becomes `value`",
    reads=("string", "int", "float"),
    parameters=(
        EncoderParameter("value", VALUE),
        EncoderParameter("by", ArgumentType(f"one of {', '.join(WAYS)}", lambda value: value in WAYS)),
    ),
    words={way: ("by", way) for way in WAYS},
    wrong=wrong,
    python=Python(missing, "missing"),
    encode=encode,
    fills=lambda settings: settings["value"],
    fit=Fit(
        start=Gathered,
        result=lambda gathered, settings: {"value": gathered.typical(settings["by"])},
        settled=lambda settings: filling(settings["value"]),
        neutral={"value": None},
        of="values",
    ),
    keeps_units=True,
    may_empty=False,
    onnx=onnx,
    keras=keras,
    misfit="of a date or a timestamp, fill a part of it: -> month -> missing(0)",
    known_as={"fillna impute default": "write missing(0)"},
)
