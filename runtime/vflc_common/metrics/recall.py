"""The share of the positive rows that are predicted positive."""

from vflc_common.measure import (
    Metric,
    OfSums,
    hits,
    mean_share,
    occurs_by_class,
    positives,
    right_by_class,
    share,
    shares,
)

METRIC = Metric(
    "recall",
    "share of the positive rows that are predicted positive; for classes, as precision",
    {
        "binary": OfSums((hits, positives), share),
        "multiclass": OfSums(
            (right_by_class, occurs_by_class),
            lambda right, occurs: mean_share(right, occurs, occurs),
            shares,
        ),
    },
)
