"""The root of the mean squared error."""

from __future__ import annotations

import math

from vflc_common.measure import Metric, OfSums, squared, weight

_ROOT = OfSums((squared, weight), lambda squares, whole: math.sqrt(squares / whole) if whole else None)

METRIC = Metric(
    "rmse",
    "root of the mean squared error, in the units of the table",
    {"binary": _ROOT, "number": _ROOT},
    smaller_is_better=True,
    known_as={"mse": "write rmse, its root"},
)
