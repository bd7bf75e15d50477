"""The parts of an update that are the same for every engine: distinct rows and clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.reading import damaged

Array = NDArray[Any]
Ids = NDArray[np.int64]


class DistinctRows:
    """Finds the distinct ids of a batch in time that grows with the batch, not with the table.

    A mark for each row of the table is kept between steps and never cleared: each call writes
    the marks it then reads. The last mark is for -1, which stands for no row.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._marks = np.zeros(rows + 1, np.int64)
        self._counting = np.arange(1024)

    def find(self, ids: Array) -> tuple[Ids, Ids]:
        """The distinct ids and each id's position among them, for `ids` of shape [n].

        Distinct ids stand in the order of their last occurrence; where an id is -1 its position
        is one past the last of them.
        """
        if ids.size > self._counting.size:
            self._counting = np.arange(2 * ids.size)
        counting, marks = self._counting[: ids.size], self._marks
        try:
            marks[ids] = counting
        except IndexError:
            raise damaged(f"an id is outside its table of {self.rows} rows") from None
        distinct = ids[marks[ids] == counting]
        if distinct.size and distinct.min() < 0:
            distinct = distinct[distinct != -1]
            if distinct.size and distinct.min() < 0:
                raise damaged("an id is negative")
            marks[-1] = distinct.size
        marks[distinct] = self._counting[: distinct.size]
        return distinct.astype(np.int64, copy=False), marks[ids]


def clip_factor(gradient: Array, limit: float) -> float:
    """What to multiply `gradient` by so that its L2 norm is at most `limit`."""
    norm = math.sqrt(float(np.sum(np.square(gradient, dtype=np.float64))))
    return limit / norm if norm > limit else 1.0


def clip_parts(gradient: Array, parts: Iterable[slice], limit: float) -> Array:
    """A copy of the flat gradient in which each part's norm is at most `limit`."""
    clipped = gradient.copy()
    for part in parts:
        factor = clip_factor(clipped[part], limit)
        if factor != 1.0:
            clipped[part] *= factor
    return clipped


def clip_tables(gradient: Array, rows: Ids, ends: Array, limit: float) -> None:
    """Clips in place the summed `gradient` [n, k] of `rows`, jointly for the rows of each table.

    `ends` has the row after the last of each table of the stack, ascending.
    """
    table = np.searchsorted(ends, rows, side="right")
    for index in np.unique(table):
        own = table == index
        factor = clip_factor(gradient[own], limit)
        if factor != 1.0:
            gradient[own] *= factor
