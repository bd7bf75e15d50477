"""The mean absolute error."""

from vflc_common.measure import Metric, OfSums, ScoredRows, share, weight
from vflc_common.numpy import np


def absolute(block: ScoredRows) -> float:
    """Sizes of the errors, summed."""
    return float((block.weight * np.abs(block.error)).sum())


_MEAN = OfSums((absolute, weight), share)

METRIC = Metric(
    "mae",
    "mean absolute error, in the units of the table",
    {"binary": _MEAN, "number": _MEAN},
    smaller_is_better=True,
)
