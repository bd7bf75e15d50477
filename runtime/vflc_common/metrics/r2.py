"""The share of the labels' variance that is explained."""

from __future__ import annotations

import sys
from typing import Any

from vflc_common.arrays import Array
from vflc_common.measure import Metric, OfSums, Pooled, ScoredRows, squared
from vflc_common.numpy import np

ROUNDING = 16 * sys.float_info.epsilon
"""Relative deviation below which labels are taken for one and the same."""


def _moments(block: ScoredRows) -> Array:
    """Weight, mean, and squared distances from it of the labels [3]."""
    label, weight = block.label.astype(np.float64), block.weight
    whole = weight.sum()
    mean = (weight * label).sum() / whole if whole else 0.0
    return np.array([whole, mean, (weight * np.square(label - mean)).sum()])


def _pool(one: Array, other: Array) -> Array:
    """By the rule of Chan, Golub and LeVeque (1983), which a large mean does not spoil."""
    whole = one[0] + other[0]
    if not whole:
        return one
    apart = other[1] - one[1]
    return np.array([
        whole,
        one[1] + apart * other[0] / whole,
        one[2] + other[2] + apart * apart * one[0] * other[0] / whole,
    ])  # fmt: skip


spread = Pooled(_moments, _pool)


def explained(squares: float, spread: Any) -> float | None:
    """1 minus the squared errors by the squared distances from the mean; None for a constant label."""
    if not np.ndim(spread) or not spread[2] > spread[0] * (ROUNDING * abs(spread[1])) ** 2:
        return None
    return float(1 - squares / spread[2])


METRIC = Metric(
    "r2",
    "coefficient of determination: 1 without an error, 0 for a prediction as good as the labels' mean",
    {"number": OfSums((squared, spread), explained)},
    known_as={"r2_score rsquared r_squared": "write r2"},
)
