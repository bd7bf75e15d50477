"""What of a graph becomes a dense layer or its gradient, and that it gives what it gave before."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import vflc_kernels
from onnx import ModelProto, TensorProto, helper
from operators import Array
from vflc_kernels.dense import dense
from vflc_kernels.graphs import kinds

pytestmark = pytest.mark.skipif(vflc_kernels.library() is None, reason="the extension is not built")
ROWS = 37
SIZES: dict[str, list[int | str]] = {
    "x": ["batch", 5],
    "w": [5, 4],
    "b": [4],
    "dy": ["batch", 4],
    "y": ["batch", 4],
    "one": [4, 1],
    "d1": ["batch", 1],
    "z": ["batch", 3],
    "v": [3, 4],
    "s": [1],
}
STEP = helper.make_node("HardSigmoid", ["y"], ["step"], alpha=3.4e38, beta=0.0)
MASKED = [STEP, helper.make_node("Mul", ["dy", "step"], ["g"])]
TO_W = helper.make_node("Gemm", ["x", "g"], ["dw"], transA=1)
TO_X = helper.make_node("Gemm", ["g", "w"], ["dx"], transA=0, transB=1)
TO_B = [
    helper.make_node("Shape", ["g"], ["count"], start=0, end=1),
    helper.make_node("ConstantOfShape", ["count"], ["ones"], value=helper.make_tensor("", 1, [1], [1.0])),
    helper.make_node("MatMul", ["ones", "g"], ["db"]),
]
LAYER = helper.make_node("Gemm", ["x", "w", "b"], ["p"])
RELU = helper.make_node("Relu", ["p"], ["y1"])


def model(nodes: list[Any], outputs: list[str]) -> ModelProto:
    read = dict.fromkeys(name for node in nodes for name in node.input if name in SIZES)
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SIZES[name]) for name in read]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    opset = [helper.make_opsetid("", 18), helper.make_opsetid(vflc_kernels.DOMAIN, 1)]
    return helper.make_model(helper.make_graph(nodes, "g", given, made), opset_imports=opset, ir_version=8)


def values(made: ModelProto) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(vflc_kernels.library())
    session = onnxruntime.InferenceSession(made.SerializeToString(), options)
    rng = np.random.default_rng(0)
    sizes = {name: [ROWS if size == "batch" else size for size in shape] for name, shape in SIZES.items()}
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in sizes.items()}
    feeds["y"] = np.maximum(feeds["y"], 0)
    names = {each.name for each in made.graph.input}
    found: list[Array] = session.run(None, {name: array for name, array in feeds.items() if name in names})
    return found


CASES: dict[str, tuple[list[Any], list[str], dict[str, list[str]]]] = {
    "a layer": ([LAYER, RELU], ["y1"], {"Dense": ["y1"]}),
    "a layer whose sum is read, too": (
        [LAYER, RELU],
        ["y1", "p"],
        {"Dense": ["p"], "Relu": ["y1"]},
    ),
    "a layer of one output": ([helper.make_node("Gemm", ["dy", "one"], ["p"])], ["p"], {"Gemm": ["p"]}),
    "a bias of one number": (
        [helper.make_node("Gemm", ["x", "w", "s"], ["p"])],
        ["p"],
        {"Gemm": ["p"]},
    ),
    "a scaled product": ([helper.make_node("Gemm", ["x", "w"], ["p"], alpha=2.0)], ["p"], {"Gemm": ["p"]}),
    "a gradient": (
        [*MASKED, TO_W, TO_X, *TO_B],
        ["dw", "dx", "db"],
        {"DenseBackward": ["dw", "dx", "db"]},
    ),
    "a gradient of the weight alone": ([*MASKED, TO_W], ["dw"], {"DenseBackward": ["dw"]}),
    "the factors of a mask the other way around": (
        [STEP, helper.make_node("Mul", ["step", "dy"], ["g"]), TO_W],
        ["dw"],
        {"DenseBackward": ["dw"]},
    ),
    "a masked gradient that is read elsewhere": (
        [*MASKED, TO_W, helper.make_node("Neg", ["g"], ["n"])],
        ["dw", "n"],
        {"HardSigmoid": ["step"], "Mul": ["g"], "Neg": ["n"], "DenseBackward": ["dw"]},
    ),
    "a slope that is no step": (
        [
            helper.make_node("HardSigmoid", ["y"], ["step"]),
            helper.make_node("Mul", ["dy", "step"], ["g"]),
            TO_W,
        ],
        ["dw"],
        {"HardSigmoid": ["step"], "Mul": ["g"], "DenseBackward": ["dw"]},
    ),
    "two inputs of one gradient": (
        [
            *MASKED,
            TO_W,
            helper.make_node("Gemm", ["z", "g"], ["dv"], transA=1),
            helper.make_node("Gemm", ["g", "v"], ["dz"], transB=1),
        ],
        ["dw", "dv", "dz"],
        {"HardSigmoid": ["step"], "Mul": ["g"], "DenseBackward": ["dw", "dv", "dz"]},
    ),
    "an input that depends on its own gradient": (
        [
            helper.make_node("Gemm", ["dy", "w"], ["dx"], transB=1),
            helper.make_node("Neg", ["dx"], ["n"]),
            helper.make_node("Gemm", ["n", "dy"], ["dw"], transA=1),
        ],
        ["dw"],
        {"Gemm": ["dx", "dw"], "Neg": ["n"]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_replaced(case: str) -> None:
    nodes, outputs, wanted = CASES[case]
    before = model(nodes, outputs)
    after = ModelProto()
    after.CopyFrom(before)
    texts = dense(after.graph, kinds(after), bfloat16=False)
    found: dict[str, list[str]] = {}
    for node in after.graph.node:
        found.setdefault(node.op_type, []).extend(node.output)
    assert {op: sorted(names) for op, names in found.items()} == {
        op: sorted(names) for op, names in wanted.items()
    }
    assert len(texts) == sum(node.domain == vflc_kernels.DOMAIN for node in after.graph.node)
    for one, other in zip(values(before), values(after), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_doubles_are_left() -> None:
    made = model([LAYER, RELU], ["y1"])
    for each in (*made.graph.input, *made.graph.output):
        each.type.tensor_type.elem_type = TensorProto.DOUBLE
    assert dense(made.graph, kinds(made), bfloat16=True) == []
