"""The share of rows that are guessed right."""

from vflc_common.measure import Metric, OfSums, right, share, weight

_SHARE = OfSums((right, weight), share)

METRIC = Metric(
    "accuracy",
    "share of rows that are predicted correctly; a binary row is predicted positive above 0.5",
    {"binary": _SHARE, "multiclass": _SHARE},
    known_as={"acc binary_accuracy": "write accuracy"},
)
