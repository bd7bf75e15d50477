"""Whether the products that are left to onnxruntime of a graph are to be shared out by threads of its own."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from vflc_kernels.graphs import SIZES, Kind, Shape

if TYPE_CHECKING:
    import onnx

LIGHT = 4096
"""Products with fewer multiplications a row are a small part of any step."""
READ = 8
"""So many multiplications take as long as reading a number from memory."""
AT_ONCE = 128
"""Longer sums of products are cut where it depends on the share of the columns that a thread has."""


def shared_by_onnxruntime(graph: onnx.GraphProto, kinds: Mapping[str, Kind]) -> bool:
    """Whether products are left to onnxruntime that take long, and are the same for every number of threads.

    Its other operators move numbers: waking a second thread costs what it saves there.

    Args:
        graph: with our operators, if there are any.
        kinds: of its values, as far as they are known.
    """
    products = [node for node in graph.node if node.op_type in ("Gemm", "MatMul") and not node.domain]
    shapes = [_shapes(node, kinds) for node in products]
    if not all(map(_steady, products, shapes)):
        return False
    return any(_multiplications(*each) >= LIGHT for each in shapes)


def _shapes(node: onnx.NodeProto, kinds: Mapping[str, Kind]) -> tuple[Shape, Shape, Shape]:
    """Of a product's factors and result; empty where they are not known."""
    left, right, made = (kinds.get(name) for name in (*node.input[:2], node.output[0]))
    return tuple((each and each.shape) or () for each in (left, right, made))  # type: ignore[return-value]


def _steady(node: onnx.NodeProto, shapes: tuple[Shape, Shape, Shape]) -> bool:
    """Whether no bit of a product depends on how many threads share it out, as far as shapes tell.

    Sums go over the rows of both factors where the left one is turned, and are then cut alike. A single
    column is shared out by rows, of which the last few of a thread are added up in another order.
    """
    if any(each.name == "transA" and each.i for each in node.attribute):
        return True
    left, _, made = shapes
    return len(left) > 1 and len(made) > 1 and left[-1] <= AT_ONCE and made[-1] > 1


def _multiplications(left: Shape, right: Shape, made: Shape) -> float:
    """What a product takes for each row of a batch; without end where that is not known."""
    if not (left and right and made):
        return float("inf")
    read = max(prod(left), prod(right), prod(made))
    return max(prod(left) * made[-1], READ * read) / SIZES[0]
