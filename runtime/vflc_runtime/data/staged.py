"""Training on columns that lie in files: the rows of many batches are read at once, in the order of the file.

Rows are shuffled, and a file that is read in such an order is read page by page for each of them. So a thread
reads the rows of the batches to come in the order of the file, while others are trained on; batches and their
order are those of columns in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices

from vflc_runtime.data.batches import PIECE, Inputs, beforehand
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.spread import ABSENT
from vflc_runtime.memory import forget

READ = 128 << 20
"""Bytes of encoded rows that are read at once; as many are trained on meanwhile."""
MAPPED = 64 << 20
"""Bytes of a file that are mapped at once."""
Read = tuple[Indices, Callable[[], Inputs]]


def from_files(
    data: Dataset, batches: Iterable[Indices], drop: Mapping[str, NDArray[np.bool_]]
) -> Iterator[Read]:
    """Each of the batches [rows] with what gets its inputs, as `Dataset.batch` gives them."""
    width = sum(each.itemsize * int(np.prod(each.shape[1:])) for each in data.inputs.values())
    groups = _grouped(batches, min(READ // width, PIECE))
    parts = ((group, _staged(data, np.concatenate(group), drop)) for group in groups)
    for group, (part, dropped) in beforehand(parts):
        start = 0
        for rows in group:
            places = np.arange(start, start + len(rows))
            yield rows, partial(part.batch, places, dropped)
            start += len(rows)


def _grouped(batches: Iterable[Indices], rows: int) -> Iterator[list[Indices]]:
    """Batches that have so many rows together, or one more than they should."""
    group, count = list[Indices](), 0
    for batch in batches:
        group.append(batch)
        count += len(batch)
        if count >= rows:
            yield group
            group, count = [], 0
    if group:
        yield group


def _staged(
    data: Dataset, rows: Indices, drop: Mapping[str, NDArray[np.bool_]]
) -> tuple[Dataset, dict[str, NDArray[np.bool_]]]:
    """A data set of these rows [n] alone, in this order and in memory, and who is dropped in them."""
    at, of = {}, {}
    for party, whole in data.at.items():
        of[party], at[party] = _own(whole[rows])
    inputs = {name: _taken(each, of.get(name.partition(".")[0], rows)) for name, each in data.inputs.items()}
    return replace(data, rows=len(rows), inputs=inputs, at=at), {p: each[rows] for p, each in drop.items()}


def _own(rows: Indices) -> tuple[Indices, Indices]:
    """The different rows of a party's table, [different] in order, and of each of `rows` [n] which it is.

    The first row of the table is always among them: batches in which a party has none take that.
    """
    own, at = np.unique(np.append(np.maximum(rows, 0), 0), return_inverse=True)
    return own, np.where(rows == ABSENT, ABSENT, at.reshape(-1)[:-1])


def _taken(array: Array, rows: Indices) -> NDArray[Any]:
    """The rows [n] of a column [rows, …], which is read from its beginning to its end."""
    if not isinstance(array, np.memmap):
        return array.take(rows, axis=0)
    order = np.argsort(rows)
    sorted = rows[order]
    step = max(1, MAPPED // (array.itemsize * max(1, int(np.prod(array.shape[1:])))))
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    ends = np.searchsorted(sorted, np.arange(0, len(array) + step, step))
    for first, end in pairwise(ends):
        found[order[first:end]] = array.take(sorted[first:end], axis=0)
        forget([array])
    return found
