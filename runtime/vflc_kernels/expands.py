"""Replaces ONNX's `Expand` of float arrays by our operator of that name, which several threads share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vflc_kernels import DOMAIN
from vflc_kernels.graphs import Kind

if TYPE_CHECKING:
    import onnx

OPERATORS = {1: "Expand", 11: "ExpandDouble"}
"""By the type of elements as ONNX numbers it."""
MOST_AXES = 8
"""Of what our operators take."""


def expands(graph: onnx.GraphProto, kinds: Mapping[str, Kind]) -> list[str]:
    """Replaces in place, and says what, one text a node."""
    from onnx import helper

    texts = list[str]()
    for node in graph.node:
        if node.op_type != "Expand" or node.domain:
            continue
        kind = kinds.get(node.output[0])
        if kind is None or kind.shape is None or kind.element not in OPERATORS or len(kind.shape) > MOST_AXES:
            continue
        operator = OPERATORS[kind.element]
        node.CopyFrom(
            helper.make_node(operator, [*reversed(node.input)], node.output, node.name, domain=DOMAIN)
        )
        texts.append(f"{operator}: Expand")
    return texts
