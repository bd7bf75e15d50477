"""Which rows go through which steps that they missed, where steps are gone through one by one.

Rows that are read together missed different steps. In order of their last step, oldest first, those that
go through a step are always the first so many: each step is one call for all of them, and no row goes
through a step twice. Over a run that is the work of updating every row in every step, and no more: what
a step of the run costs goes with the rows that it reads and the steps that they missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vflc_runtime.updates import Ids


@dataclass(frozen=True, slots=True)
class Block:
    """Rows, and in order (count, first, end): the first `count` of them go through steps `first` to `end`."""

    rows: Ids
    steps: tuple[tuple[int, int, int], ...]


def replay(rows: Ids, last: Ids, step: int, size: int) -> Iterator[Block]:
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
        yield Block(rows[part], tuple(through))
