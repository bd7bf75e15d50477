"""The Brier score (Brier, "Verification of forecasts expressed in terms of probability", 1950)."""

from vflc_common.measure import Metric, OfSums, ScoredClassRows, share, squared, weight
from vflc_common.numpy import np


def squared_shares(block: ScoredClassRows) -> float:
    """Squared distances of the probabilities from what was true, summed over classes and rows."""
    apart = block.prediction.astype(np.float64) - block.shares
    return float((block.weight * np.square(apart).sum(1)).sum())


METRIC = Metric(
    "brier",
    "mean squared difference of the probability from what was true, 0 or 1; for classes, summed over them",
    {"binary": OfSums((squared, weight), share), "multiclass": OfSums((squared_shares, weight), share)},
    smaller_is_better=True,
    known_as={"brier_score brier_score_loss": "write brier"},
)
