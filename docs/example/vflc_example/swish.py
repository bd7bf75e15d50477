"""Swish (Ramachandran, Zoph & Le 2017)."""

from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops.registry import function


@function
def swish(b: Build, x: Node) -> Node:
    """x · sigmoid(x)."""
    return b.op("mul", x, b.op("sigmoid", x))
