"""Gini's coefficient of a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc_common.arrays import Array
from vflc_common.measure import Metric, OfRanks
from vflc_common.metrics.auc import auc

if TYPE_CHECKING:
    pass


def gini(scores: Array, positive: Array, weights: Array | None = None) -> float | None:
    """Twice the area under the ROC curve, minus 1; arguments [n] as those of `auc`."""
    area = auc(scores, positive, weights)
    return None if area is None else 2 * area - 1


METRIC = Metric(
    "gini",
    "2 auc - 1: 0 for a score that tells nothing, 1 for one without a mistake",
    {"binary": OfRanks(gini)},
    known_as={"somers_d": "write gini"},
)
