"""Numbers by their size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vflc_common.encoder import Encoder, EncoderSettings, Python
from vflc_common.encoding import of_numbers
from vflc_common.numpy import np

if TYPE_CHECKING:
    from vflc_common.backends import GraphBuilder, KerasBuilder, OnnxBuilder


def log1p(value: float, step: EncoderSettings) -> float:
    return math.copysign(math.log1p(abs(float(value))), float(value))


def undo(b: GraphBuilder, value: Any, parameters: Mapping[str, Any]) -> Any:
    size = b.op("sub", b.op("exp", b.op("abs", value)), b.constant(1.0))
    return b.op("mul", b.op("sign", value), size)


def onnx(g: OnnxBuilder, value: str, settings: EncoderSettings) -> str:
    grown = g("Add", g("Abs", value), g.constant(1.0))
    return g("Mul", g("Sign", value), g("Log", grown))


def keras(k: KerasBuilder, value: Any, settings: EncoderSettings) -> Any:
    return k.ops.multiply(k.ops.sign(value), k.ops.log1p(k.ops.absolute(value)))


ENCODER = Encoder(
    name="log1p",
    doc="sign(x) · log(1 + abs(x)).",
    step="the sign of x times log(1 + |x|)",
    reads=("int", "float"),
    gives="float",
    python=Python(log1p),
    encode=of_numbers(lambda x, s: np.sign(x) * np.log1p(np.abs(x))),
    undo=undo,
    onnx=onnx,
    keras=keras,
    known_as={"log": "write log1p, or compute it: feature x = log(Income)"},
)
