"""The expected calibration error (Naeini, Cooper and Hauskrecht, 2015)."""

from __future__ import annotations

from typing import Any

from vflc_common.arrays import Array
from vflc_common.measure import Metric, OfSums, ScoredClassRows, ScoredRows
from vflc_common.numpy import np

BINS = 10


def bins(block: ScoredRows) -> Array:
    """Of each bin of the probability: what was predicted, what was true, and the weight [3, bins]."""
    return _binned(block.prediction, block.truth, block.weight)


def bins_of_guess(block: ScoredClassRows) -> Array:
    """The same of the likeliest class's probability, and whether it was true [3, bins]."""
    return _binned(block.prediction.max(1), block.guess == block.truth, block.weight)


def _binned(probability: Array, truth: Array, weight: Array) -> Array:
    probability = probability.astype(np.float64)
    which = np.clip((probability * BINS).astype(np.int64), 0, BINS - 1)
    parts = (weight * probability, weight * truth, weight)
    return np.stack([np.bincount(which, part, BINS) for part in parts])


def error(bins: Any) -> float | None:
    """The mean difference of what was predicted and what was true, by the weight of the bins."""
    if not np.ndim(bins) or not bins[2].sum() > 0:
        return None
    return float(np.abs(bins[0] - bins[1]).sum() / bins[2].sum())


METRIC = Metric(
    "ece",
    "expected calibration error: in 10 bins of equal width, the difference of the mean probability and the "
    "share of positive rows, by the weight of the bins; for classes, of the likeliest class",
    {"binary": OfSums((bins,), error), "multiclass": OfSums((bins_of_guess,), error)},
    smaller_is_better=True,
    known_as={"calibration calibration_error expected_calibration_error": "write ece"},
)
