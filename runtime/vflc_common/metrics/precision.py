"""The share of the rows predicted positive that are positive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc_common.measure import (
    Metric,
    OfSums,
    ScoredClassRows,
    ScoredRows,
    hits,
    mean_share,
    occurs_by_class,
    right_by_class,
    share,
    shares,
)  # fmt: skip
from vflc_common.numpy import np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


def guessed(block: ScoredRows) -> float:
    """Weight of the rows that are held for positive."""
    return float(block.weight[block.guess].sum())


def guessed_by_class(block: ScoredClassRows) -> Array:
    return np.bincount(block.guess, block.weight, block.classes)


METRIC = Metric(
    "precision",
    "share of the rows predicted positive that are positive; for classes, the mean over those that occur, "
    "and in an evaluation also each class by its name",
    {
        "binary": OfSums((hits, guessed), share),
        "multiclass": OfSums(
            (right_by_class, guessed_by_class, occurs_by_class),
            mean_share,
            lambda right, guessed, occurs: shares(right, guessed),
        ),
    },
    known_as={"f1 f1_score": "use precision and recall, of which it is made"},
)
