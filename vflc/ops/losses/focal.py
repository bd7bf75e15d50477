"""Binary cross-entropy in which rows that are predicted well count little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.loss import LossRule, binary_pair, loss, mean
from vflc.ops.registry import OpError
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def focal(
    b: Build,
    logit: Node,
    label: Node,
    gamma: float = 2.0,
    alpha: float | None = None,
    weight: Node | None = None,
) -> Node:
    """Binary cross-entropy times (1 - p)^`gamma`, p the probability of what is true; mean over the batch.

    `alpha` weighs the rows of label 1, and 1 - `alpha` the others (Lin et al., "Focal loss for dense object
    detection", 2017).
    """
    if gamma < 0:
        raise OpError(f"focal with gamma = {gamma:g}", "gamma must be 0 or more", "VFL0205")
    if alpha is not None and not 0 < alpha < 1:
        raise OpError(f"focal with alpha = {alpha:g}", "alpha must be between 0 and 1", "VFL0205")
    z, y = binary_pair(b, "focal", logit, label)
    costs = b.op("softplus", b.op("neg", z)), b.op("softplus", z)  # -log p and -log (1 - p)
    ones, zeros = (
        b.op("mul", b.op("exp", b.op("mul", number(b, -gamma), other)), cost)
        for cost, other in (costs, costs[::-1])
    )
    if alpha is not None:
        ones, zeros = b.op("mul", number(b, alpha), ones), b.op("mul", number(b, 1 - alpha), zeros)
    terms = b.op("add", b.op("mul", y, ones), b.op("mul", b.op("sub", number(b, 1.0), y), zeros))
    return mean(b, "focal", terms, weight, logit, label)


loss(
    focal,
    LossRule(
        "focal",
        tells="its sign is the label, row by row",
        predicted="binary",
        shares="sigmoid",
        classifies=True,
    ),
)
