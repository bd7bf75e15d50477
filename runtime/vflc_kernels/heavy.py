"""Whether what is left to onnxruntime of a graph is worth threads of its own."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from vflc_kernels.graphs import SIZES, Kind

if TYPE_CHECKING:
    import onnx

LIGHT = 4096
"""Products with fewer multiplications a row are a small part of any step."""
READ = 8
"""So many multiplications take as long as reading a number from memory."""


def heavy(graph: onnx.GraphProto, kinds: Mapping[str, Kind]) -> bool:
    """Whether products are left to onnxruntime that take long.

    Its other operators move numbers: waking a second thread costs what it saves there.

    Args:
        graph: with our operators.
        kinds: of its values, as far as they are known.
    """
    products = [node for node in graph.node if node.op_type in ("Gemm", "MatMul") and not node.domain]
    return any(_multiplications(node, kinds) >= LIGHT for node in products)


def _multiplications(node: onnx.NodeProto, kinds: Mapping[str, Kind]) -> float:
    """What a product takes for each row of a batch; without end where that is not known."""
    shapes = [each.shape for name in (*node.input[:2], node.output[0]) if (each := kinds.get(name))]
    if len(shapes) < 3 or None in shapes:
        return float("inf")
    left, right, made = (shape or () for shape in shapes)
    read = max(prod(left), prod(right), prod(made))
    return max(prod(left) * (made[-1] if made else 1), READ * read) / SIZES[0]
