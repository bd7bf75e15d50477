"""The absolute error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.loss import LossRule, loss, mean, pair

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def mae(b: Build, prediction: Node, label: Node, weight: Node | None = None) -> Node:
    """The absolute difference between prediction and label; mean over the batch."""
    x, y = pair(b, "mae", prediction, label)
    return mean(b, "mae", b.op("abs", b.op("sub", x, y)), weight, prediction, label)


loss(
    mae,
    LossRule("mae", tells="its sign tells on which side of the prediction the label lies, row by row"),
)
