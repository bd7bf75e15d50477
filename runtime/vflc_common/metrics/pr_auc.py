"""Average precision."""

from __future__ import annotations

from vflc_common.arrays import Array
from vflc_common.measure import Metric, OfRanks
from vflc_common.numpy import np
from vflc_common.ranking import reached


def pr_auc(scores: Array, positive: Array, weights: Array | None = None) -> float | None:
    """The precision at each score, times the recall that it adds; arguments [n] as those of `auc`.

    None without positive rows.
    """
    found = reached(scores, positive, weights, negatives=False)
    if found is None:
        return None
    hits, misses = found
    gained = np.diff(hits, prepend=0.0)
    at = gained > 0
    return float((gained[at] * hits[at] / (hits[at] + misses[at])).sum() / hits[-1])


METRIC = Metric(
    "pr_auc",
    "average precision: the precision at each score times the recall that it adds",
    {"binary": OfRanks(pr_auc)},
    known_as={"average_precision prauc auc_pr aucpr": "write pr_auc"},
)
