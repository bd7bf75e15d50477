"""Where the gradients of a model jump, as a graph of what their comparisons compare.

Gradients are made of the graph's own ops, so wherever one jumps, as that of ReLU at 0, there is a
comparison, a sign or a rounding in the training graph.
"""

from __future__ import annotations

from typing import Any

from vflc.emit.onnx.subgraph import to_onnx
from vflc.ir.graph import Graph, Node
from vflc.ir.outside import OP
from vflc.ir.stages import Scheduled
from vflc.ir.types import BATCH
from vflc.ops import OPS
from vflc.ops.source import FED, INPUTS


def non_smooth_points(model: Scheduled, precision: str) -> dict[str, Any] | None:
    """What decides gradients, row by row; None where nothing does.

    Args:
        model: scheduled, at one place, its tables not fused.
        precision: of the graph.

    Returns:
        `model`, the graph; its inputs by name: `weights`, `inputs` (columns) and `randoms` with their
        shapes, and `outside`, values that files of other tools give, in order; and `pairs` of outputs
        that are compared, the second of which may be a number.
    """
    graph = model.graph
    needed = graph.ancestors(model.roots("train"))
    pairs = tuple(dict.fromkeys(pair for node in graph if node.id in needed for pair in _pairs(graph, node)))
    outputs = list(dict.fromkeys(name for pair in pairs for name in pair if isinstance(name, str)))
    if not outputs:
        return None
    inside = graph.ancestors(outputs)
    fed = [node for node in graph if node.id in inside and node.op in INPUTS]
    nodes = [node.id for node in graph if node.id in inside and node.op not in INPUTS | {"constant"}]
    outside = [node for node in graph if node.id in inside and node.op == OP]
    content = to_onnx(graph, "non_smooth", nodes, [node.id for node in fed], outputs, precision)
    return {
        "model": content,
        "weights": tuple(node.id for node in fed if node.op == "weight"),
        "inputs": tuple(node.id for node in fed if node.op in FED),
        "randoms": {node.id: _shape(node) for node in fed if node.op == "random"},
        "outside": [_before(graph, node, precision) for node in outside],
        "pairs": pairs,
    }


def _before(graph: Graph, node: Node, precision: str) -> dict[str, Any]:
    """What gives a value that a file of another tool gives: the file, and a graph for what it reads."""
    made = list(dict.fromkeys(name for name in node.inputs if graph[name].op not in INPUTS | {"constant"}))
    inside = graph.ancestors(made)
    fed = [each.id for each in graph if each.id in inside and each.op in INPUTS]
    nodes = [each.id for each in graph if each.id in inside and each.op not in INPUTS | {"constant"}]
    return {
        "name": node.id,
        "model": to_onnx(graph, "before", nodes, fed, made, precision) if made else None,
        "fed": tuple(fed),
        "inputs": node.inputs,
        "content": node.attrs["model"].content,
        "output": node.attrs["output"],
    }


def _shape(node: Node) -> tuple[int | None, ...]:
    return tuple(None if axis.name == BATCH else axis.size for axis in node.type.axes)


def _pairs(graph: Graph, node: Node) -> list[tuple[str, str | float]]:
    """What a node compares where rounding can decide: computed numbers, a row at a time."""
    if not OPS[node.op].jumps or not node.type.batched:
        return []
    first, *rest = graph.inputs(node)
    second = rest[0] if rest else None
    if first.type.dtype != "float" or all(
        x is None or x.op in INPUTS | {"constant"} for x in (first, second)
    ):
        return []
    if second is None:
        return [(_asked(graph, first), 0.0)]
    if first.op == "constant":
        first, second = second, first
    if second.op == "constant" and second.type.rank == 0:
        return [(_asked(graph, first), float(second.attrs["value"]))]
    return [(first.id, second.id)]


def _asked(graph: Graph, node: Node) -> str:
    """ReLU's gradient asks its output for the sign of its input, which the output does not show."""
    return node.inputs[0] if OPS[node.op].hides_sign else node.id
