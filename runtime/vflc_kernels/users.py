"""What a group of users needs to know of its examples, by one pass over each user's: see `src/users.cpp`.

Nothing here looks at what it is given: all arrays are contiguous and of the sizes and types that are said.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_kernels import library

Whole = NDArray[np.int64]
_KINDS = ("float32", "float64")


class UserKernels:
    """The functions of the extension at `path`. They let other threads of Python run."""

    def __init__(self, path: str) -> None:
        loaded = ctypes.CDLL(path)
        self._order, self._distinct = loaded.vflc_users_order, loaded.vflc_users_distinct
        self._batches, self._uniform = loaded.vflc_users_batches, loaded.vflc_users_uniform
        self._lost, self._scale = (
            {kind: loaded[f"vflc_users_{name}_{kind}"] for kind in _KINDS} for name in ("lost", "scale")
        )
        for counting in (self._order, self._distinct, *self._lost.values()):
            counting.restype = ctypes.c_int64
        for silent in (self._batches, self._uniform, *self._scale.values()):
            silent.restype = None

    def order(self, streams: NDArray[np.uint64], counts: Whole) -> Whole:
        """The numbers of each user's `counts` [user] examples, as `streams` [user] order them: [example]."""
        numbers = np.empty(int(counts.sum()), np.int64)
        _enough(self._order(_at(streams), _at(counts), _size(counts), _at(numbers)))
        return numbers

    def batches(self, counts: Whole, late: NDArray[np.bool_], half: bool, rows: Whole) -> None:
        """Puts the examples whose `late` is `half` into `rows` [batch, user, example], full of -1."""
        batch = ctypes.c_int64(rows.shape[2])
        self._batches(_at(counts), _size(counts), _at(late), ctypes.c_uint8(half), batch, _at(rows))

    def distinct(
        self, counts: Whole, columns: Sequence[NDArray[np.int32]]
    ) -> tuple[Whole, Whole, Whole, list[NDArray[np.int32]]]:
        """Each user's distinct ids, ascending, among columns [example, …]; negative ones are none.

        Returns:
            The ids and whose they are [n]; one more than how many the first 1, 2, … users have [user]; and of
            each column the place of every id, from 1 on, or -1.
        """
        most = sum(column.size for column in columns)
        found, owner, ends = (np.empty(size, np.int64) for size in (most, most, len(counts)))
        slots = [np.empty(column.shape, np.int32) for column in columns]
        widths = np.array([int(np.prod(column.shape[1:])) for column in columns])
        count = self._distinct(
            _at(counts), _size(counts), _all(columns), _at(widths), _size(columns),
            _at(found), _at(owner), _at(ends), _all(slots),
        )  # fmt: skip
        _enough(count)
        return found[:count], owner[:count], ends, slots

    def uniform(self, streams: NDArray[np.uint64], size: int) -> NDArray[np.float64]:
        """The first numbers in [0, 1) of each stream: [user, size]."""
        numbers = np.empty((len(streams), size))
        self._uniform(_at(streams), _size(streams), ctypes.c_int64(size), _at(numbers))
        return numbers

    def lost(self, first: NDArray[Any], change: NDArray[Any]) -> bool:
        """Turns numbers `change` [*] into what they lost since `first` [*]; whether that is finite."""
        return bool(self._lost[str(change.dtype)](_at(first), _at(change), ctypes.c_int64(change.size)))

    def scale(self, rows: NDArray[Any], factors: NDArray[Any]) -> None:
        """Multiplies rows [row, …] by factors [row]; what is multiplied by 0 becomes 0, whatever it was."""
        width = ctypes.c_int64(rows.size // max(len(rows), 1))
        self._scale[str(rows.dtype)](_at(rows), _at(factors), _size(rows), width)


def user_kernels() -> UserKernels | None:
    """None where the extension is not used."""
    path = library()
    return None if path is None else _loaded(path)


_loaded = cache(UserKernels)


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _all(arrays: Sequence[NDArray[Any]]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def _size(array: Sequence[object] | NDArray[Any]) -> ctypes.c_int64:
    return ctypes.c_int64(len(array))


def _enough(result: int) -> None:
    if result < 0:
        raise MemoryError
