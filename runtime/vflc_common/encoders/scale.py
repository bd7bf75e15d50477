"""Numbers times a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vflc_common.encoder import NUMBER, Encoder, Parameter, Python, Settings
from vflc_common.encoding import of_numbers

if TYPE_CHECKING:
    from vflc_common.backends import Keras, Onnx, Ops


def scale(value: float, step: Settings) -> float:
    return float(float(value) * step["factor"])


def undo(b: Ops, value: Any, parameters: Mapping[str, Any]) -> Any:
    return b.op("div", value, parameters["factor"])


def onnx(g: Onnx, value: str, settings: Settings) -> str:
    return g("Mul", value, g.constant(settings["factor"]))


def keras(k: Keras, value: Any, settings: Settings) -> Any:
    return k.ops.multiply(value, k.constant(settings["factor"], str(value.dtype)))


ENCODER = Encoder(
    name="scale",
    doc="`factor` · x.",
    step="x times `factor`",
    reads=("int", "float"),
    gives="float",
    parameters=(Parameter("factor", NUMBER, needed=True),),
    python=Python(scale),
    encode=of_numbers(lambda x, s: x * s["factor"]),
    undo=undo,
    onnx=onnx,
    keras=keras,
)
