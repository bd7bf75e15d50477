"""A file of another tool as a part of an exported ONNX model: its operators, under names of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from vflc_common.onnx_usable import RowPort, usable

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.engines.onnx_session import short
from vflc_runtime.errors import Failure

if TYPE_CHECKING:
    import onnx


def outside_source(plan: Plan, graph: str, opset: int) -> onnx.GraphProto:
    """The graph of a plan that a file gives, with the plan's names and element types outside, for `opset`.

    Raises:
        Failure: VFL0509, the operators have no counterpart in that version.
    """
    import onnx
    from onnx import helper, numpy_helper

    entry, content = plan.graphs[graph], plan.graph_content(graph)
    assert entry.outside is not None
    ports = usable(content)[1]
    source = _converted(onnx.load_model_from_string(content), plan, graph, opset)
    output = ports.outputs[entry.outside.output]
    floats = helper.np_dtype_to_tensor_dtype(np.dtype(plan.precision))
    made = onnx.GraphProto()

    def add(op: str, name: str, result: str, *more: str, **attributes: Any) -> str:
        made.node.append(helper.make_node(op, [name, *more], [result], **attributes))
        return result

    def shaped(name: str, port: RowPort, result: str, sizes: list[int]) -> str:
        """A value of one number a row has an axis of its own here, and need not have one in the file."""
        if port.sizes:
            return name
        made.initializer.append(numpy_helper.from_array(np.array(sizes), f"{result}.shape"))
        return add("Reshape", name, result, f"{result}.shape")

    for index, (port, name) in enumerate(zip(ports.inputs, entry.inputs, strict=True)):
        made.input.append(_info(name, floats, port))
        given = shaped(name, port, f"given.{index}.flat", [-1])
        if port.element.startswith("int"):
            given = add("Round", given, f"given.{index}.whole")
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(port.element))
        add("Cast", given, f"file/{port.name}", to=int(kind))
    for node in source.node:
        copied = made.node.add()
        copied.CopyFrom(node)
        for names in (copied.input, copied.output):
            names[:] = [f"file/{name}" if name else "" for name in names]
    for tensor in source.initializer:
        copied_tensor = made.initializer.add()
        copied_tensor.CopyFrom(tensor)
        copied_tensor.name = f"file/{tensor.name}"
    last = shaped(f"file/{output.name}", output, "made.rows", [-1, 1])
    add("Cast", last, entry.outputs[0], to=int(floats))
    made.output.append(_info(entry.outputs[0], floats, output))
    return made


def _info(name: str, element: int, port: RowPort) -> onnx.ValueInfoProto:
    from onnx import helper

    return helper.make_tensor_value_info(name, element, ["batch", *(port.sizes or (1,))])


def _converted(model: onnx.ModelProto, plan: Plan, graph: str, opset: int) -> onnx.GraphProto:
    """The graph with the operators of that version; that they compute the same is compared afterwards."""
    from onnx import version_converter

    (own,) = (each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    if own == opset:
        return model.graph
    try:
        return version_converter.convert_version(model, opset).graph
    except Exception as error:  # the converter's own exceptions have no common base
        raise Failure(
            "VFL0509",
            f"{plan.graph_path(graph)} uses version {own} of ONNX's operators, which cannot be converted to "
            f"{opset}: {short(error)}",
            f"export the file for version {opset} of ONNX's operators (opset_version), and train again",
        ) from None
