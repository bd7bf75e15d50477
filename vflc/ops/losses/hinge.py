"""The hinge loss of a support vector machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.loss import LossRule, binary_pair, loss, mean
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def hinge(b: Build, score: Node, label: Node, weight: Node | None = None) -> Node:
    """max(0, 1 - s·score), s = 1 for label 1 and -1 for label 0; mean over the batch.

    The sign of the score is the class; `sigmoid` of it ranks rows, and is no calibrated probability.
    """
    z, y = binary_pair(b, "hinge", score, label)
    sign = b.op("sub", b.op("mul", number(b, 2.0), y), number(b, 1.0))
    terms = b.op("relu", b.op("sub", number(b, 1.0), b.op("mul", sign, z)))
    return mean(b, "hinge", terms, weight, score, label)


loss(
    hinge,
    LossRule(
        "hinge",
        tells="where it is not 0, its sign is the label, row by row",
        predicted="binary",
        shares="sigmoid",
        classifies=True,
    ),
)
