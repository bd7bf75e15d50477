"""The loss that learns a quantile (Koenker & Bassett 1978)."""

from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops.loss import LossRule, loss, mean, pair
from vflc.ops.registry import OpError
from vflc.ops.rules import number


def pinball(b: Build, prediction: Node, label: Node, q: float = 0.5, weight: Node | None = None) -> Node:
    """`q` times what the label lies above the prediction, 1 - `q` times what it lies below."""
    if not 0 < q < 1:
        raise OpError(f"pinball with q = {q:g}", "q lies between 0 and 1", "VFL0205")
    x, y = pair(b, "pinball", prediction, label)
    above = b.op("sub", y, x)
    terms = b.op("maximum", b.op("mul", number(b, q), above), b.op("mul", number(b, q - 1), above))
    return mean(b, "pinball", terms, weight, prediction, label)


loss(
    pinball,
    LossRule("pinball", tells="its sign tells on which side of the prediction the label lies, row by row"),
)
