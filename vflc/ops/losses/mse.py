"""The squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.loss import LossRule, loss, mean, pair

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def mse(b: Build, prediction: Node, label: Node, weight: Node | None = None) -> Node:
    """The squared difference between prediction and label; mean over the batch."""
    x, y = pair(b, "mse", prediction, label)
    return mean(b, "mse", b.op("square", b.op("sub", x, y)), weight, prediction, label)


loss(
    mse,
    LossRule("mse", tells="it is the difference of prediction and label, row by row"),
)
