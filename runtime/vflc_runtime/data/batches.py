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
EVALUATION_BATCH = 4096
"""Rows of a batch where nothing is learned."""


def permutation(count: int, seed: int, purpose: str) -> Indices:
    """The numbers below `count`, [count], shuffled by the seed and a word for what it is for."""
    digest = hashlib.sha256(f"vflc {purpose} {seed} {count}".encode()).digest()
    bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    drawn = np.atleast_1d(bits.random_raw(count))
    order = np.argsort(drawn)  # several times as fast as the stable one, and the same but where two are equal
    ascending = drawn[order]
    if (ascending[1:] == ascending[:-1]).any():
        order = np.argsort(drawn, kind="stable")
    return order.astype(np.int64, copy=False)


def drawn(count: int, share: float, seed: int, purpose: str) -> NDArray[np.bool_]:
    """Of each of `count` rows whether it is drawn, [count], with that chance, by the seed and a word."""
    digest = hashlib.sha256(f"vflc {purpose} {seed} {count}".encode()).digest()
    bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    found: NDArray[np.bool_] = np.atleast_1d(bits.random_raw(count)) < np.uint64(int(share * 2.0**64))
    return found


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
    train: Indices = field(init=False, repr=False, compare=False)
    held_out: Indices = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kept is None:
            train, held_out = split(self.rows, self.seed, self.validation, self.fold)
        else:
            train, held_out = np.delete(np.arange(self.rows), self.kept), self.kept
        object.__setattr__(self, "train", train)
        object.__setattr__(self, "held_out", held_out)
        if self.batch > len(train):
            raise Failure(
                "VFL0609",
                f"the batch of {self.batch} is larger than the {len(train)} rows to train on",
                f"set a batch of at most {len(train)}",
                self.where,
            )

    @property
    def steps(self) -> int:
        """Batches an epoch; the last may be smaller."""
        return -(-len(self.train) // self.batch)

    def epoch(self, number: int) -> Indices:
        """The training rows [rows] in the order of epoch `number`, counted from 0."""
        if not self.shuffle:
            return self.train
        return self.train[permutation(len(self.train), self.seed, f"epoch {number}")]

    def batches(self, number: int, first: int = 0) -> Iterator[Indices]:
        """The batches of epoch `number`, rows [batch] each, from step `first` of the epoch on."""
        return sequential(self.epoch(number)[first * self.batch :], self.batch)


def split(rows: int, seed: int, validation: float, fold: int = 0) -> tuple[Indices, Indices]:
    """Training and validation rows, [train] and [validation], each in key order.

    Args:
        rows: number of aligned rows.
        seed: of the shuffle that the rows are parted after.
        validation: fraction of the rows that is kept.
        fold: which part of that size is kept, counted from 0: those of a fraction 1/k are disjoint, and all
            rows together.

    Raises:
        Failure: VFL0607 where there are no rows, VFL0608 where there are too few to be split.
    """
    if rows == 0:
        raise Failure("VFL0607", "there are no rows to train on", "give tables with rows")
    if not validation:
        return np.arange(rows), np.arange(0)
    if rows == 1:
        raise Failure(
            "VFL0608",
            "one row cannot be split into training and validation",
            "give more rows, or train with validation 0",
        )
    shuffled = permutation(rows, seed, "split")
    first, end = (round(each * rows * validation) for each in (fold, fold + 1))
    end = min(max(end, first + 1), rows if first else rows - 1)
    if first >= end:
        raise Failure(
            "VFL0608",
            f"{rows} rows are too few for part {fold} of {validation:g} for validation",
            "give more rows",
        )
    return np.sort(np.concatenate([shuffled[:first], shuffled[end:]])), np.sort(shuffled[first:end])


def sequential(indices: Indices, batch: int) -> Iterator[Indices]:
    """Consecutive batches of `indices`, [batch] each; the last may be smaller."""
    for start in range(0, len(indices), batch):
        yield indices[start : start + batch]


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
