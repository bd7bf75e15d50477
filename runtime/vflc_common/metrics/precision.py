"""The share of the rows predicted positive that are positive."""

from vflc_common.measure import (
    Metric,
    OfSums,
    guessed,
    guessed_by_class,
    hits,
    mean_share,
    occurs_by_class,
    right_by_class,
    share,
    shares,
)

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
)
