"""Brier's score: the mean squared distance of a probability from what was true (1950)."""

from vflc_common.measure import Block, Metric, OfSums, share, weight


def squares(block: Block) -> float:
    """Squared distances, summed; a row counts by its weight."""
    return float((block.weight * (block.prediction - block.truth) ** 2).sum())


METRIC = Metric(
    name="brier",
    doc="mean squared distance of a probability from what was true",
    measures={"binary": OfSums(sums=(squares, weight), result=share)},
    smaller_is_better=True,
)
