"""Which rows are trained on, in what order, in which batch.

Everything comes from the seed and the number of aligned rows alone, so every party finds the same
order by itself. The random bits are Philox's raw output, whose stream numpy keeps fixed; numpy's own
`permutation` may change between versions, and parties need not have the same one.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Indices

from vflc_runtime.errors import Failure, Where

Inputs = Mapping[str, NDArray[np.generic]]
T = TypeVar("T")
PIECE = 1 << 22
"""Rows that are shuffled at once; of more, one range of the drawn numbers after the other."""
EVALUATION_BATCH = 4096
"""Rows of a batch where nothing is learned."""


def permutation(count: int, seed: int, purpose: str) -> Indices:
    """The numbers below `count`, [count], shuffled by the seed and a word for what it is for."""
    return _ascending(np.atleast_1d(_bits(count, seed, purpose).random_raw(count)))


def permuted(count: int, seed: int, purpose: str) -> Iterator[Indices]:
    """`permutation` piece after piece, [rows] each: what more rows cost is time, not memory.

    A piece has the rows whose numbers, which are drawn anew for each, lie in its part of their range.
    """
    parts = -(-count // PIECE)
    if parts <= 1:
        yield permutation(count, seed, purpose)
        return
    ends = [np.uint64((i << 64) // parts) for i in range(1, parts)]
    for first, end in zip([None, *ends], [*ends, None], strict=True):
        found, numbers = [], []
        for start, drawn in _drawn(count, seed, purpose):
            inside = np.ones(len(drawn), bool) if first is None else drawn >= first
            if end is not None:
                inside &= drawn < end
            here = np.flatnonzero(inside)
            found.append(here + start)
            numbers.append(drawn[here])
        rows = np.concatenate(found)
        yield rows[_ascending(np.concatenate(numbers))]


def _drawn(count: int, seed: int, purpose: str) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """The numbers by which rows are shuffled, with the first row that has them, block after block."""
    bits = _bits(count, seed, purpose)
    for start in range(0, count, PIECE):
        yield start, np.atleast_1d(bits.random_raw(min(PIECE, count - start)))


def _bits(count: int, seed: int, purpose: str) -> np.random.Philox:
    digest = hashlib.sha256(f"vflc {purpose} {seed} {count}".encode()).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little"))


def _ascending(drawn: NDArray[np.uint64]) -> Indices:
    """The order of drawn numbers; those that are equal stay in theirs."""
    order = np.argsort(drawn)  # several times as fast as the stable one, and the same but where two are equal
    ascending = drawn[order]
    if (ascending[1:] == ascending[:-1]).any():
        order = np.argsort(drawn, kind="stable")
    return order.astype(np.int64, copy=False)


def drawn(count: int, share: float, seed: int, purpose: str) -> NDArray[np.bool_]:
    """Of each of `count` rows whether it is drawn, [count], with that chance, by the seed and a word."""
    found, below = np.empty(count, bool), np.uint64(int(share * 2.0**64))
    for start, numbers in _drawn(count, seed, purpose):
        found[start : start + len(numbers)] = numbers < below
    return found


@dataclass(frozen=True, slots=True)
class SomeRows:
    """So many rows that need not be written out: `at` gives those at some places [n] among them."""

    count: int
    at: Callable[[Indices], Indices]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, places: Indices) -> Indices:
        return self.at(places)


@dataclass(frozen=True)
class Order:
    """The order of training over `rows` aligned rows.

    Args:
        rows: number of aligned rows.
        seed: the run's seed.
        validation: fraction of the rows kept for validation, 0 up to but not including 1.
        batch: rows a step.
        shuffle: whether the rows of an epoch are shuffled; otherwise they come in key order.
        where: the place in the spec that sets the batch, for messages.
        fold: which part of the rows is kept for validation, as `split` has it.
        kept: the rows that are kept, in order, where something else than the seed decides it.

    Raises:
        Failure: VFL0607 (no rows), VFL0608 (one row cannot be split), VFL0609 (batch too large).
    """

    rows: int
    seed: int
    validation: float
    batch: int
    shuffle: bool = True
    where: Where | None = field(default=None, compare=False)
    fold: int = 0
    kept: Indices | None = field(default=None, repr=False, compare=False)
    held_out: Indices = field(init=False, repr=False, compare=False)
    _train: Indices | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kept = self.kept
        if kept is None:
            kept = kept_rows(self.rows, self.seed, self.validation, self.fold)
        object.__setattr__(self, "held_out", kept)
        train = np.delete(np.arange(self.rows), kept) if self.rows <= PIECE else None
        object.__setattr__(self, "_train", train)
        if self.batch > self.train_rows:
            raise Failure(
                "VFL0609",
                f"the batch of {self.batch} is larger than the {self.train_rows} rows to train on",
                f"set a batch of at most {self.train_rows}",
                self.where,
            )

    @property
    def train_rows(self) -> int:
        """How many rows are trained on."""
        return self.rows - len(self.held_out)

    @property
    def train(self) -> Indices:
        """The rows that are trained on, [rows], in key order."""
        return self._training(np.arange(self.train_rows))

    @property
    def training(self) -> SomeRows:
        """The same, without an array of them."""
        return SomeRows(self.train_rows, self._training)

    def _training(self, places: Indices) -> Indices:
        """The rows [n] that stand at these places among those that are trained on."""
        if self._train is not None:
            return self._train[places]
        before = self.held_out - np.arange(len(self.held_out))  # rows to train on before each that is kept
        return places + np.searchsorted(before, places, side="right")

    @property
    def steps(self) -> int:
        """Batches an epoch; the last may be smaller."""
        return -(-self.train_rows // self.batch)

    def epoch(self, number: int) -> Indices:
        """The training rows [rows] in the order of epoch `number`, counted from 0."""
        return np.concatenate([*self._pieces(number)])

    def _pieces(self, number: int | None) -> Iterator[Indices]:
        """The rows of an epoch in its order, some [rows] at a time; where None, in key order."""
        rows = self.train_rows
        if number is not None and self.shuffle:
            places = permuted(rows, self.seed, f"epoch {number}")
        else:
            places = in_order(rows, PIECE)
        return map(self._training, places)

    def batches(self, number: int, first: int = 0) -> Iterator[Indices]:
        """The batches of epoch `number`, rows [batch] each, from step `first` of the epoch on."""
        return _divided(self._pieces(number), self.batch, first * self.batch)

    def in_order(self, batch: int) -> Iterator[Indices]:
        """The training rows in key order, [batch] each; the last may be fewer."""
        return _divided(self._pieces(None), batch)


def _divided(pieces: Iterable[Indices], batch: int, skip: int = 0) -> Iterator[Indices]:
    """The rows of some pieces in batches, without the first `skip` rows; the last batch may be smaller."""
    left = np.arange(0)
    for piece in pieces:
        rows = np.concatenate([left, piece[skip:]]) if len(left) else piece[skip:]
        skip = max(0, skip - len(piece))
        end = len(rows) // batch * batch
        yield from sequential(rows[:end], batch)
        left = rows[end:]
    if len(left):
        yield left


def split(rows: int, seed: int, validation: float, fold: int = 0) -> tuple[Indices, Indices]:
    """Training and validation rows, [train] and [validation], each in key order.

    Args:
        rows: number of aligned rows.
        seed: of the shuffle that the rows are parted after.
        validation: fraction of the rows that is kept.
        fold: which part of that size is kept, counted from 0: those of a fraction 1/k are disjoint, and all
            rows together.

    Raises:
        Failure: as `kept_rows`.
    """
    kept = kept_rows(rows, seed, validation, fold)
    return np.delete(np.arange(rows), kept), kept


def kept_rows(rows: int, seed: int, validation: float, fold: int = 0) -> Indices:
    """The validation rows of `split`, [validation].

    Raises:
        Failure: VFL0607 where there are no rows, VFL0608 where there are too few to be split.
    """
    if rows == 0:
        raise Failure("VFL0607", "there are no rows to train on", "give tables with rows")
    if not validation:
        return np.arange(0)
    if rows == 1:
        raise Failure(
            "VFL0608",
            "one row cannot be split into training and validation",
            "give more rows, or train with validation 0",
        )
    first, end = (round(each * rows * validation) for each in (fold, fold + 1))
    end = min(max(end, first + 1), rows if first else rows - 1)
    if first >= end:
        raise Failure(
            "VFL0608",
            f"{rows} rows are too few for part {fold} of {validation:g} for validation",
            "give more rows",
        )
    found, start = [], 0
    for piece in permuted(rows, seed, "split"):
        found.append(piece[max(0, first - start) : max(0, end - start)])
        start += len(piece)
        if start >= end:
            break
    return np.sort(np.concatenate(found))


def sequential(indices: Indices, batch: int) -> Iterator[Indices]:
    """Consecutive batches of `indices`, [batch] each; the last may be smaller."""
    for start in range(0, len(indices), batch):
        yield indices[start : start + batch]


def in_order(rows: int, batch: int = EVALUATION_BATCH) -> Iterator[Indices]:
    """All of so many rows, [batch] at a time; the last may be fewer."""
    return (np.arange(start, min(start + batch, rows)) for start in range(0, rows, batch))


def beforehand(parts: Iterator[T]) -> Iterator[T]:
    """The same parts; a thread makes the next one while one is worked on."""
    with ThreadPoolExecutor(1, "beforehand") as pool:
        coming = pool.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = pool.submit(next, parts, None)
            yield part


def ahead(
    indices: Iterable[Indices], read: Callable[[Indices], T]
) -> Iterator[tuple[Indices, Callable[[], T]]]:
    """Each batch [rows] and what gets its rows, which a thread reads while the one before is worked on."""
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming: deque[tuple[Indices, Future[T]]] = deque()
        for rows in indices:
            coming.append((rows, pool.submit(read, rows)))
            if len(coming) > 1:
                first, found = coming.popleft()
                yield first, found.result
        for first, found in coming:
            yield first, found.result


def gather(inputs: Inputs, indices: Indices) -> dict[str, NDArray[np.generic]]:
    """The rows `indices` [batch] of every input [rows, …], as contiguous arrays [batch, …]."""
    return {name: array.take(indices, axis=0) for name, array in inputs.items()}


def trimmed(ids: NDArray[Any]) -> NDArray[Any]:
    """Many ids a row, [rows, width], only as wide as the longest of these rows without its -1 at the end."""
    used = np.flatnonzero((ids >= 0).any(axis=0))
    return np.ascontiguousarray(ids[:, : int(used.max(initial=0)) + 1])
