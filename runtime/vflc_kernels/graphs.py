"""Of an ONNX graph: an order in which it can run, who makes and reads each value, types and likely shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

SIZES = (1009, 1013, 1019, 1021, 1031, 1033, 1039, 1049)
"""What sizes that are not known are taken for, by their axis: numbers that no other size is likely to be."""
GRAPH, GRAPHS = 5, 10
"""An attribute's type, as ONNX numbers it, where it holds branches or the body of a loop."""
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """A value's type as ONNX numbers it, and its shape, unless that is not known.

    A shape is a guess, with sizes from `SIZES`: it may decide what is worth while, never what is right.
    """

    element: int
    shape: Shape | None


def in_order(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, each after those whose values it reads, and else as they stood.

    Raises:
        ValueError: a node reads what follows from it.
    """
    made = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    before = [[made[name] for name in reads(node) if name in made] for node in nodes]
    if all(other < index for index, others in enumerate(before) for other in others):
        return [*nodes]
    opened, done, order = set[int](), set[int](), list[int]()
    for first in range(len(nodes)):
        stack = [first]
        while stack:
            index = stack[-1]
            wait = [other for other in before[index] if other not in done]
            if index in done:
                stack.pop()
            elif not wait:
                done.add(stack.pop())
                order.append(index)
            elif index in opened:
                raise ValueError("a graph with a circle")
            else:
                opened.add(index)
                stack.extend(wait[::-1])
    return [nodes[index] for index in order]


def reads(node: onnx.NodeProto) -> list[str]:
    """All values that a node reads, also those of its branches and loops."""
    found = [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.type in (GRAPH, GRAPHS):
            for graph in (attribute.g, *attribute.graphs):
                found += (name for inner in graph.node for name in reads(inner))
    return found


def kinds(model: onnx.ModelProto) -> dict[str, Kind]:
    """Of all values of the model's graph of which it can be said."""
    import onnx

    guess = onnx.ModelProto()
    guess.CopyFrom(model)
    for each in (*guess.graph.input, *guess.graph.value_info):
        for axis, size in enumerate(each.type.tensor_type.shape.dim):
            if not size.HasField("dim_value"):
                size.dim_value = SIZES[axis % len(SIZES)]
    for each in guess.graph.output:  # stated sizes would contradict
        each.type.tensor_type.ClearField("shape")
    found = onnx.shape_inference.infer_shapes(guess, data_prop=True).graph
    known = {each.name: Kind(each.data_type, tuple(each.dims)) for each in found.initializer}
    for each in (*found.input, *found.value_info, *found.output):
        tensor = each.type.tensor_type
        sizes = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
        whole = tensor.HasField("shape") and None not in sizes
        known[each.name] = Kind(tensor.elem_type, tuple(size or 0 for size in sizes) if whole else None)
    return known


def drop_identities(graph: onnx.GraphProto) -> None:
    """Lets readers of a value's copy read the value; onnxruntime does the same, but later."""
    outputs = {each.name for each in graph.output}
    same: dict[str, str] = {}
    nodes = []
    for node in in_order(graph.node):
        if any(attribute.HasField("g") for attribute in node.attribute):
            return  # what branches read goes by its name
        if not same.keys().isdisjoint(node.input):
            node.input[:] = [same.get(name, name) for name in node.input]
        if node.op_type == "Identity" and not node.domain and node.output[0] not in outputs:
            same[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    put(graph, nodes)


def drop_unread(graph: onnx.GraphProto) -> None:
    """Takes out nodes, in order, that nothing reads any more."""
    wanted, kept = {each.name for each in graph.output}, []
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            wanted.update(reads(node))
            kept.append(node)
    if len(kept) < len(graph.node):
        put(graph, kept[::-1])


def put(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Makes copies of nodes, some of which may be the graph's own, all that it has."""
    held = type(graph)()
    held.node.extend(nodes)
    del graph.node[:]
    graph.node.extend(held.node)


def copied(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node as one of its own, which no graph holds."""
    import onnx

    made = onnx.NodeProto()
    made.CopyFrom(node)
    return made
