"""Annotations of functions' parameters: the lowering of the language checks arguments by them."""

from __future__ import annotations

from collections.abc import Sequence

from vflc.ir.graph import Node

Nodes = Node | Sequence[Node]
WeightNodes = Node | Sequence[Node]
Ints = Sequence[int]
AxisName = str
"""A bare name: an axis, or one of a function's options, as `activation = relu`."""


def flat(values: Sequence[Nodes]) -> list[Node]:
    """The values of arguments of which each is one or a list."""
    nodes: list[Node] = []
    for value in values:
        nodes.extend([value] if isinstance(value, Node) else value)
    return nodes
