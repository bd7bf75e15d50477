"""Numbers by their mean and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vflc_common.encoder import NUMBER, Encoder, EncoderParameter, EncoderSettings, Fit, Python
from vflc_common.encoders.clip import NOTHING
from vflc_common.encoding import of_numbers
from vflc_common.moments import Moments
from vflc_common.numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vflc_common.backends import GraphBuilder, KerasBuilder, OnnxBuilder

SPREAD = 1e3
"""The largest mean, in deviations, with which Keras's `Normalization` in float32 is exact enough."""


def wrong(settings: EncoderSettings, kind: str) -> str | None:
    return "`std` must be above 0" if settings["std"] is not None and settings["std"] <= 0 else None


def of_block(x: NDArray[np.float64], settings: EncoderSettings) -> NDArray[np.float64]:
    """Numbers [n] with `mean` at 0 and a deviation of 1."""
    return (x - float(settings["mean"])) / float(settings["std"])


def standardize(value: float, step: EncoderSettings) -> float:
    return float((float(value) - step["mean"]) / step["std"])


def fitted(moments: Moments, settings: EncoderSettings) -> dict[str, float]:
    return {"mean": moments.mean, "std": moments.std if moments.varies else 0.0}


def undo(b: GraphBuilder, value: Any, parameters: Mapping[str, Any]) -> Any:
    return b.op("add", b.op("mul", value, parameters["std"]), parameters["mean"])


def onnx(g: OnnxBuilder, value: str, settings: EncoderSettings) -> str:
    less = g("Sub", value, g.constant(settings["mean"]))
    return g("Div", less, g.constant(settings["std"]))


def keras(k: KerasBuilder, value: Any, settings: EncoderSettings) -> Any:
    mean, std = settings["mean"], settings["std"]
    if k.precision == "float32" and abs(mean) < SPREAD * std and std > 1e-6:
        return k.layers.Normalization(
            axis=None, mean=mean, variance=std * std, name=k.name("normalization"), dtype="float32"
        )(value)
    less, over = k.constant(mean, "float64"), k.constant(std, "float64")
    return k.ops.divide(k.ops.subtract(k.ops.cast(value, "float64"), less), over)


ENCODER = Encoder(
    name="standardize",
    doc="(x - `mean`) / `std`. Parameters that are not given are fitted to the party's "
    "aligned training rows.",
    step="(x - mean) / std",
    reads=("int", "float"),
    gives="float",
    parameters=(EncoderParameter("mean", NUMBER), EncoderParameter("std", NUMBER)),
    wrong=wrong,
    python=Python(standardize),
    encode=of_numbers(of_block),
    fit=Fit(
        start=Moments,
        result=fitted,
        settled=lambda settings: NOTHING if settings["std"] == 0 else settings,
        neutral={"mean": 0.0, "std": 1.0},
    ),
    undo=undo,
    onnx=onnx,
    keras=keras,
    known_as={"normalize normalise zscore z_score standardscaler scaler": "write standardize"},
)
