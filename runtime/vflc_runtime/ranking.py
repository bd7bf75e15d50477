"""How well scores put the rows of one class before those of the other, exactly: no thresholds are chosen.

Each takes the scores, which rows are positive, and how much each row counts (every row as much
where None), and gives None where there are no rows of a class that it needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def auc(scores: Array, positive: Array, weights: Array | None = None) -> float | None:
    """Area under the ROC curve: how often a positive outscores a negative, ties counted half."""
    if weights is None:
        above, below = np.sort(scores[positive]), np.sort(scores[~positive])
        if not len(above) or not len(below):
            return None
        wins = np.searchsorted(below, above, side="left").sum(dtype=np.int64)
        not_lost = np.searchsorted(below, above, side="right").sum(dtype=np.int64)
        return int(wins + not_lost) / (2 * len(above) * len(below))
    found = _steps(scores, positive, weights)
    if found is None:
        return None
    hits, misses = found
    before = np.concatenate([[0.0], hits[:-1]])
    area = ((hits + before) / 2 * np.diff(misses, prepend=0.0)).sum()
    return float(area / (hits[-1] * misses[-1]))


def pr_auc(scores: Array, positive: Array, weights: Array | None = None) -> float | None:
    """Average precision: the precision at each score, times the recall that it adds."""
    found = _steps(scores, positive, _counts(scores, weights), negatives=False)
    if found is None:
        return None
    hits, misses = found
    gained = np.diff(hits, prepend=0.0)
    at = gained > 0
    return float((gained[at] * hits[at] / (hits[at] + misses[at])).sum() / hits[-1])


def ks(scores: Array, positive: Array, weights: Array | None = None) -> float | None:
    """Kolmogorov and Smirnov's statistic: the largest distance between the shares of positives and
    of negatives that reach a score."""
    found = _steps(scores, positive, _counts(scores, weights))
    if found is None:
        return None
    hits, misses = found
    return float(np.abs(hits / hits[-1] - misses / misses[-1]).max())


def _counts(scores: Array, weights: Array | None) -> Array:
    return np.ones(len(scores)) if weights is None else weights


def _steps(
    scores: Array, positive: Array, weights: Array, negatives: bool = True
) -> tuple[Array, Array] | None:
    """Weight of the positives and of the negatives that reach each score, from the highest one down."""
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    weights = weights[order].astype(np.float64)
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.arange(0)
    hits = np.cumsum(np.where(positive, weights, 0.0))[last]
    misses = np.cumsum(np.where(positive, 0.0, weights))[last]
    if not len(hits) or hits[-1] <= 0 or (negatives and misses[-1] <= 0):
        return None
    return hits, misses
