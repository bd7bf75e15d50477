"""The area under the ROC curve within groups (Zhu et al., "Deep interest network", 2018)."""

from __future__ import annotations

from vflc_common.measure import GroupedRows, Metric, OfGroups
from vflc_common.numpy import np


def gauc(rows: GroupedRows) -> float | None:
    """The mean over the groups with rows of both classes, each by the weight of its rows; or None."""
    positive = rows.gain > 0.5
    hits = rows.of_ties(np.where(positive, rows.weight, 0.0))
    misses = rows.of_ties(np.where(positive, 0.0, rows.weight))
    all_hits, all_misses = rows.of_groups(hits), rows.of_groups(misses)
    behind = np.append(np.cumsum(misses[::-1])[::-1], 0.0)  # from each tie to the last of all groups
    counts = np.diff(np.append(rows.groups, len(hits)))
    after_group = np.repeat(behind[np.append(rows.groups[1:], len(hits))], counts)
    lost_to = behind[1:] - after_group + misses / 2
    both = (all_hits > 0) & (all_misses > 0)
    if not both.any():
        return None
    areas = rows.of_groups(hits * lost_to)[both] / (all_hits * all_misses)[both]
    weights = (all_hits + all_misses)[both]
    return float((areas * weights).sum() / weights.sum())


METRIC = Metric(
    "gauc",
    "area under the ROC curve within each group, averaged by the weight of the groups' rows; groups with "
    "rows of one class do not count",
    {"binary": OfGroups(gauc)},
    known_as={"group_auc": "write gauc by UserID"},
)
