"""The mean cubed distance of a probability from what was true: hard on mistakes that are sure."""

from vflc_common.measure import Metric, OfSums, ScoredRows, share, weight
from vflc_common.numpy import np


def cubes(block: ScoredRows) -> float:
    """Cubed distances, summed; a row counts by its weight."""
    return float((block.weight * np.abs(block.prediction - block.truth) ** 3).sum())


METRIC = Metric(
    name="cubed_error",
    doc="mean cubed distance of a probability from what was true",
    measures={"binary": OfSums(sums=(cubes, weight), result=share)},
    smaller_is_better=True,
)
