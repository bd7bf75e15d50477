"""Other forms of some operators, which a GPU computes faster, or in float64 exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

STEEP = 1e38
"""A `HardSigmoid` as steep as that is 1 above 0 and else 0: it says where a `relu` lets gradients through."""


def for_device(graph: onnx.GraphProto, double: bool) -> None:
    """Changes a graph to what computes the same on a GPU."""
    _choose(graph, double)
    if double:
        _spell_out(graph)


def _choose(graph: onnx.GraphProto, double: bool) -> None:
    """A number times 1 or 0 is chosen instead: what says which is a byte, where it was a float."""
    from onnx import helper, numpy_helper

    read = [name for node in graph.node for name in node.input] + [each.name for each in graph.output]
    steps = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "HardSigmoid" and _number(node, "alpha") > STEEP and _number(node, "beta") == 0
        if read.count(node.output[0]) == 1
    }
    if not steps:
        return
    zero = "zero/none"
    made = []
    for node in graph.node:
        mask = next((name for name in node.input if name in steps), None) if node.op_type == "Mul" else None
        if mask is None:
            made.append(node)
            continue
        other = next(name for name in node.input if name != mask)
        above = f"{mask}/above"
        made.append(helper.make_node("Greater", [steps[mask].input[0], zero], [above]))
        made.append(helper.make_node("Where", [above, other, zero], [node.output[0]]))
        made = [each for each in made if each.output[0] != mask]
    del graph.node[:]
    graph.node.extend(made)
    kind = np.float64 if double else np.float32
    graph.initializer.append(numpy_helper.from_array(np.zeros((), kind), zero))


def _spell_out(graph: onnx.GraphProto) -> None:
    """`Softmax` and `LogSoftmax` in simpler operators: onnxruntime's take float32's exponential on a GPU."""
    from onnx import helper, numpy_helper

    made = []
    for node in graph.node:
        if node.op_type not in ("Softmax", "LogSoftmax"):
            made.append(node)
            continue
        at, given, out = f"{node.output[0]}/", node.input[0], node.output[0]
        axis = next((each.i for each in node.attribute if each.name == "axis"), -1)
        graph.initializer.append(numpy_helper.from_array(np.array([axis]), f"{at}axis"))
        by = [f"{at}axis"]
        steps = [
            ("ReduceMax", [given, *by], "most"),
            ("Sub", [given, f"{at}most"], "below"),
            ("Exp", [f"{at}below"], "exp"),
            ("ReduceSum", [f"{at}exp", *by], "sum"),
        ]
        if node.op_type == "LogSoftmax":
            steps.append(("Log", [f"{at}sum"], "log"))
        made += [helper.make_node(op, inputs, [at + name]) for op, inputs, name in steps]
        last = ("Div", "exp", "sum") if node.op_type == "Softmax" else ("Sub", "below", "log")
        made.append(helper.make_node(last[0], [at + last[1], at + last[2]], [out]))
    del graph.node[:]
    graph.node.extend(made)


def _number(node: onnx.NodeProto, name: str) -> float:
    return next((float(each.f) for each in node.attribute if each.name == name), 0.0)
