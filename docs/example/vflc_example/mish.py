"""Mish (Misra 2019)."""

from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops.registry import function


@function
def mish(b: Build, x: Node) -> Node:
    """x · tanh(softplus(x))."""
    return b.op("mul", x, b.op("tanh", b.op("softplus", x)))
