"""The mean of errors relative to what was true."""

from vflc_common.measure import Metric, OfSums, ScoredRows, share
from vflc_common.numpy import np


def relative(block: ScoredRows) -> float:
    """Sizes of the errors as shares of the labels', summed over labels that are not 0."""
    at = block.label != 0
    return float((block.weight[at] * np.abs(block.error[at] / block.label[at].astype(np.float64))).sum())


def not_zero(block: ScoredRows) -> float:
    """Weight of the rows whose label is not 0."""
    return float(block.weight[block.label != 0].sum())


METRIC = Metric(
    "mape",
    "mean absolute error as a share of the label (0.1 is a tenth); rows whose label is 0 do not count",
    {"number": OfSums((relative, not_zero), share)},
    smaller_is_better=True,
    known_as={"mean_absolute_percentage_error": "write mape, which is a share, not a percentage"},
)
