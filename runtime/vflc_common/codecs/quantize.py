"""Numbers on a grid, as the codes of its points.

The grid of a row goes from minus to plus its largest magnitude, which stands before its codes; that of a
batch from its least number to its largest, which cross beside the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc_common.codec import Codec, RowFormat, Unreadable
from vflc_common.numpy import np

if TYPE_CHECKING:
    from vflc_common.arrays import Array


def size(form: RowFormat, by_range: bool) -> int:
    """Bytes of a row."""
    return -(-form.width * form.settings["bits"] // 8) + (0 if by_range else form.size)


def pack(form: RowFormat, rows: Array, between: Array | None) -> Array:
    """Rows of points of the grid, [rows, width], as bytes."""
    return _pack_row(form, rows) if between is None else _pack_batch(form, rows, between)


def unpack(form: RowFormat, packed: Array, between: Array | None, dtype: Any) -> Array:
    """The rows again, [rows, width]."""
    return _unpack_row(form, packed, dtype) if between is None else _unpack_batch(form, packed, between)


def levels(bits: int, by_range: bool) -> int:
    """Steps of the grid: from 0 to the largest magnitude, or from the least number to the largest."""
    return int(2**bits if by_range else 2 ** (bits - 1)) - 1


def _coded(form: RowFormat, codes: Array) -> Array:
    """Whole numbers [rows, width] as so many bits each, rows filled up to bytes."""
    bits = (codes[:, :, None] >> np.arange(form.settings["bits"] - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8).reshape(len(codes), -1), axis=1)


def _codes(form: RowFormat, packed: Array) -> Array:
    bits, width = form.settings["bits"], form.width
    parts = np.unpackbits(packed, axis=1)[:, : width * bits].astype(np.int32)
    codes: Array = parts.reshape(len(packed), width, bits) @ (1 << np.arange(bits - 1, -1, -1))
    return codes


# --- of a row ---------------------------------------------------------------------------------------------


def _pack_row(form: RowFormat, rows: Array) -> Array:
    steps = levels(form.settings["bits"], False)
    top = np.abs(rows).max(axis=1, initial=0.0).astype(rows.dtype)
    safe = np.where(top > 0, top, 1).astype(rows.dtype)
    packed = _coded(form, np.rint(rows / safe[:, None] * steps).astype(np.int32) + steps)
    return np.concatenate([top.reshape(-1, 1).view(np.uint8).reshape(len(rows), -1), packed], axis=1)


def _unpack_row(form: RowFormat, packed: Array, dtype: Any) -> Array:
    steps = levels(form.settings["bits"], False)
    top = np.ascontiguousarray(packed[:, : form.size]).view(dtype).reshape(-1, 1)
    codes = _codes(form, packed[:, form.size :]) - steps
    if (np.abs(codes) > steps).any():
        raise Unreadable("a code beyond the grid")
    share = codes.astype(dtype) / np.asarray(steps, dtype)
    made: Array = top * share
    return made


# --- of a batch -------------------------------------------------------------------------------------------


def _points(form: RowFormat, between: Array) -> Array:
    """Every point of the grid, as the graph computes it."""
    low, high = between
    steps = levels(form.settings["bits"], True)
    share = np.arange(steps + 1).astype(between.dtype) / np.asarray(steps, between.dtype)
    points: Array = low * (1 - share) + high * share
    return points


def _pack_batch(form: RowFormat, rows: Array, between: Array) -> Array:
    """The codes of points: where the grid is finer than floats are, of the first that is the number."""
    points = _points(form, between)
    order = np.argsort(points, kind="stable")
    grid = points[order]
    above = np.minimum(np.searchsorted(grid, rows), len(points) - 1)
    below = np.maximum(above - 1, 0)
    nearest = np.where(rows - grid[below] < grid[above] - rows, below, above)
    return _coded(form, order[nearest].astype(np.int32))


def _unpack_batch(form: RowFormat, packed: Array, between: Array) -> Array:
    if not between[0] <= between[1]:
        raise Unreadable(f"its range is {between.tolist()}")
    points: Array = _points(form, between)[_codes(form, packed)]
    return points


CODEC = Codec("quantize", {"bits": (2, 16)}, size, pack, unpack, by_range=True)
