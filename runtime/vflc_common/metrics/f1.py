"""The harmonic mean of precision and recall."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc_common.arrays import Array
from vflc_common.measure import (
    Metric,
    OfSums,
    guessed,
    guessed_by_class,
    hits,
    mean_share,
    occurs_by_class,
    positives,
    right_by_class,
    share,
    shares,
)

if TYPE_CHECKING:
    pass


def _by_class(right: Array, guessed: Array, occurs: Array) -> Array:
    return shares(2 * right, guessed + occurs)


METRIC = Metric(
    "f1",
    "harmonic mean of precision and recall, a binary row predicted positive above 0.5; for classes, the mean "
    "over those that occur, and in an evaluation also each class by its name",
    {
        "binary": OfSums(
            (hits, guessed, positives), lambda hits, guessed, positives: share(2 * hits, guessed + positives)
        ),
        "multiclass": OfSums(
            (right_by_class, guessed_by_class, occurs_by_class),
            lambda right, guessed, occurs: mean_share(2 * right, guessed + occurs, occurs),
            _by_class,
        ),
    },
    known_as={"f1_score fscore": "write f1"},
)
