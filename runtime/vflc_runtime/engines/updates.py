"""The parts of an update that are the same for every engine: distinct rows and clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import vflc_kernels
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.reading import damaged
from vflc_runtime.errors import Failure

_IDS = (np.dtype(np.int32), np.dtype(np.int64))
"""Types of ids that the kernel reads."""


class Scratch:
    """Memory that is used again at every step: fresh pages would cost more than what fills them."""

    def __init__(self, dtype: str) -> None:
        self._memory = np.empty(0, dtype)

    def rows(self, count: int) -> Array:
        """An array [count] of numbers, whatever they are: the same memory at every call."""
        if count > len(self._memory):
            self._memory = np.empty(count + count // 2, self._memory.dtype)
        return self._memory[:count]


class DistinctRows:
    """Finds the distinct ids of a batch in time that grows with the batch, not with the table.

    A mark for each row of the table is kept between steps and never cleared: each call writes
    the marks it then reads. The first mark is for -1, which stands for no row: all are moved by one,
    so that an id that is none is too large for a table, above it or, as an unsigned number, below.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._marks = np.zeros(rows + 1, np.int64)
        self._counting = np.arange(1024)
        self._ids, self._positions, self._last = Scratch("int64"), Scratch("int64"), Scratch("bool")
        self._kernel = vflc_kernels.distinct()
        self._parts: Sequence[Array] | None = None
        self._given: tuple[int, ...] | None = None

    def find(self, parts: Sequence[Array]) -> tuple[Indices, Indices]:
        """The distinct ids, and each id's position among them [n], for ids in arrays of any shape.

        Distinct ids stand in the order of their last occurrence; where an id is -1 its position
        is one past the last of them. Both hold until the next call. A list that is given again has the same
        arrays.
        """
        if parts is not self._parts:
            self._parts, self._given = parts, self._laid(parts)
        if self._kernel is None or self._given is None:
            return self._find(parts)
        count = self._kernel(*self._given)
        if count < 0:
            raise self._outside()
        return self._distinct[:count], self._at

    def _laid(self, parts: Sequence[Array]) -> tuple[int, ...] | None:
        """What the kernel is told: where all lies; None where it is not for such arrays."""
        if self._kernel is None or not all(part.dtype in _IDS and part.flags.c_contiguous for part in parts):
            return None
        count = sum(part.size for part in parts)
        self._distinct, self._at = self._ids.rows(count), self._positions.rows(count)
        lie = [(part.ctypes.data, part.size, part.dtype == np.int32) for part in parts]
        self._places = np.array(lie, np.int64)
        arrays = (self._marks, self._places, self._distinct, self._at)
        marks, places, distinct, at = (array.ctypes.data for array in arrays)
        return self.rows, marks, places, len(parts), distinct, at

    def _outside(self) -> Failure:
        return damaged(f"an id is outside its table of {self.rows} rows")

    def _find(self, parts: Sequence[Array]) -> tuple[Indices, Indices]:
        """As `find`, by numpy."""
        count = sum(part.size for part in parts)
        if count > self._counting.size:
            self._counting = np.arange(2 * count)
        ids, positions, last = (each.rows(count) for each in (self._ids, self._positions, self._last))
        start = 0
        for part in parts:
            np.add(part.reshape(-1), 1, out=ids[start : start + part.size])
            start += part.size
        if count and ids.view(np.uint64).max() > self.rows:
            raise self._outside()
        counting, marks = self._counting[:count], self._marks
        marks[ids] = counting
        marks.take(ids, out=positions, mode="wrap")
        distinct: Indices = ids[np.equal(positions, counting, out=last)]
        none = marks[0]
        if none < count and ids[none] == 0:
            distinct = distinct[distinct > 0]
            marks[0] = distinct.size
        marks[distinct] = self._counting[: distinct.size]
        marks.take(ids, out=positions, mode="wrap")
        distinct -= 1
        return distinct, positions


def clip_factor(gradient: Array, limit: float) -> float:
    """What to multiply `gradient`, flat [size], by so that its L2 norm is at most `limit`."""
    norm = math.sqrt(float(np.sum(np.square(gradient, dtype=np.float64))))
    return limit / norm if norm > limit else 1.0


def clip_parts(gradient: Array, parts: Iterable[slice], limit: float) -> None:
    """Makes the L2 norm of each part of the flat gradient [size] at most `limit`, in place."""
    for part in parts:
        factor = clip_factor(gradient[part], limit)
        if factor != 1.0:
            gradient[part] *= factor


def clip_tables(gradient: Array, rows: Indices, ends: Array, limit: float) -> None:
    """Clips in place the summed `gradient` [n, k] of `rows`, jointly for the rows of each table.

    `ends` has the row after the last of each table of the stack, ascending.
    """
    table = np.searchsorted(ends, rows, side="right")
    for index in np.unique(table):
        own = table == index
        factor = clip_factor(gradient[own], limit)
        if factor != 1.0:
            gradient[own] *= factor
