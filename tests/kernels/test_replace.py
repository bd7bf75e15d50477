"""Graphs whose patterns are replaced, against the same graphs as they were, both run by onnxruntime."""

from typing import Any

import numpy as np
import onnx
import pytest
import vflc_kernels
from built import ELEMENTS, Built, replaced, run
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

pytestmark = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")

UNARY = ("Neg", "Abs", "Sqrt", "Reciprocal", "Relu", "Identity", "HardSigmoid")
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min")
COMPARE = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
ROUNDED = ("Exp", "Log", "Sigmoid", "Tanh")


SHAPES: list[tuple[str | int, ...]] = [("n", 3), ("n", 1), (3,), (1,), (), ("n", 2, 3), (2, 1)]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[onnx.ModelProto, dict[str, tuple[str | int, ...]]]:
    built = Built(draw(st.sampled_from(["float32", "float64"])))
    family = draw(st.sampled_from([SHAPES[:5], [("n", 2, 3), (2, 3), (3,), (), (2, 1)]]))
    values, truths = list[str](), list[str]()
    for index in range(draw(st.integers(1, 4))):
        built.inputs[f"x{index}"] = draw(st.sampled_from(family))
        values.append(f"x{index}")
    values.append(built.constant(draw(st.sampled_from([0.5, -1.0, 2.0]))))
    for _ in range(draw(st.integers(2, 16))):
        pick = st.sampled_from(values)
        kind = draw(st.sampled_from("uubbbcwrs"))
        if kind == "u":
            values.append(built.add(draw(st.sampled_from(UNARY)), draw(pick)))
        elif kind == "b":
            values.append(built.add(draw(st.sampled_from(BINARY)), draw(pick), draw(pick)))
        elif kind == "c":
            truths.append(built.add(draw(st.sampled_from(COMPARE)), draw(pick), draw(pick)))
        elif kind == "w" and truths:
            truth = draw(st.sampled_from(truths))
            if draw(st.booleans()):
                values.append(built.add("Where", truth, draw(pick), draw(pick)))
            else:
                values.append(built.add("Cast", truth, to=ELEMENTS[built.precision]))
        elif kind == "r":
            values.append(built.add(draw(st.sampled_from(ROUNDED)), draw(pick)))
        elif kind == "s":  # what stands between regions
            values.append(built.add("ReduceSum", draw(pick), keepdims=1))
    made = [name for name in values if name.startswith("v")]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=4, unique=True)) if made else []
    return built.model(outputs or [built.add("Neg", values[0])]), built.inputs


@given(graphs(), st.sampled_from([0, 1, 5]), st.integers(0, 99))
def test_random_graphs(made: tuple[onnx.ModelProto, dict[str, Any]], rows: int, seed: int) -> None:
    model, inputs = made
    precision = np.float32 if model.graph.output[0].type.tensor_type.elem_type == 1 else np.float64
    rng = np.random.default_rng(seed)
    given = {
        name: np.array(
            np.round(rng.normal(size=[rows if size == "n" else size for size in sizes]), 2), precision
        )
        for name, sizes in inputs.items()
        if any(name in node.input for node in model.graph.node)
    }
    kept = [each for each in model.graph.input if each.name in given]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    changed, _ = replaced(model)
    close = {"rtol": 1e-4, "atol": 1e-5} if precision == np.float32 else {"rtol": 1e-9, "atol": 1e-12}
    with np.errstate(all="ignore"):
        for wanted, found in zip(run(model, given), run(changed, given), strict=True):
            assert wanted.shape == found.shape and wanted.dtype == found.dtype
            np.testing.assert_allclose(found, wanted, **close)


def test_an_optimizer_is_one_node_with_the_same_bits() -> None:
    built = Built("float32")
    built.inputs = {"w": (None,), "g": (None,), "m": (None,), "v": (None,), "step": ()}  # type: ignore[dict-item]
    decay, keep, one, eps = (built.constant(x) for x in (0.9, 0.999, 1.0, 1e-7))
    m = built.add("Add", built.add("Mul", decay, "m"), "g")
    v = built.add("Add", built.add("Mul", keep, "v"), built.add("Mul", "g", "g"))
    size = built.add("Sub", one, built.add("Pow", decay, "step"))
    move = built.add("Div", m, built.add("Add", built.add("Sqrt", v), eps))
    w = built.add("Sub", "w", built.add("Mul", move, size))
    model = built.model([w, m, v])
    changed, texts = replaced(model)
    assert [node.op_type for node in changed.graph.node] == ["Fused"] and len(texts) == 1
    rng = np.random.default_rng(1)
    given = {name: rng.random(40_000).astype(np.float32) for name in "wgmv"}
    given["step"] = np.array(7, np.float32)
    for wanted, found in zip(run(model, given), run(changed, given, threads=3), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_nothing_lies_between_what_runs_as_one() -> None:
    """A sum over all elements reads one product and is read by the next: these are two regions."""
    built = Built("float32")
    built.inputs = {"x": ("n", 3)}
    first = built.add("Mul", built.add("Neg", "x"), "x")
    total = built.add("ReduceSum", first, keepdims=1)
    last = built.add("Add", built.add("Mul", first, total), first)
    changed, texts = replaced(built.model([last]))
    assert [node.op_type for node in changed.graph.node] == ["Fused", "ReduceSum", "Fused"]
    assert texts == ["Fused: 1 Neg, 1 Mul", "Fused: 1 Mul, 1 Add"]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(run(changed, {"x": x})[0], run(built.model([last]), {"x": x})[0])


def test_what_is_not_worth_it_or_not_ours_stays() -> None:
    built = Built("float32")
    built.inputs = {"x": ("n", 3)}
    whole = built.add("Cast", "x", to=TensorProto.INT64)
    back = built.add("Cast", built.add("Add", whole, whole), to=TensorProto.FLOAT)
    model = built.model([built.add("Erf", built.add("Neg", back))])
    changed, texts = replaced(model)
    assert texts == []
    assert [node.op_type for node in changed.graph.node] == ["Cast", "Add", "Cast", "Neg", "Erf"]
