"""What crosses in another form than the graphs have it: compressed numbers, masked numbers.

The manifest says of each such edge how it is packed; its shape and type there are those on the wire.
Packing loses nothing: a receiver has the sender's value to the bit, or of masked values their sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.bundle.packing import Packing
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.protect.masks import Masks, Sums

Array = NDArray[Any]


class Wire:
    """The edges of one place, packed and unpacked.

    Args:
        edges: what leaves the place and what comes to it.
        masks: of the masked sums that it adds to.
    """

    def __init__(self, edges: Mapping[str, Packing | None], masks: Masks, precision: str) -> None:
        self._packed = {name: packing for name, packing in edges.items() if packing is not None}
        self._masks, self._precision = masks, precision
        self._sums = Sums({name: p for name, p in self._packed.items() if p.kind == "masked"}, precision)

    def __bool__(self) -> bool:
        return bool(self._packed)

    def values(self, edges: Iterable[str]) -> Iterator[str]:
        """Those edges that carry a value of the graphs."""
        return (edge for edge in edges if edge not in self._packed or self._packed[edge].kind != "range")

    def pack(self, tensors: Mapping[str, Array], program: str) -> dict[str, Array]:
        """The values of a message as they leave, and ranges beside those that are packed by them."""
        left: dict[str, Array] = {}
        for edge, tensor in tensors.items():
            packing = self._packed.get(edge)
            if packing is None:
                left[edge] = tensor
            elif packing.kind == "masked":
                left[edge] = self._masks.mask(edge, packing, tensor, program)
            else:
                left[edge] = pack(packing, tensor)
                if packing.by:
                    left[packing.by] = span(tensor)
        return left

    def unpack(self, edge: str, tensors: Mapping[str, Array]) -> Array:
        """One value of a message as graphs read it.

        Of the values of a masked sum the one that comes last is the sum, and those before it are 0:
        they enter nothing else.

        Raises:
            Failure: VFL0676, masks do not cancel; VFL0677, nobody can have packed this.
        """
        packing, tensor = self._packed.get(edge), tensors[edge]
        if packing is None:
            return tensor
        if packing.kind == "masked":
            return self._sums.add(edge, packing, tensor)
        return unpack(edge, packing, tensor, self._precision, tensors.get(packing.by))

    def reset(self) -> None:
        """Forgets sums that did not come to their end."""
        self._sums.reset()


def pack(packing: Packing, tensor: Array) -> Array:
    """Rows of numbers as rows of bytes."""
    rows = np.ascontiguousarray(tensor).reshape(len(tensor), -1)
    if packing.kind == "top_k":
        return _pack_largest(packing, rows)
    return _pack_between(packing, rows) if packing.by else _pack_grid(packing, rows)


def unpack(edge: str, packing: Packing, tensor: Array, precision: str, between: Array | None = None) -> Array:
    """The rows of numbers that `pack` made bytes of; VFL0677 where it cannot have made them.

    `between` are the least and the largest number of the batch, where it is packed by them.
    """
    rows = np.ascontiguousarray(tensor)
    if packing.by:
        made = _read_between(edge, packing, rows, between)
    else:
        read = _read_grid if packing.kind == "quantize" else _read_largest
        made = read(edge, packing, rows, precision)
    return made.reshape(len(rows), *packing.row)


# --- numbers on a grid: the largest magnitude, then so many bits a number ---------------------------


def _pack_grid(packing: Packing, rows: Array) -> Array:
    levels = packing.levels
    top = np.abs(rows).max(axis=1, initial=0.0).astype(rows.dtype)
    safe = np.where(top > 0, top, 1).astype(rows.dtype)
    packed = _bits_of(np.rint(rows / safe[:, None] * levels).astype(np.int32) + levels, packing)
    return np.concatenate([top.reshape(-1, 1).view(np.uint8).reshape(len(rows), -1), packed], axis=1)


def _read_grid(edge: str, packing: Packing, rows: Array, precision: str) -> Array:
    size = np.dtype(precision).itemsize
    top = np.ascontiguousarray(rows[:, :size]).view(precision).reshape(-1, 1)
    codes = _codes_in(rows[:, size:], packing) - packing.levels
    if (np.abs(codes) > packing.levels).any():
        raise _damaged(edge, "a code beyond the grid")
    share = codes.astype(precision) / np.asarray(packing.levels, precision)
    made: Array = top * share
    return made


def _bits_of(codes: Array, packing: Packing) -> Array:
    """Whole numbers [row, number] as so many bits each, rows filled up to bytes."""
    bits = (codes[:, :, None] >> np.arange(packing.bits - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8).reshape(len(codes), -1), axis=1)


def _codes_in(packed: Array, packing: Packing) -> Array:
    width = prod(packing.row)
    bits = np.unpackbits(packed, axis=1)[:, : width * packing.bits].astype(np.int32)
    weights = 1 << np.arange(packing.bits - 1, -1, -1)
    codes: Array = bits.reshape(len(packed), width, packing.bits) @ weights
    return codes


# --- numbers on a grid from the least of the batch to the largest -----------------------------------


def span(tensor: Array) -> Array:
    """The least and the largest number of a batch, [2]; zeros where it has none."""
    return np.array([tensor.min(), tensor.max()] if tensor.size else [0, 0], tensor.dtype)


def _points(packing: Packing, between: Array) -> Array:
    """Every point of the grid, as the graph computes it."""
    low, high = between
    share = np.arange(packing.levels + 1).astype(between.dtype) / np.asarray(packing.levels, between.dtype)
    points: Array = low * (1 - share) + high * share
    return points


def _pack_between(packing: Packing, rows: Array) -> Array:
    """The codes of points: where the grid is finer than floats are, of the first that is the number."""
    points = _points(packing, span(rows))
    order = np.argsort(points, kind="stable")
    grid = points[order]
    above = np.minimum(np.searchsorted(grid, rows), packing.levels)
    below = np.maximum(above - 1, 0)
    nearest = np.where(rows - grid[below] < grid[above] - rows, below, above)
    return _bits_of(order[nearest].astype(np.int32), packing)


def _read_between(edge: str, packing: Packing, rows: Array, between: Array | None) -> Array:
    if between is None or not between[0] <= between[1]:
        raise _damaged(edge, f"its range is {'missing' if between is None else between.tolist()}")
    points: Array = _points(packing, between)[_codes_in(rows, packing)]
    return points


# --- the largest numbers of a row: positions, then numbers ------------------------------------------


def _pack_largest(packing: Packing, rows: Array) -> Array:
    order = np.argsort(rows == 0, axis=1, kind="stable")[:, : packing.k]
    values = np.take_along_axis(rows, order, axis=1)
    places = order.astype(_position(packing))
    parts = (places, np.ascontiguousarray(values))
    return np.concatenate([part.view(np.uint8).reshape(len(rows), -1) for part in parts], axis=1)


def _read_largest(edge: str, packing: Packing, rows: Array, precision: str) -> Array:
    width, kind = prod(packing.row), _position(packing)
    split = packing.k * kind.itemsize
    places = np.ascontiguousarray(rows[:, :split]).view(kind).astype(np.int64)
    if (places >= width).any():
        raise _damaged(edge, f"position {int(places.max())} of {width}")
    made = np.zeros((len(rows), width), precision)
    np.put_along_axis(made, places, np.ascontiguousarray(rows[:, split:]).view(precision), axis=1)
    return made


def _position(packing: Packing) -> np.dtype[Any]:
    return np.dtype("<u2" if prod(packing.row) <= 2**16 else "<u4")


def _damaged(edge: str, what: str) -> Failure:
    help = "run the same bundle and the same version of vflc on both sides"
    return Failure("VFL0677", f"edge {edge!r} cannot be unpacked: {what}", help, exit_code=PEER)
