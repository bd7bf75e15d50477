"""The loss that learns an expectile (Newey & Powell 1987)."""

from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops.loss import LossRule, loss, mean, pair
from vflc.ops.registry import OpError
from vflc.ops.rules import number


def expectile(b: Build, prediction: Node, label: Node, q: float = 0.5, weight: Node | None = None) -> Node:
    """`q` times the square of what the label lies above the prediction, 1 - `q` times that of below."""
    if not 0 < q < 1:
        raise OpError(f"expectile with q = {q:g}", "q lies between 0 and 1", "VFL0205")
    x, y = pair(b, "expectile", prediction, label)
    above, below = (b.op("square", b.op("relu", b.op("sub", *each))) for each in ((y, x), (x, y)))
    terms = b.op("add", b.op("mul", number(b, q), above), b.op("mul", number(b, 1 - q), below))
    return mean(b, "expectile", terms, weight, prediction, label)


loss(
    expectile,
    LossRule("expectile", tells="its sign tells on which side of the prediction the label lies, row by row"),
)
