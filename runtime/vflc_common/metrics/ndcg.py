"""Normalised discounted cumulative gain (Järvelin and Kekäläinen, 2002)."""

from __future__ import annotations

from vflc_common.arrays import Array
from vflc_common.measure import FIRST, GroupedRows, Metric, OfGroups
from vflc_common.numpy import np


def _discounts(most: int, first: float) -> Array:
    """Discounts of the first 0, 1, … rows of a group, summed up [most + 1]."""
    rank = np.arange(most)
    return np.append(0.0, np.cumsum(np.where(rank < first, 1 / np.log2(rank + 2), 0.0)))


def ndcg(rows: GroupedRows, first: float) -> float | None:
    """The mean over the groups that are worth anything; None where none is."""
    counts = rows.of_groups(rows.size)
    upto = _discounts(int(counts.max()), first)
    worth = rows.of_ties(rows.gain) / rows.size
    reached = rows.of_groups(worth * (upto[rows.rank + rows.size] - upto[rows.rank]))
    group = np.repeat(np.arange(len(counts)), counts)
    ideal = rows.gain[np.lexsort((-rows.gain, group))]
    starts = np.append(0, np.cumsum(counts)[:-1])
    place = np.arange(len(group)) - np.repeat(starts, counts)
    best = np.add.reduceat(ideal * np.diff(upto)[place], starts)
    at = best > 0
    return rows.counted(np.divide(reached, best, out=np.zeros(len(best)), where=at), at)


METRIC = Metric(
    "ndcg",
    "normalised discounted cumulative gain of the first rows of each group: a row is worth its label, "
    "divided by log2(rank + 1); groups that are worth nothing do not count",
    {"binary": OfGroups(ndcg), "number": OfGroups(ndcg)},
    parameter=FIRST,
    known_as={"ndcg_score": "write ndcg(10) by UserID"},
)
