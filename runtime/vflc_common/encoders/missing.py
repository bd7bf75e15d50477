"""Something for missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc_common.arrow import pa
from vflc_common.encoder import VALUE, Encoder, EncoderParameter, EncoderSettings, Python
from vflc_common.text import text

if TYPE_CHECKING:
    from vflc_common.backends import KerasBuilder, OnnxBuilder
    from vflc_common.values import Values


def encode(values: Values, settings: EncoderSettings) -> Values:
    value, flat = settings["value"], values.flat
    if pa.types.is_string(flat.type):
        return values.with_flat(flat.fill_null(text(value)))
    if pa.types.is_integer(flat.type) and isinstance(value, float) and not value.is_integer():
        flat = flat.cast(pa.float64(), safe=False)
    return values.with_flat(flat.fill_null(pa.scalar(value).cast(flat.type)))


def missing(value: Any, step: EncoderSettings) -> Any:
    return step["value"] if value is None else value


def wrong(settings: EncoderSettings, kind: str) -> str | None:
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
    "`missing(0)` is the mean.",
    step="a missing value becomes `value`",
    reads=("string", "int", "float"),
    parameters=(EncoderParameter("value", VALUE, needed=True),),
    wrong=wrong,
    python=Python(missing, "missing"),
    encode=encode,
    fills=lambda settings: settings["value"],
    keeps_units=True,
    may_empty=False,
    onnx=onnx,
    keras=keras,
    known_as={"fillna impute default": "write missing(0)"},
)
