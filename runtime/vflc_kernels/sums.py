"""Replaces sums along an axis that is not the last by our operator `SumAxis`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vflc_kernels import DOMAIN
from vflc_kernels.graphs import Kind

if TYPE_CHECKING:
    import onnx

OPERATORS = {1: "SumAxis", 11: "SumAxisDouble"}
"""By the type of elements as ONNX numbers it."""


def sums(graph: onnx.GraphProto, kinds: Mapping[str, Kind]) -> list[str]:
    """Replaces in place, and says what, one text a node.

    Sums of whole rows stay as they are: onnxruntime is good at them. So do those over the first axis, the
    rows of a batch, which nothing could share out.
    """
    from onnx import helper

    axes = {each.name: each for each in graph.initializer}
    texts = list[str]()
    for node in graph.node:
        kind = kinds.get(node.input[0]) if node.input else None
        if node.op_type != "ReduceSum" or node.domain or len(node.input) != 2 or kind is None:
            continue
        axis = _one_axis(axes.get(node.input[1]), kind)
        if axis is None or not 0 < axis < len(kind.shape or ()) - 1 or kind.element not in OPERATORS:
            continue
        keep = next((each.i for each in node.attribute if each.name == "keepdims"), 1)
        made = helper.make_node(
            OPERATORS[kind.element], node.input[:1], node.output, node.name, domain=DOMAIN,
            axis=axis, keep=keep,
        )  # fmt: skip
        node.CopyFrom(made)
        texts.append(f"{made.op_type}: ReduceSum")
    return texts


def _one_axis(axes: onnx.TensorProto | None, kind: Kind) -> int | None:
    """The axis that a sum is along, counted from the front; None where it is not known or not one."""
    from onnx import numpy_helper

    if axes is None or kind.shape is None:
        return None
    found = numpy_helper.to_array(axes).reshape(-1).tolist()
    return int(found[0]) % len(kind.shape) if len(found) == 1 and kind.shape else None
