"""Numbers by their range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vflc_common.encoder import NUMBER, Encoder, EncoderParameter, EncoderSettings, Fit, Python
from vflc_common.encoders.clip import NOTHING, wrong
from vflc_common.encoding import of_numbers
from vflc_common.moments import Moments
from vflc_common.numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vflc_common.backends import GraphBuilder, KerasBuilder, OnnxBuilder


def of_block(x: NDArray[np.float64], settings: EncoderSettings) -> NDArray[np.float64]:
    """Numbers [n] with `low` at 0 and `high` at 1."""
    low, high = float(settings["low"]), float(settings["high"])
    return (x - low) / (high - low)


def minmax(value: float, step: EncoderSettings) -> float:
    return float((float(value) - step["low"]) / (step["high"] - step["low"]))


def undo(b: GraphBuilder, value: Any, parameters: Mapping[str, Any]) -> Any:
    width = b.op("sub", parameters["high"], parameters["low"])
    return b.op("add", b.op("mul", value, width), parameters["low"])


def onnx(g: OnnxBuilder, value: str, settings: EncoderSettings) -> str:
    low, high = settings["low"], settings["high"]
    return g("Div", g("Sub", value, g.constant(low)), g.constant(high - low))


def keras(k: KerasBuilder, value: Any, settings: EncoderSettings) -> Any:
    low, high = settings["low"], settings["high"]
    less, over = k.constant(low, "float64"), k.constant(high - low, "float64")
    return k.ops.divide(k.ops.subtract(k.ops.cast(value, "float64"), less), over)


ENCODER = Encoder(
    name="minmax",
    doc="(x - `low`) / (`high` - `low`). Parameters that are not given are fitted to the "
    "party's aligned training rows.",
    step="(x - low) / (high - low)",
    reads=("int", "float"),
    gives="float",
    parameters=(EncoderParameter("low", NUMBER), EncoderParameter("high", NUMBER)),
    wrong=wrong,
    python=Python(minmax),
    encode=of_numbers(of_block),
    fit=Fit(
        start=Moments,
        result=lambda moments, settings: {
            "low": moments.low,
            "high": moments.high if moments.varies else moments.low,
        },
        settled=lambda settings: NOTHING if settings["low"] == settings["high"] else settings,
        neutral={"low": 0.0, "high": 1.0},
    ),
    undo=undo,
    onnx=onnx,
    keras=keras,
)
