"""The area under the ROC curve."""

from __future__ import annotations

from vflc_common.arrays import Array
from vflc_common.measure import Metric, OfRanks
from vflc_common.numpy import np
from vflc_common.ranking import reached

BLOCK = 1 << 20
"""Scores that are looked up at once."""


def auc(scores: Array, positive: Array, weights: Array | None = None) -> float | None:
    """How often a positive outscores a negative, ties counted half; None without rows of both classes.

    Args:
        scores: [rows].
        positive: which of them are positive [rows].
        weights: how much each row counts [rows]; every row as much where None.
    """
    if weights is None:
        above, below = scores[positive], scores[~positive]
        if not len(above) or not len(below):
            return None
        above.sort()
        below.sort()
        wins = 0
        for start in range(0, len(above), BLOCK):  # places in a table are larger than what is in it
            for side in ("left", "right"):
                wins += int(
                    np.searchsorted(below, above[start : start + BLOCK], side=side).sum(dtype=np.int64)
                )
        return wins / (2 * len(above) * len(below))
    found = reached(scores, positive, weights)
    if found is None:
        return None
    hits, misses = found
    before = np.concatenate([[0.0], hits[:-1]])
    area = ((hits + before) / 2 * np.diff(misses, prepend=0.0)).sum()
    return float(area / (hits[-1] * misses[-1]))


def auc_by_class(scores: Array, classes: Array, weights: Array | None = None) -> Array:
    """The area of each class against all others; NaN where no row, or every row, is of the class.

    Args:
        scores: [rows, classes].
        classes: the class of each row [rows].
        weights: how much each row counts [rows]; every row as much where None.
    """
    found = (auc(scores[:, i], classes == i, weights) for i in range(scores.shape[1]))
    return np.array([np.nan if area is None else area for area in found])


def auc_of_classes(scores: Array, classes: Array, weights: Array | None = None) -> float | None:
    """The mean of `auc_by_class` over the classes of which it is defined; None where it is of none.

    Args:
        scores: of each class [n, classes].
        classes: the true class of each row [n].
        weights: how much each row counts [n]; each 1 where None.
    """
    areas = auc_by_class(scores, classes, weights)
    return None if np.isnan(areas).all() else float(np.nanmean(areas))


METRIC = Metric(
    "auc",
    "area under the ROC curve, exact; ties count half; for classes, the mean over each against the others, "
    "and in an evaluation also each class by its name",
    {"binary": OfRanks(auc), "multiclass": OfRanks(auc_of_classes, auc_by_class)},
    known_as={"roc_auc roc_auc_score": "write auc"},
)
