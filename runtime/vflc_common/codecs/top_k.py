"""The largest numbers of a row: their positions, then they themselves; all others are 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc_common.codec import Codec, RowFormat, Unreadable
from vflc_common.numpy import np

if TYPE_CHECKING:
    from vflc_common.arrays import Array

SHORT = 2**16
"""Numbers a row whose positions have two bytes; those of more have four."""


def _position(form: RowFormat) -> str:
    return "<u2" if form.width <= SHORT else "<u4"


def size(form: RowFormat, by_range: bool) -> int:
    """Bytes of a row."""
    return form.settings["k"] * (form.size + (2 if form.width <= SHORT else 4))


def pack(form: RowFormat, rows: Array, between: Array | None) -> Array:
    """Rows of which `k` numbers are not 0 at most, [rows, width], as bytes."""
    order = np.argsort(rows == 0, axis=1, kind="stable")[:, : form.settings["k"]]
    values = np.take_along_axis(rows, order, axis=1)
    parts = (order.astype(_position(form)), np.ascontiguousarray(values))
    return np.concatenate([part.view(np.uint8).reshape(len(rows), -1) for part in parts], axis=1)


def unpack(form: RowFormat, packed: Array, between: Array | None, dtype: Any) -> Array:
    """The rows again, [rows, width]."""
    kind = np.dtype(_position(form))
    split = form.settings["k"] * kind.itemsize
    places = np.ascontiguousarray(packed[:, :split]).view(kind).astype(np.int64)
    if (places >= form.width).any():
        raise Unreadable(f"position {int(places.max())} of {form.width}")
    made = np.zeros((len(packed), form.width), dtype)
    np.put_along_axis(made, places, np.ascontiguousarray(packed[:, split:]).view(dtype), axis=1)
    return made


CODEC = Codec("top_k", {"k": (1, 2**24)}, size, pack, unpack)
