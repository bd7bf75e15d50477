"""The mean reciprocal rank."""

from __future__ import annotations

from vflc_common.grouping import first_hits
from vflc_common.measure import GroupedRows, Metric, OfGroups
from vflc_common.numpy import np


def _expected(rank: int, size: int, positive: int) -> float:
    """1 / rank of the first positive row of a tie, over all orders of the tie."""
    place = np.arange(size - positive + 1)  # rows of the tie before the first positive one
    gone = np.append(1.0, np.cumprod((size - positive - place[:-1]) / (size - place[:-1])))
    return float((gone * positive / (size - place) / (rank + place + 1)).sum())


def mrr(rows: GroupedRows) -> float | None:
    """The mean over the groups with a positive row; None where there is none."""
    has, rank, size, positive = first_hits(rows)
    values = 1 / (rank + 1.0)
    for i in np.flatnonzero(size > positive):
        values[i] = _expected(int(rank[i]), int(size[i]), int(positive[i]))
    found = np.zeros(len(has))
    found[has] = values
    return rows.counted(found, has)


METRIC = Metric(
    "mrr",
    "mean of 1 / rank of the first positive row of each group; groups without one do not count",
    {"binary": OfGroups(mrr)},
    known_as={"mean_reciprocal_rank": "write mrr by UserID"},
)
