"""What comes of predicting positive above each of several thresholds."""

from __future__ import annotations

from vflc_common.arrays import Array
from vflc_common.encoder import is_whole
from vflc_common.measure import Metric, MetricParameter, OfTable, share
from vflc_common.numpy import np

MOST = 1000
"""Thresholds that a table may have."""


def thresholds(
    scores: Array, positive: Array, weights: Array | None, count: float
) -> dict[str, float | None]:
    """Of each threshold 0, 1 / `count`, …: the share of rows above it, precision, recall and F1.

    Arguments [n] as those of `auc`. What is not defined is None: precision where no row is above.
    """
    weights = np.ones(len(scores)) if weights is None else weights
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    from_top = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
    hits_from_top = np.append(np.cumsum((weights * positive)[order][::-1])[::-1], 0.0)
    found: dict[str, float | None] = {}
    for i in range(int(count)):
        at = i / int(count)
        first = int(np.searchsorted(ordered, ordered.dtype.type(at), side="right"))
        flagged, hits = float(from_top[first]), float(hits_from_top[first])
        rows, positives = float(from_top[0]), float(hits_from_top[0])
        found[f"share at {at:.4g}"] = share(flagged, rows)
        found[f"precision at {at:.4g}"] = share(hits, flagged)
        found[f"recall at {at:.4g}"] = share(hits, positives)
        found[f"f1 at {at:.4g}"] = share(2 * hits, flagged + positives)
    return found


METRIC = Metric(
    "thresholds",
    "a table, in an evaluation alone: of so many thresholds, evenly from 0, the share of the rows above it, "
    "and precision, recall and F1 where those are predicted positive",
    {"binary": OfTable(thresholds)},
    parameter=MetricParameter(
        f"a number of thresholds, from 1 to {MOST:,}",
        lambda v: float(v).is_integer() and is_whole(int(v), 1, MOST),
        20,
    ),
)
