"""Texts that hold several values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc_common.arrow import pc
from vflc_common.encoder import TEXT, Encoder, EncoderParameter, EncoderSettings, Python, Suits
from vflc_common.encoding import without_empty
from vflc_common.values import Values

if TYPE_CHECKING:
    from vflc_common.backends import OnnxBuilder


def encode(values: Values, settings: EncoderSettings) -> Values:
    """Pieces between separators; empty pieces are none."""
    return without_empty(pc.split_pattern(values.flat.fill_null(""), pattern=settings["separator"]))


def split(value: str | None, step: EncoderSettings) -> list[str]:
    return [piece for piece in (value or "").split(step["separator"]) if piece]


def onnx(g: OnnxBuilder, value: str, settings: EncoderSettings) -> str:
    return g("StringSplit", value, delimiter=settings["separator"], outputs=2)


ENCODER = Encoder(
    name="split",
    doc="Splits text at `separator` into several values per row; empty pieces are dropped.",
    step="the pieces between separators, from left to right; empty pieces are none, and missing text has "
    "none. Later steps are done for each piece",
    reads=("string",),
    gives="strings",
    parameters=(EncoderParameter("separator", TEXT, needed=True),),
    python=Python(split, "missing"),
    encode=encode,
    suits=lambda settings: Suits(separator=settings["separator"]),
    onnx=onnx,
)
