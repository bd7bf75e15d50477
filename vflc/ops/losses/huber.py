"""The squared error of small errors, the absolute one of large ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.loss import LossRule, loss, mean, pair
from vflc.ops.registry import OpError
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def huber(b: Build, prediction: Node, label: Node, delta: float = 1.0, weight: Node | None = None) -> Node:
    """Half the squared difference up to `delta`, and linear beyond (Huber 1964); mean over the batch."""
    if delta <= 0:
        raise OpError(f"huber with delta = {delta:g}", "delta must be above 0", "VFL0205")
    x, y = pair(b, "huber", prediction, label)
    size = b.op("abs", b.op("sub", x, y))
    near = b.op("mul", number(b, 0.5), b.op("square", size))
    far = b.op("sub", b.op("mul", number(b, delta), size), number(b, 0.5 * delta * delta))
    terms = b.op("where", b.op("less_equal", size, number(b, delta)), near, far)
    return mean(b, "huber", terms, weight, prediction, label)


loss(
    huber,
    LossRule("huber", tells="it tells the difference of prediction and label, row by row"),
)
