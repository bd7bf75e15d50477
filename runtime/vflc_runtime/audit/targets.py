"""Features and labels as what attacks are after: classes of rows, numbers as high and low."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array

from vflc_runtime.audit.knowledge import Spelled

CLASSES = 20
"""Values of a column that are told apart: the most frequent ones, and all others as one."""


@dataclass(frozen=True, slots=True)
class AttackTarget:
    """A feature or label under attack, as classes.

    Args:
        id: `party.name`.
        classes: of all rows, as drawn [rows], from 0.
        shares: of each class, in the values that rows are drawn from [k].
        spelled: gives the classes of other rows.
    """

    id: str
    classes: NDArray[np.int64]
    shares: Array
    spelled: Spelled


def target(id: str, values: Array, undrawn: Array) -> AttackTarget | None:
    """A column as classes; None where all rows are alike. Numbers are told apart as high and low.

    A vector is told apart by the first of its numbers that varies.

    Args:
        id: of the input.
        values: as the model has them, [rows] or [rows, width].
        undrawn: the same before any protection drew answers.
    """
    if undrawn.dtype.kind == "f" and undrawn[0].size > 1:
        at = varying(undrawn)
        found = target(id, values[:, at], undrawn[:, at])
        return found and replace(found, spelled=lambda rows: found.spelled(rows[:, at]))
    before = undrawn.reshape(len(undrawn), -1)
    if before.dtype.kind == "f" and len(levels := np.unique(before)) > 2:
        middle = np.median(before)
        cut = middle if (before > middle).any() else levels[-2]
        spelled = partial(_above, cut=cut)
    elif before.shape[1] > 1:  # several ids: whether the most frequent one is among them
        ids, counts = np.unique(before[before >= 0], return_counts=True)
        spelled = partial(_among, one=ids[np.argmax(counts)] if len(ids) else -1)
    else:
        ids, counts = np.unique(before, return_counts=True)
        spelled = partial(_places, kept=np.sort(ids[np.argsort(-counts, kind="stable")][:CLASSES]))
    classes, origin = spelled(values), spelled(before)
    shares = np.bincount(origin, minlength=int(classes.max(initial=0)) + 1) / len(origin)
    return AttackTarget(id, classes, shares, spelled) if np.count_nonzero(shares) > 1 else None


def varying(values: Array) -> int:
    """Which number of a vector [rows, width] is the first that varies; 0 where none does."""
    return int(np.argmax(values.max(axis=0) > values.min(axis=0)))


def _above(values: Array, cut: float) -> NDArray[np.int64]:
    return np.array(values.reshape(-1) > cut, np.int64)


def _among(values: Array, one: int) -> NDArray[np.int64]:
    return np.array((values == one).any(axis=1), np.int64)


def _places(values: Array, kept: Array) -> NDArray[np.int64]:
    """Which of the kept values each is; one more for all others."""
    values = values.reshape(-1)
    place = np.searchsorted(kept, values).clip(max=len(kept) - 1)
    return np.where(kept[place] == values, place, len(kept)).astype(np.int64)
