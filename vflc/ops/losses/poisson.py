"""The negative log-likelihood of counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.loss import LossRule, loss, mean, pair

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def poisson(b: Build, score: Node, label: Node, weight: Node | None = None) -> Node:
    """exp(score) - label·score, of a count and the logarithm of its rate; mean over the batch.

    The rate is `exp(score)`: `predict visits = exp(score) of Visits`. What depends on the label alone is left
    out, as in a generalized linear model's deviance.
    """
    z, y = pair(b, "poisson", score, label)
    return mean(b, "poisson", b.op("sub", b.op("exp", z), b.op("mul", y, z)), weight, score, label)


loss(
    poisson,
    LossRule("poisson", tells="it is the difference of the predicted rate and the label, row by row"),
)
