"""Which rows go through which steps that they missed, where steps are gone through one by one.

Rows that are read together missed different steps. In order of their last step, oldest first, those that
go through a step are always the first so many: each step is one call for all of them, and no row goes
through a step twice. Over a run, all rows being saved in the end, that is the work of updating every row in
every step, whenever each of it is done.

What a call costs apart from that work is spent for a few rows as for many, and old rows need many calls.
So a step of the run goes on with the rows that it does not read, in turn, for as many calls as its own
rows took. Where these are young it stops at once; where they are old the whole table gets younger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from vflc_common.arrays import Indices


@dataclass(frozen=True, slots=True)
class ReplayBlock:
    """Rows, and in order (count, first, end): the first `count` of them go through steps `first` to `end`."""

    rows: Indices
    steps: tuple[tuple[int, int, int], ...]

    @property
    def calls(self) -> int:
        return sum(end - first + 1 for _, first, end in self.steps)


def replay(rows: Indices, last: Indices, step: int, size: int) -> Iterator[ReplayBlock]:
    """How rows [n], last updated in steps `last` [n], go through those up to `step`; `size` rows at a time.

    Rows that missed nothing are left out.
    """
    order = np.argsort(last, kind="stable")
    order = order[: np.searchsorted(last[order], step)]
    for start in range(0, len(order), size):
        part = order[start : start + size]
        done, counts = np.unique(last[part], return_counts=True)
        ends = [*done[1:].tolist(), step]
        through = zip(np.cumsum(counts).tolist(), (done + 1).tolist(), ends, strict=True)
        yield ReplayBlock(rows[part], tuple(through))


class TableSweep:
    """Goes round a table, part by part, a little further in every step of the run.

    Args:
        rows: of the table.
        size: rows of a part.
    """

    def __init__(self, rows: int, size: int) -> None:
        self._parts = [np.arange(start, min(start + size, rows)) for start in range(0, rows, size)]
        self._next = 0

    def go(self, calls: int, catch_up: Callable[[Indices], int]) -> None:
        """Lets parts catch up for about so many calls, once round at most.

        Args:
            calls: of a graph.
            catch_up: from the rows [size] of a part to how many calls it took.
        """
        for _ in self._parts:
            if calls <= 0:
                return
            calls -= max(1, catch_up(self._parts[self._next]))
            self._next = (self._next + 1) % len(self._parts)
