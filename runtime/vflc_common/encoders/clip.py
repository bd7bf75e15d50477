"""Numbers within a range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc_common.encoder import NUMBER, Encoder, EncoderParameter, EncoderSettings, Python
from vflc_common.encoding import of_numbers
from vflc_common.numpy import np

if TYPE_CHECKING:
    from vflc_common.backends import KerasBuilder, OnnxBuilder


def wrong(settings: EncoderSettings, kind: str) -> str | None:
    """What is wrong with a range."""
    low, high = settings["low"], settings["high"]
    return "`low` must be below `high`" if low is not None and high is not None and low >= high else None


def clip(value: float, step: EncoderSettings) -> float:
    return float(min(max(float(value), step["low"]), step["high"]))


def onnx(g: OnnxBuilder, value: str, settings: EncoderSettings) -> str:
    return g("Clip", value, g.constant(settings["low"]), g.constant(settings["high"]))


def keras(k: KerasBuilder, value: Any, settings: EncoderSettings) -> Any:
    return k.ops.clip(value, float(settings["low"]), float(settings["high"]))


ENCODER = Encoder(
    name="clip",
    doc="x, or the nearest of `low` and `high`.",
    step="not below `low` and not above `high`",
    reads=("int", "float"),
    gives="float",
    parameters=(EncoderParameter("low", NUMBER, needed=True), EncoderParameter("high", NUMBER, needed=True)),
    wrong=wrong,
    python=Python(clip),
    encode=of_numbers(lambda x, s: np.clip(x, s["low"], s["high"])),
    keeps_units=True,
    onnx=onnx,
    keras=keras,
)
NOTHING: EncoderSettings = {"name": ENCODER.name, "low": 0.0, "high": 0.0}
"""Makes every number 0. What never varied in the training rows tells nothing, whatever new rows hold."""
