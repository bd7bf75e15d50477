"""The mean of -log of the probability of what was true."""

from vflc_common.measure import LEAST, Metric, OfSums, ScoredClassRows, ScoredRows, share, weight
from vflc_common.numpy import np


def surprise(block: ScoredRows | ScoredClassRows) -> float:
    """-log of the probability of what was true, summed."""
    return -float((block.weight * np.log(np.maximum(block.likely, LEAST))).sum())


_MEAN = OfSums((surprise, weight), share)

METRIC = Metric(
    "log_loss",
    "mean of -log of the probability of the true class, which counts as 1e-7 at least",
    {"binary": _MEAN, "multiclass": _MEAN},
    smaller_is_better=True,
)
