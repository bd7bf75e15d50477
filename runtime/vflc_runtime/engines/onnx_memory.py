"""Changes graphs so that their values can lie where they are wanted, instead of being copied there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

SIZED_BY_DATA = frozenset({"Compress", "NonZero", "Unique"})
"""Operators whose output has a size that the sizes of its inputs do not tell."""


def read_before_written(graph: onnx.GraphProto, stored: Mapping[str, str]) -> None:
    """Lets each value of `stored` come after all readers of the input whose memory it is written to.

    onnxruntime runs nodes in an order of its own, bound by nothing but what they read of each other.
    A value that does not follow from some reader of the input has a zero added to it that is made
    from the size of what this reader gives.

    Args:
        graph: with nodes in an order in which they can run.
        stored: by input the value.
    """
    for given, value in stored.items():
        before = _ancestors(graph, value)
        late = [n.output[0] for n in graph.node if given in n.input and n.output[0] not in before]
        if late:
            _delay(graph, value, late)


def _ancestors(graph: onnx.GraphProto, value: str) -> set[str]:
    found = {value}
    for node in reversed(graph.node):
        if not found.isdisjoint(node.output):
            found.update(node.output)
            found.update(node.input)
    return found


def _delay(graph: onnx.GraphProto, value: str, until: Sequence[str]) -> None:
    from onnx import helper

    early = f"{value}.early"
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [early if name == value else name for name in names]
    for index, name in enumerate(until):
        size, none, zero, next_ = (f"{value}.{index}.{each}" for each in ("size", "none", "zero", "next"))
        nodes = [
            helper.make_node("Size", [early if name == value else name], [size]),
            helper.make_node("Sub", [size, size], [none]),
            helper.make_node("CastLike", [none, early], [zero]),
            helper.make_node("Add", [early, zero], [value if index == len(until) - 1 else next_]),
        ]
        graph.node.extend(nodes)
        early = next_


def sized_by_data(graph: onnx.GraphProto) -> list[str]:
    """The outputs that may have other sizes at every run, though inputs keep theirs."""
    if not any(node.op_type in SIZED_BY_DATA for node in graph.node):
        return []
    return [
        output.name
        for output in graph.output
        if not all(size.dim_param or size.HasField("dim_value") for size in output.type.tensor_type.shape.dim)
    ]


def unjoined(graph: onnx.GraphProto, output: str) -> list[str]:
    """Gives, instead of `output`, the pieces that it is a concatenation of, whose names are returned.

    Pieces may have other shapes than they have in `output`, but the same elements in the same order.
    Where it is no concatenation, or of something twice, it stays the one piece.
    """
    from onnx import helper

    made = {name: node for node in graph.node for name in node.output}
    read = [name for node in graph.node for name in node.input]
    join = made.get(output)
    if join is None or join.op_type != "Concat" or _axis(join) != 0 or output in read:
        return [output]
    gone, pieces = [join], []
    for name in join.input:
        node = made.get(name)
        if node is not None and node.op_type == "Reshape" and read.count(name) == 1:
            gone.append(node)
            name = node.input[0]
        pieces.append(name)
    outputs = {each.name: each for each in graph.output}
    if len({*pieces}) < len(pieces) or not made.keys() >= {*pieces} or outputs.keys() & {*pieces}:
        return [output]
    element = outputs[output].type.tensor_type.elem_type
    outputs.pop(output)
    for node in gone:
        graph.node.remove(node)
    del graph.output[:]
    graph.output.extend([*outputs.values()])
    graph.output.extend(helper.make_tensor_value_info(name, element, None) for name in pieces)
    return pieces


def _axis(node: onnx.NodeProto) -> int:
    return int(next(attribute.i for attribute in node.attribute if attribute.name == "axis"))
