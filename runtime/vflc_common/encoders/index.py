"""Whole numbers that are ids already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc_common.arrow import pa, pc
from vflc_common.encoder import (
    MOST_IDS,
    Encoder,
    EncoderParameter,
    EncoderSettings,
    Lookup,
    Python,
    lookup_default,
    whole,
)
from vflc_common.encoding import of_lookup

if TYPE_CHECKING:
    from vflc_common.backends import KerasBuilder, OnnxBuilder


def find(flat: pa.Array, settings: EncoderSettings) -> pa.Array:
    """From values [values] to their ids [values], int64; null where a value is no whole number below `n`."""
    if pa.types.is_string(flat.type):
        is_one = pc.match_substring_regex(flat, r"^[+-]?[0-9]{1,18}$")
        flat = pc.if_else(is_one, flat, pa.scalar(None, pa.string())).cast(pa.int64())
    inside = pc.and_(pc.greater_equal(flat, 0), pc.less(flat, settings["n"]))
    if pa.types.is_floating(flat.type):
        inside = pc.and_(inside, pc.equal(flat, pc.floor(flat)))
    return pc.if_else(inside, flat, pa.scalar(None, flat.type)).cast(pa.int64())


def index(value: Any, step: EncoderSettings) -> int | None:
    """A whole number from 0 to n - 1 as it is."""
    return int(value) if 0 <= value < step["n"] else None


def onnx(g: OnnxBuilder, value: str, settings: EncoderSettings) -> str:
    low = g("GreaterOrEqual", value, g.constant(0, "int64"))
    inside = g("And", low, g("Less", value, g.constant(settings["n"], "int64")))
    shifted = g("Add", value, g.constant(g.raw.id_of(settings, 0), "int64"))
    return g("Where", inside, shifted, g.constant(g.raw.id_of(settings, None), "int64"))


def keras(k: KerasBuilder, value: Any, settings: EncoderSettings) -> Any:
    ops = k.ops
    low = ops.greater_equal(value, k.constant(0, "int64"))
    inside = ops.logical_and(low, ops.less(value, k.constant(settings["n"], "int64")))
    shifted = ops.add(value, k.constant(k.raw.id_of(settings, 0), "int64"))
    return ops.where(inside, shifted, k.constant(k.raw.id_of(settings, None), "int64"))


def help(settings: EncoderSettings) -> str:
    n = settings["n"]
    return f"index({n}) takes 0 to {n - 1}; for values from 1, use vocab(1..{n})"


ENCODER = Encoder(
    name="index",
    doc="The whole number itself, which must lie in 0 to `n` - 1.",
    step="a whole number from 0 to `n` - 1 as it is",
    reads=("int", "ints"),
    gives="id",
    parameters=(EncoderParameter("n", whole(1, MOST_IDS), needed=True), lookup_default),
    python=Python(index, "lookup"),
    encode=of_lookup(find, lambda settings, value: int(value)),
    lookup=Lookup(
        values=lambda settings: range(settings["n"]),
        called=lambda settings: "index",
        help=help,
        plain=True,
    ),
    onnx=onnx,
    keras=keras,
    misfit="declare the column as int, or use hash or vocab",
)
