"""Rows by group and score: what metrics of the order within groups are computed of."""

from __future__ import annotations

from vflc_common.arrays import Array
from vflc_common.measure import GroupedRows
from vflc_common.numpy import np


def grouped(scores: Array, gain: Array, weight: Array | None, group: Array) -> GroupedRows | None:
    """The rows sorted; None where none counts.

    Args:
        scores: [n].
        gain: what each row is worth [n]; less than 0 is worth 0.
        weight: how much each row counts [n]; every row as much where None.
        group: a number for each row, alike within a group [n].
    """
    weight = np.ones(len(scores)) if weight is None else weight
    counts = weight > 0
    scores, gain, weight, group = (each[counts] for each in (scores, gain, weight, group))
    if not len(scores):
        return None
    order = np.lexsort((-scores, group))
    scores, gain, weight, group = (each[order] for each in (scores, gain, weight, group))
    new_group = np.append(True, group[1:] != group[:-1])
    new_tie = new_group | np.append(True, scores[1:] != scores[:-1])
    ties = np.flatnonzero(new_tie)
    first = np.flatnonzero(new_group)  # the row that each group starts with
    groups = np.searchsorted(ties, first)
    sizes = np.diff(np.append(ties, len(scores)))
    rank = ties - np.repeat(first, np.diff(np.append(groups, len(ties))))
    return GroupedRows(np.maximum(gain.astype(np.float64), 0), weight, ties, rank, sizes, groups)


def first_hits(rows: GroupedRows) -> tuple[Array, Array, Array, Array]:
    """Of each group with a positive row, the first tie that has one.

    Returns four arrays: which groups have one, bool [groups], and of each of those the rank of the tie, its
    size, and how many of its rows are positive.
    """
    positive = rows.of_ties((rows.gain > 0).astype(np.int64))
    has = rows.of_groups(positive) > 0
    at = np.flatnonzero(positive)
    which = np.searchsorted(rows.groups, at, side="right") - 1  # the group of each tie with a positive row
    first = at[np.append(True, which[1:] != which[:-1])] if len(at) else at
    return has, rows.rank[first], rows.size[first], positive[first]
