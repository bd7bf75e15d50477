"""The loss whose minimum is a quantile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.loss import LossRule, loss, mean, pair
from vflc.ops.registry import OpError
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def quantile(b: Build, prediction: Node, label: Node, q: float = 0.5, weight: Node | None = None) -> Node:
    """`q` times what a prediction lacks, or 1 - `q` times what it has too much; mean over the batch.

    Its minimum is the `q`-quantile of the label (Koenker and Bassett, "Regression quantiles", 1978).
    """
    if not 0 < q < 1:
        help = "q must be between 0 and 1: q = 0.9 for the 90th percentile"
        raise OpError(f"quantile with q = {q:g}", help, "VFL0205")
    x, y = pair(b, "quantile", prediction, label)
    lacks = b.op("sub", y, x)
    terms = b.op("maximum", b.op("mul", number(b, q), lacks), b.op("mul", number(b, q - 1), lacks))
    return mean(b, "quantile", terms, weight, prediction, label)


loss(
    quantile,
    LossRule("quantile", tells="its sign tells on which side of the prediction the label lies, row by row"),
)
