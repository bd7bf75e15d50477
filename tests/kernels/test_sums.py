"""Sums along an axis by our operator, against NumPy and as what replaces ONNX's."""

import numpy as np
import pytest
import vflc_kernels
from built import Built, replaced, run
from hypothesis import given
from hypothesis import strategies as st
from operators import Array, run_operator

pytestmark = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")


def due(array: Array, axis: int) -> Array:
    """Added in order, in the precision of the array."""
    total = np.zeros(np.delete(array.shape, axis), array.dtype)
    for each in np.moveaxis(array, axis, 0):
        total = total + each
    return total


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4), st.data(), st.sampled_from([np.float32, np.float64])
)
def test_sums_are_those_of_numpy(shape: list[int], data: st.DataObject, kind: type) -> None:
    axis, keep = data.draw(st.integers(0, len(shape) - 1)), data.draw(st.booleans())
    array = np.random.default_rng(len(shape)).normal(size=shape).astype(kind)
    name = "SumAxis" if kind == np.float32 else "SumAxisDouble"
    (made,) = run_operator(name, [array], 1, {"axis": axis, "keep": int(keep)})
    np.testing.assert_array_equal(made, np.expand_dims(due(array, axis), axis) if keep else due(array, axis))


def test_bits_are_those_of_one_thread() -> None:
    array = np.random.default_rng(0).normal(size=(3000, 7, 19)).astype(np.float32)
    for threads in (1, 2, 4):
        (made,) = run_operator("SumAxis", [array], 1, {"axis": 1, "keep": 0}, threads)
        np.testing.assert_array_equal(made, due(array, 1))


def test_an_axis_that_is_not_there_ends_in_an_error() -> None:
    for axis in (-1, 2):
        with pytest.raises(Exception, match="axis that is not there"):
            run_operator("SumAxis", [np.zeros((2, 3), np.float32)], 1, {"axis": axis, "keep": 0})


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_sums_within_a_row_are_replaced_and_others_not(precision: str) -> None:
    built = Built(precision)
    built.inputs = {"x": ("n", "k", 3)}
    of = {axes: built.constant(axes, np.int64) for axes in [(1,), (-2,), (2,), (0,), (1, 2)]}
    outputs = [built.add("ReduceSum", "x", axes, keepdims=keep) for axes in of.values() for keep in (0, 1)]
    outputs.append(built.add("ReduceSum", "x", keepdims=0))
    model = built.model(outputs)
    changed, texts = replaced(model)
    assert len(texts) == 4 and all(text.startswith("SumAxis") for text in texts)
    assert [node.op_type.startswith("SumAxis") for node in changed.graph.node] == [True] * 4 + [False] * 7
    x = np.round(np.random.default_rng(1).normal(size=(5, 4, 3)), 2).astype(precision)
    for wanted, found in zip(run(model, {"x": x}), run(changed, {"x": x}), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
