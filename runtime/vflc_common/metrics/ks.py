"""Kolmogorov and Smirnov's statistic."""

from __future__ import annotations

from vflc_common.arrays import Array
from vflc_common.measure import Metric, OfRanks
from vflc_common.numpy import np
from vflc_common.ranking import reached


def ks(scores: Array, positive: Array, weights: Array | None = None) -> float | None:
    """The largest distance between the shares of positives and of negatives that reach a score.

    Arguments [n] as those of `auc`; None without rows of both classes.
    """
    found = reached(scores, positive, weights)
    if found is None:
        return None
    hits, misses = found
    return float(np.abs(hits / hits[-1] - misses / misses[-1]).max())


METRIC = Metric(
    "ks",
    "largest difference between the shares of positives and of negatives above a score",
    {"binary": OfRanks(ks)},
)
