"""Graphs that tests put together, run by onnxruntime with our operators at hand."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import vflc_kernels
from onnx import TensorProto, helper, numpy_helper
from operators import Array
from vflc_kernels.replace import replace

ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def run(model: onnx.ModelProto, given: dict[str, Array], threads: int = 1) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if (library := vflc_kernels.library()) is not None:
        options.register_custom_ops_library(library)
    made: list[Array] = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, given)
    return made


class Built:
    """A graph under construction: inputs and values of one type."""

    def __init__(self, precision: str) -> None:
        self.precision, self.nodes = precision, list[onnx.NodeProto]()
        self.inputs = dict[str, tuple[str | int, ...]]()
        self.constants = list[onnx.TensorProto]()

    def add(self, op: str, *operands: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, operands, [f"v{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def constant(self, value: Any, kind: Any = None) -> str:
        array = np.array(value, kind or self.precision)
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        info, element = helper.make_tensor_value_info, ELEMENTS[self.precision]
        graph = helper.make_graph(
            self.nodes, "built",
            [info(name, element, sizes) for name, sizes in self.inputs.items()],
            [info(name, element, None) for name in outputs],
            self.constants,
        )  # fmt: skip
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        return made


def replaced(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made, replace(made)[0]
