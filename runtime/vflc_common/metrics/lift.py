"""How much denser positive rows lie among those with the highest scores."""

from __future__ import annotations

from vflc_common.arrays import Array
from vflc_common.measure import Metric, MetricParameter, OfRanks
from vflc_common.numpy import np
from vflc_common.ranking import reached


def lift(scores: Array, positive: Array, weights: Array | None, part: float) -> float | None:
    """The share of positives among the top `part` of the rows, by their share among all; or None.

    Arguments [n] as those of `auc`. Of rows with one score at the border, each counts in part.
    """
    found = reached(scores, positive, weights, negatives=False)
    if found is None:
        return None
    hits, misses = (np.append(0.0, each) for each in found)
    rows = hits + misses
    caught = np.interp(part * rows[-1], rows, hits)
    return float(caught / (part * hits[-1]))


METRIC = Metric(
    "lift",
    "share of positive rows among the part of the rows with the highest scores, divided by their share among "
    "all; rows that are tied at the border count in part",
    {"binary": OfRanks(lift)},
    parameter=MetricParameter("a part of the rows, above 0 and at most 1", lambda v: 0 < v <= 1, 0.1),
)
