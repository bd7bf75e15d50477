"""Brier's score: the mean squared distance of a probability from what was true (1950)."""

from vflc_common.measure import Metric, OfSums, ScoredRows, share, weight


def squares(block: ScoredRows) -> float:
    """Squared distances, summed; a row counts by its weight."""
    return float((block.weight * (block.prediction - block.truth) ** 2).sum())


METRIC = Metric(
    name="brier",
    doc="mean squared distance of a probability from what was true",
    measures={"binary": OfSums(sums=(squares, weight), result=share)},
    smaller_is_better=True,
)
