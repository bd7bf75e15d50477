"""What the steps that rows of tables missed would have done to them, as a few numbers a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.plan_rows import Missed, Newest, Power, Product, Sum, terms

Array = NDArray[Any]
Steps = NDArray[np.int64]
Series = Callable[[Array], Mapping[str, Array]]
"""From steps [n] in float64, counted from 1, to numbers of them by name."""

BLOCK = 1024
"""Steps whose series are made at once. A block starts where it always does, so that its bits are the same."""


class History:
    """The steps done so far, as far as one optimizer's rows have to know of them.

    It follows from the number of steps alone: a run that goes on after an interruption has the same bits.
    Of every step a few numbers are kept, for rows that were last updated in it.
    """

    def __init__(self, missed: Sequence[Missed], series: Series | None) -> None:
        self._missed, self._series = missed, series
        self._powers = {each.name: _Powers(each.base) for each in missed if isinstance(each, Power)}
        self._products = {each.of: _Product() for each in missed if isinstance(each, Product)}
        self._products |= {each.kept: _Product() for each in missed if isinstance(each, Sum) and each.kept}
        self._newest = {each.of: 0.0 for each in missed if isinstance(each, Newest)}
        self._sums: dict[tuple[Any, ...], _Sums] = {}
        for each in missed:
            if isinstance(each, Sum):
                kept = self._products[each.kept] if each.kept else None
                self._sums.setdefault(_group(each), _Sums(each, kept)).add(each)
        self._step, self._block = 0, dict[str, Array]()

    def numbers(self, last: Steps, step: int) -> Array:
        """Of rows [n] the numbers [n, …] in the order of the plan, after `step` steps.

        `last` says in which step each row was last updated, 0 for none.
        """
        for following in range(self._step + 1, step + 1):
            self._go(following)
        passed = step - last
        sums = {key: each.at(last, step) for key, each in self._sums.items()}
        made = np.empty((len(last), len(self._missed)))
        for index, each in enumerate(self._missed):
            if isinstance(each, Power):
                made[:, index] = self._powers[each.name].at(passed, step)
            elif isinstance(each, Product):
                made[:, index] = self._products[each.of].between(last, step)
            elif isinstance(each, Newest):
                made[:, index] = self._newest[each.of]
            else:
                column = self._sums[_group(each)].names.index(each.name)
                made[:, index] = sums[_group(each)][:, column]
        return made

    def _go(self, step: int) -> None:
        place = (step - 1) % BLOCK
        if place == 0 and self._series is not None:
            self._block = dict(self._series(np.arange(step, step + BLOCK, dtype=np.float64)))
        for name, product in self._products.items():
            product.append(step, self._block[name][place])
        for name in self._newest:
            self._newest[name] = float(self._block[name][place])
        for (of, *_, kept), group in self._sums.items():
            group.append(step, self._block[of][place], self._block[kept][place] if kept else None)
        self._step = step


def _group(each: Sum) -> tuple[str, float, float, str | None]:
    """Sums that have this in common are made together."""
    return each.of, each.ratio, each.growth, each.kept


class _Powers:
    """base^n by n, as far as steps go; what is smaller than any number is 0."""

    def __init__(self, base: float) -> None:
        self._base = base
        self._made = np.ones(1)
        self._most = int(np.ceil(745.2 / -np.log(base))) if base else 1

    def at(self, counts: Steps, most: int) -> Array:
        if most >= len(self._made) and len(self._made) <= self._most:
            blocks = 1 + min(2 * most, self._most) // BLOCK  # whole ones: ends of arrays may round otherwise
            self._made = np.power(self._base, np.arange(blocks * BLOCK, dtype=np.float64))
        return self._made.take(counts, mode="clip")


class _Product:
    """Products of numbers above 0 over any stretch of steps, by their logarithms."""

    def __init__(self) -> None:
        self._logs = np.zeros(BLOCK)

    def append(self, step: int, value: float) -> None:
        self._logs = _longer(self._logs, step)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._logs[step] = self._logs[step - 1] + np.log(value)

    def between(self, start: Steps, end: int | Steps) -> Array:
        """The product over the steps after `start` up to and with `end`."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.exp(self._logs[end] - self._logs[start]))


class _Sums:
    """Sums over the steps after a step, for each so far; one more adds to those of the last few hundred."""

    def __init__(self, like: Sum, kept: _Product | None) -> None:
        self._like, self._kept = like, kept
        self._count = terms(like.ratio)
        self.names: list[str] = []
        self._terms = np.empty((self._count + 1, 0))
        self._made = np.zeros((BLOCK, 0))

    def add(self, each: Sum) -> None:
        """Another sum of the same series, ratio and growth."""
        self.names.append(each.name)
        passed = np.arange(self._count + 1, dtype=np.float64)
        with np.errstate(over="ignore"):
            slower = np.power(each.growth, passed) - 1
        own = np.power(each.ratio, passed) * sum(c / (1 + x * slower) if x else c for c, x in each.mix)
        self._terms = np.column_stack([self._terms, own])
        self._made = np.zeros((BLOCK, len(self.names)))

    def append(self, step: int, value: float, kept: float | None) -> None:
        self._made = _longer(self._made, step)
        first = max(0, step - self._count)
        recent = self._made[first:step]
        if kept is not None:
            recent *= kept
        recent += value * self._terms[step - first : 0 : -1]

    def at(self, last: Steps, step: int) -> Array:
        """The sums [n, …] after the steps `last`."""
        found = self._made[last]
        if self._kept is not None:  # what was summed up long ago is kept like the weight itself
            found *= self._kept.between(np.minimum(last + self._count, step), step)[:, None]
        return found


def _longer(array: Array, step: int) -> Array:
    """The array with room for `step`."""
    if step < len(array):
        return array
    return np.concatenate([array, np.zeros_like(array)])
