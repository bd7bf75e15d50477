"""What the steps that rows of tables missed would have done to them, as a few numbers a row."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.plan_rows import Matrix, Missed, Newest, Power, Product, Sum, terms

SeriesOfSteps = Callable[[Array], Mapping[str, Array]]
"""From steps [n] in float64, counted from 1, to numbers of them by name."""

BLOCK = 1024
"""Steps whose series are made at once. A block starts where it always does, so that its bits are the same."""


class History:
    """The steps done so far, as far as one optimizer's rows have to know of them.

    It follows from the number of steps alone: a run that goes on after an interruption has the same bits.
    Of every step a few numbers are kept, for rows that were last updated in it. Those that follow one
    another in the plan and are made alike are made at once: where a batch is small, what costs is how
    many calls there are.
    """

    def __init__(self, missed: Sequence[Missed], series: SeriesOfSteps | None) -> None:
        self._series = series
        runs = [list(alike) for _, alike in groupby(missed, _alike)]
        self._parts = [_PARTS[type(run[0])](run) for run in runs]
        self._step, self._block = 0, dict[str, list[float]]()

    def numbers(self, last: Indices, step: int, dtype: DTypeLike = np.float64) -> Array:
        """Of rows [n] the numbers [n, …] in the order of the plan, after `step` steps.

        `last` says in which step each row was last updated, 0 for none.
        """
        for following in range(self._step + 1, step + 1):
            self._go(following)
        found = [part.at(last, step) for part in self._parts]
        return np.concatenate(found, axis=1, dtype=dtype, casting="same_kind")

    def _go(self, step: int) -> None:
        place = (step - 1) % BLOCK
        if place == 0 and self._series is not None:
            made = self._series(np.arange(step, step + BLOCK, dtype=np.float64))
            self._block = {name: numbers.tolist() for name, numbers in made.items()}
        now = {name: numbers[place] for name, numbers in self._block.items()}
        for part in self._parts:
            part.go(step, now)
        self._step = step


class _Part(Protocol):
    """Numbers that are made together."""

    def go(self, step: int, now: Mapping[str, float]) -> None:
        """Takes in the next step, for which the series are `now`."""
        ...

    def at(self, last: Indices, step: int) -> Array:
        """The numbers [n, …] of the steps after each of `last` [n] up to and with `step`."""
        ...


def _alike(each: Missed) -> tuple[Hashable, ...]:
    """Numbers that have this in common are made together."""
    kind = type(each).__name__
    if isinstance(each, Matrix):
        return kind, each.of
    return (kind, each.of, each.ratio, each.growth, each.kept) if isinstance(each, Sum) else (kind,)


class _Powers:
    """base^n by n, as far as steps go; what is smaller than any number is 0."""

    def __init__(self, each: Sequence[Power]) -> None:
        self._bases = [power.base for power in each]
        self._made = np.ones((1, len(each)))
        self._most = max(int(np.ceil(745.2 / -np.log(base))) if base else 1 for base in self._bases)

    def go(self, step: int, now: Mapping[str, float]) -> None:
        if step >= len(self._made) and len(self._made) <= self._most:
            blocks = 1 + min(2 * step, self._most) // BLOCK  # whole ones: ends of arrays may round otherwise
            steps = np.arange(blocks * BLOCK, dtype=np.float64)
            self._made = np.column_stack([np.power(base, steps) for base in self._bases])

    def at(self, last: Indices, step: int) -> Array:
        return self._made.take(step - last, axis=0, mode="clip")


class _Products:
    """Products of numbers above 0 over any stretch of steps, by their logarithms."""

    def __init__(self, of: Sequence[str]) -> None:
        self._of = of
        self._logs = np.zeros((BLOCK, len(of)))

    def go(self, step: int, now: Mapping[str, float]) -> None:
        self._logs = _longer(self._logs, step)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._logs[step] = self._logs[step - 1] + np.log([now[name] for name in self._of])

    def at(self, last: Indices, step: int) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.exp(self._logs[step] - self._logs[last]))


class _Newest:
    """The numbers of series at the last step."""

    def __init__(self, each: Sequence[Newest]) -> None:
        self._of = [newest.of for newest in each]
        self._now = np.zeros(len(each))

    def go(self, step: int, now: Mapping[str, float]) -> None:
        self._now = np.array([now[name] for name in self._of])

    def at(self, last: Indices, step: int) -> Array:
        return np.full((len(last), len(self._now)), self._now)


class _Matrices:
    """Products of matrices over the steps after a step, for each so far, the latest first.

    Those after a step of a block go to the end of the block; what follows on blocks is multiplied apart,
    so that one more step changes the products of one block, and one for each block before it. There
    is no inverse in them: products of steps that forget have none worth having.
    """

    def __init__(self, each: Sequence[Matrix]) -> None:
        self._of = each[0].of
        self._entries = tuple([matrix.row for matrix in each]), tuple([matrix.column for matrix in each])
        self._same = np.eye(len(self._of))[:, :, None]
        self._within, self._after = (np.repeat(self._same, BLOCK, axis=2) for _ in range(2))

    def go(self, step: int, now: Mapping[str, float]) -> None:
        matrix = np.array([[now[name] for name in row] for row in self._of])
        block, start = (step - 1) // BLOCK, (step - 1) // BLOCK * BLOCK
        self._within, self._after = self._longer(self._within, step), self._longer(self._after, step // BLOCK)
        for products in (self._within[:, :, start:step], self._after[:, :, :block]):
            products[...] = _times(matrix[:, :, None], products)

    def _longer(self, products: Array, index: int) -> Array:
        if index < products.shape[2]:
            return products
        return np.concatenate([products, np.repeat(self._same, products.shape[2], axis=2)], axis=2)

    def at(self, last: Indices, step: int) -> Array:
        products = _times(self._after[:, :, last // BLOCK], self._within[:, :, last])
        return products[self._entries].T


def _times(left: Array, right: Array) -> Array:
    """Products of matrices [row, column, n], each number by the same operations wherever it stands."""
    total = left[:, 0, None] * right[None, 0]
    for index in range(1, len(right)):
        total += left[:, index, None] * right[None, index]
    return np.asarray(total)


class _Sums:
    """Sums over the steps after a step, for each so far; one more adds to those of the last few hundred."""

    def __init__(self, each: Sequence[Sum]) -> None:
        like = each[0]
        self._of, self._kept, self._count = like.of, like.kept, terms(like.ratio)
        self._keeps = None if like.kept is None else _Products([like.kept])
        passed = np.arange(self._count + 1, dtype=np.float64)
        with np.errstate(over="ignore"):
            slower = np.power(like.growth, passed) - 1
        shares = [sum(c / (1 + x * slower) if x else c for c, x in sum_.mix) for sum_ in each]
        powers = np.power(like.ratio, passed)
        self._terms = np.column_stack([(powers * share)[::-1] for share in shares])
        self._made = np.zeros((BLOCK, len(each)))

    def go(self, step: int, now: Mapping[str, float]) -> None:
        self._made = _longer(self._made, step)
        first = max(0, step - self._count)
        recent = self._made[first:step]
        if self._keeps is not None and self._kept is not None:
            self._keeps.go(step, now)
            recent *= now[self._kept]
        recent += now[self._of] * self._terms[first - step - 1 : -1]

    def at(self, last: Indices, step: int) -> Array:
        found = self._made.take(last, axis=0)
        if self._keeps is not None:  # what was summed up long ago is kept like the weight itself
            found *= self._keeps.at(np.minimum(last + self._count, step), step)
        return found


_PARTS: dict[type[Missed], Callable[[list[Any]], _Part]] = {
    Power: _Powers,
    Product: lambda each: _Products([product.of for product in each]),
    Newest: _Newest,
    Sum: _Sums,
    Matrix: _Matrices,
}


def _longer(array: Array, step: int) -> Array:
    """The array with room for `step`."""
    if step < len(array):
        return array
    return np.concatenate([array, np.zeros_like(array)])
