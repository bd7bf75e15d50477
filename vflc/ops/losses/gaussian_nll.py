"""The negative log-likelihood of a normal distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.loss import LossRule, loss, mean, pair
from vflc.ops.registry import OpError
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

LEAST = 1e-6
"""What a variance counts as at least."""


def gaussian_nll(b: Build, prediction: Node, variance: Node, label: Node, weight: Node | None = None) -> Node:
    """(log(`variance`) + (label - prediction)² / `variance`) / 2; mean over the batch.

    The variance is learned as well, `softplus(dense(h, 1))` say, and counts as 1e-6 at least (Nix and
    Weigend, "Estimating the mean and variance of the target probability distribution", 1994).
    """
    x, y = pair(b, "gaussian_nll", prediction, label)
    v, _ = pair(b, "gaussian_nll", variance, prediction)
    if v.type.sizes != x.type.sizes:
        raise OpError(f"gaussian_nll of a prediction {x.type} and a variance {v.type}", "give both one shape")
    v = b.op("maximum", v, number(b, LEAST))
    squares = b.op("div", b.op("square", b.op("sub", x, y)), v)
    terms = b.op("mul", number(b, 0.5), b.op("add", b.op("log", v), squares))
    return mean(b, "gaussian_nll", terms, weight, prediction, label)


loss(
    gaussian_nll,
    LossRule(
        "gaussian_nll", tells="it is the difference of prediction and label over the variance, row by row"
    ),
)
