"""The ONNX writer: the same bytes for the same calls, no node twice, outputs under their own names."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest
from op_testing import evaluate, sample_case

from vflc.emit.onnx.writer import IR_VERSION, OPSET, OnnxGraphWriter
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import OPS
from vflc.ops.activation import write_erf
from vflc.ops.arithmetic import write_clip
from vflc.ops.registry import OpSample
from vflc.ops.rules import tensor

ROW = TensorType((ROWS, Axis(None, 2)))
SCALAR = TensorType(())


def model(double=False):
    w = OnnxGraphWriter(double)
    total = w("Add", "x", w.constant(1.0))
    again = w("Add", "x", w.constant(1.0))
    w("Mul", total, total)  # nobody needs it
    outputs = {"y": (total, ROW), "z": (again, ROW), "x_again": ("x", ROW), "one": (w.constant(1.0), SCALAR)}
    return w.finish("test", {"x": ROW}, outputs, {"serial": "no"})


def test_equal_calls_give_equal_bytes():
    assert model().SerializeToString() == model().SerializeToString()
    assert model().SerializeToString() != model(double=True).SerializeToString()


def test_equal_nodes_and_constants_are_written_once_and_unused_ones_not_at_all():
    graph = model().graph
    assert [n.op_type for n in graph.node] == ["Add", "Identity", "Identity", "Identity"]
    assert len(graph.initializer) == 1
    assert [o.name for o in graph.output] == ["y", "z", "x_again", "one"]


def test_every_output_has_its_value():
    session = onnxruntime.InferenceSession(model().SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([[1.0, 2.0]], np.float32)
    y, z, again, one = session.run(None, {"x": x})
    assert y.tolist() == z.tolist() == [[2.0, 3.0]] and again.tolist() == x.tolist() and one == 1


def test_versions_are_ones_that_old_onnxruntimes_read():
    """onnxruntime 1.18 reads opset 21 and IR version 10."""
    assert OPSET <= 21 and IR_VERSION <= 10
    assert {p.key: p.value for p in model().metadata_props} == {"serial": "no"}


def test_ops_whose_kernels_add_up_wrongly_in_several_threads_are_named():
    """Every lowering with a scattered sum must be `serial`, as plans run those graphs in one thread."""
    for name, op in OPS.items():
        for sample in op.samples:
            case = sample_case(name, sample, np.random.default_rng(0))
            writer = OnnxGraphWriter()
            op.onnx(writer, case.node, [x.id for x in case.inputs], sample.types)
            scattered = any(given.get("reduction") == "add" for *_, given in writer._nodes)
            assert scattered == OPS[name].serial, name


def test_a_sum_over_a_large_batch_is_exact_enough_as_a_product_with_ones():
    rng = np.random.default_rng(0)
    over_rows = [s for s in OPS["sum"].samples if s.attrs == {"axes": (0,), "keep": False}]
    (sample,) = [s for s in over_rows if s.types[0].rank == 2]
    case = sample_case("sum", sample, rng)
    x = rng.uniform(size=(4096, 3))
    writer = OnnxGraphWriter()
    name = OPS["sum"].onnx(writer, case.node, ["x0"], sample.types)
    made = writer.finish("sum", {"x0": sample.types[0]}, {"y": (name, case.node.type)})
    assert "ReduceSum" not in {n.op_type for n in made.graph.node}
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x0": x.astype(np.float32)})
    (expected,) = evaluate(case.graph, {"x0": x}, [case.node.id])
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_a_step_at_zero_is_one_node_in_float32():
    """The gradient of relu: a comparison and a cast take longer than a steep slope, which is as exact."""
    for double, expected in ((False, ["HardSigmoid"]), (True, ["Greater", "Cast"])):
        writer = OnnxGraphWriter(double)
        type_ = TensorType((ROWS, Axis(None, 7)))
        above = writer("Cast", writer("Greater", "x", writer.constant(0.0)), to=writer.float_type())
        made = writer.finish("step", {"x": type_}, {"y": (above, type_)})
        assert [node.op_type for node in made.graph.node] == expected
        session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        x = np.array([[-np.inf, -1e-38, -0.0, 0.0, 1e-38, 1.0, np.inf]], np.float64 if double else np.float32)
        assert session.run(None, {"x": x})[0].tolist() == [[0, 0, 0, 0, 1, 1, 1]]


def test_comparisons_with_other_things_than_a_float_zero_stay():
    for writer, zero in ((OnnxGraphWriter(), (0, "int")), (OnnxGraphWriter(), (0.5, "float"))):
        writer("Cast", writer("Greater", "x", writer.constant(*zero)), to=1)
        assert [op for op, *_ in writer._nodes] == ["Greater", "Cast"]


# --- which kernels: those that are fastest, or that there are in float64 ---------------------------------


def kernels(op: str, *types: TensorType, double: bool = False, **attrs: object) -> list[str]:
    """The operators that an op is lowered to."""
    writer, case = OnnxGraphWriter(double), sample_case(op, OpSample(types, attrs), np.random.default_rng(0))
    OPS[op].onnx(writer, case.node, [x.id for x in case.inputs], types)
    return [name for name, *_ in writer._nodes]


@pytest.mark.parametrize(
    ("type_", "axes", "keep", "product"),
    [
        (tensor(None, 3), (0,), False, True),
        (tensor(None, 3), (0,), True, False),
        (tensor(None, 3), (1,), False, False),
        (tensor(None, 3), (0, 1), False, False),
        (tensor(4, 3), (0,), False, False),
        (tensor(None, 4, 3), (0,), False, False),
        (tensor(None), (0,), False, False),
        (tensor(None, 4, 3), (1,), False, True),
        (tensor(None, 4, 3), (1,), True, False),
        (tensor(None, 4, 3), (2,), False, False),
        (tensor(None, 4, 3), (1, 2), False, False),
        (tensor(5, 4, 3), (1,), False, False),
        (tensor(None, 4, 3, 2), (1,), False, False),
        (tensor(None, 32, 16), (1,), False, True),
        (tensor(None, 33, 16), (1,), False, False),
        (tensor(None, 2, 17), (1,), False, False),
        (tensor(None, 512, 1), (1,), False, True),
        (tensor(None, 513, 1), (1,), False, False),
        (tensor(None, ("field", None), 3), (1,), False, False),
        (tensor(None, 3, ("unit", None)), (1,), False, False),
    ],
)
def test_narrow_sums_are_products(type_, axes, keep, product):
    """A sum over rows, or over few fields that are narrow: at most 16 numbers each and 512 in all."""
    found = kernels("sum", type_, axes=axes, keep=keep)
    assert ("MatMul" in found) == product and ("ReduceSum" in found) != product


NO, BOTH = {"transpose_x": False, "transpose_y": False}, {"transpose_x": True, "transpose_y": True}
FIRST, SECOND = BOTH | {"transpose_y": False}, BOTH | {"transpose_x": False}


@pytest.mark.parametrize(
    ("op", "types", "attrs", "double", "found"),
    [
        ("sum", (tensor(None, 3),), {"axes": (), "keep": False}, False, ["Identity"]),
        ("matmul", (tensor(None, 3), tensor(3, 4)), NO, False, ["MatMul"]),
        ("matmul", (tensor(None, 3), tensor(4, 3)), SECOND, False, ["Gemm"]),
        ("matmul", (tensor(3, 2), tensor(3, 4)), FIRST, False, ["Gemm"]),
        ("matmul", (tensor(None, 2, 3), tensor(4, 3)), SECOND, False, ["Transpose", "MatMul"]),
        ("matmul", (tensor(None, 3, 2), tensor(None, 3, 4)), FIRST, False, ["Transpose", "MatMul"]),
        (
            "matmul", (tensor(None, 3, 2), tensor(None, 4, 3)), BOTH, False,
            ["Transpose", "Transpose", "MatMul"],
        ),
        ("linear", (tensor(None, 3), tensor(3, 4), tensor(4)), {}, False, ["Gemm"]),
        ("linear", (tensor(None, 3), tensor(3, 4)), {}, False, ["MatMul"]),
        ("linear", (tensor(None, 2, 3), tensor(3, 4), tensor(4)), {}, False, ["MatMul", "Add"]),
        ("contract", (tensor(None, 3), tensor(None, 4)), {}, False, ["Gemm"]),
        ("contract", (tensor(None, 2, 3), tensor(None, 2, 4)), {}, False, ["Reshape", "Reshape", "Gemm"]),
        ("expand_like", (tensor(None, 3), tensor(None, 3)), {}, False, ["Identity"]),
        ("expand_like", (tensor(3), tensor(None, 3)), {}, False, ["Shape", "Expand"]),
        ("rename", (tensor(None, 3),), {"names": ("batch", "a")}, False, []),
        ("erf", (tensor(None, 3),), {}, False, ["Erf"]),
        ("softplus", (tensor(None, 3),), {}, False, ["Softplus"]),
        ("softplus", (tensor(None, 3),), {}, True, ["Abs", "Neg", "Exp", "Add", "Log", "Relu", "Add"]),
        ("gather", (tensor(4, 2), tensor(None, dtype="int")), {"missing": False}, False, ["Gather"]),
        ("not_equal", (tensor(None, 3), tensor(None, 3)), {}, False, ["Equal", "Not"]),
    ],
)  # fmt: skip
def test_kernels_that_are_there_and_fast(op, types, attrs, double, found):
    assert kernels(op, *types, double=double, **attrs) == found


def test_erf_in_float64_is_exact_to_rounding():
    """Of float64 there is no kernel."""
    x = np.concatenate([np.linspace(-7, 7, 4001), [-1e300, 1e300, 6.0, -6.0, 0.0, 1e-300]])
    writer, type_ = OnnxGraphWriter(True), tensor(None)
    made = writer.finish("erf", {"x": type_}, {"y": (write_erf(writer, "x"), type_)})
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    np.testing.assert_allclose(found, [math.erf(each) for each in x], rtol=0, atol=1e-13)


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ["clip", "erf"])
def test_what_bounds_values_may_follow_relu_in_any_precision(name: str, double: bool) -> None:
    """onnxruntime joins `Relu` and `Clip`, and cannot in float64."""
    w = OnnxGraphWriter(double)
    relu = w("Relu", "x")
    made = write_clip(w, relu, 0.5, 1.5) if name == "clip" else write_erf(w, relu)
    content = w.finish("test", {"x": ROW}, {"y": (made, ROW)}, {}).SerializeToString()
    x = np.array([[-1.0, 0.75], [2.0, np.nan]], np.float64 if double else np.float32)
    (y,) = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    due = [0.5, 0.75, 1.5] if name == "clip" else [0, math.erf(0.75), math.erf(2.0)]
    np.testing.assert_allclose(y.reshape(-1)[:3], due, rtol=1e-6)
    assert np.isnan(y[1, 1])
