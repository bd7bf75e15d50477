"""Whether a group has a positive row among its first."""

from __future__ import annotations

from math import comb

from vflc_common.grouping import first_hits
from vflc_common.measure import FIRST, GroupedRows, Metric, OfGroups
from vflc_common.numpy import np


def hit_rate(rows: GroupedRows, first: float) -> float | None:
    """The share of the groups with a positive row that have one among the first; or None."""
    has, rank, size, positive = first_hits(rows)
    hits = (rank + size <= first).astype(np.float64)
    for i in np.flatnonzero((rank < first) & (rank + size > first)):  # a tie is cut
        taken, tied = int(first) - int(rank[i]), int(size[i])
        hits[i] = 1 - comb(tied - int(positive[i]), taken) / comb(tied, taken)
    found = np.zeros(len(has))
    found[has] = hits
    return rows.counted(found, has)


METRIC = Metric(
    "hit_rate",
    "share of the groups that have a positive row among their first; groups without one do not count",
    {"binary": OfGroups(hit_rate)},
    parameter=FIRST,
    known_as={"hitrate hit_at_k hr recall_at_k": "write hit_rate(10) by UserID"},
)
