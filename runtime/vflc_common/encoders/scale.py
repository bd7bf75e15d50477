"""Numbers times a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vflc_common.encoder import NUMBER, Encoder, EncoderParameter, EncoderSettings, Python
from vflc_common.encoding import of_numbers

if TYPE_CHECKING:
    from vflc_common.backends import GraphBuilder, KerasBuilder, OnnxBuilder


def scale(value: float, step: EncoderSettings) -> float:
    return float(float(value) * step["factor"])


def undo(b: GraphBuilder, value: Any, parameters: Mapping[str, Any]) -> Any:
    return b.op("div", value, parameters["factor"])


def onnx(g: OnnxBuilder, value: str, settings: EncoderSettings) -> str:
    return g("Mul", value, g.constant(settings["factor"]))


def keras(k: KerasBuilder, value: Any, settings: EncoderSettings) -> Any:
    return k.ops.multiply(value, k.constant(settings["factor"], str(value.dtype)))


ENCODER = Encoder(
    name="scale",
    doc="`factor` · x.",
    step="x times `factor`",
    reads=("int", "float"),
    gives="float",
    parameters=(EncoderParameter("factor", NUMBER, needed=True),),
    python=Python(scale),
    encode=of_numbers(lambda x, s: x * s["factor"]),
    undo=undo,
    onnx=onnx,
    keras=keras,
)
