"""How well scores put the rows of one class before those of the other, exactly: no thresholds are chosen."""

from __future__ import annotations

from vflc_common.arrays import Array
from vflc_common.numpy import np


def reached(
    scores: Array, positive: Array, weights: Array | None, negatives: bool = True
) -> tuple[Array, Array] | None:
    """Weight of the positives and of the negatives that reach each score, from the highest one down.

    Both are float64 [distinct scores], from scores [n], which rows are positive, bool [n], and how much each
    counts [n]; None where there are no positives or, with `negatives`, no negatives.
    """
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    weights = np.ones(len(scores)) if weights is None else weights[order].astype(np.float64)
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.arange(0)
    hits = np.cumsum(np.where(positive, weights, 0.0))[last]
    misses = np.cumsum(np.where(positive, 0.0, weights))[last]
    if not len(hits) or hits[-1] <= 0 or (negatives and misses[-1] <= 0):
        return None
    return hits, misses
