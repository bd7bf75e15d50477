"""The share of the predictions that are near the rating."""

from vflc_common.measure import Metric, OfSums, ScoredRows, share, weight
from vflc_common.numpy import np

NEAR = 0.5
"""How far a rating may be off and still be told from its neighbours."""


def near(block: ScoredRows) -> float:
    """Weight of the rows that are near."""
    return float(block.weight[np.abs(block.error) <= NEAR].sum())


METRIC = Metric(
    "rating_accuracy",
    "share of predictions that are off by at most 0.5",
    {"number": OfSums((near, weight), share)},
)
