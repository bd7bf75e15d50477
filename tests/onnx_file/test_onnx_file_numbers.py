"""Numbers in Python alone: what numpy computes of the same arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from vflc.onnx_file import Numbers
from vflc.onnx_file.numbers import broadcast, joined

KINDS = (
    "float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "bool",
)  # fmt: skip
SHAPES = drawn.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.sampled_from(KINDS).flatmap(lambda kind: drawn.arrays(kind, SHAPES))


def same(found: Numbers, wanted: Any) -> None:
    made = found.array()
    assert made.dtype == wanted.dtype and found.kind == wanted.dtype.name
    assert found.shape == wanted.shape
    np.testing.assert_array_equal(made, wanted)


@given(ARRAYS, st.data())
def test_axes(array: Any, data: st.DataObject) -> None:
    numbers = Numbers.of_array(array)
    same(numbers, array)
    order = data.draw(st.permutations(range(array.ndim)))
    same(numbers.transposed(order), array.transpose(order))
    same(numbers.transposed(), array.T)
    same(numbers.reshaped((1, *array.shape[::-1])), array.reshape(1, *array.shape[::-1]))
    parts = [data.draw(st.slices(size)) for size in array.shape]
    same(numbers.sliced(parts), array[tuple(parts)])
    same(numbers.sliced(parts).transposed(order), array[tuple(parts)].transpose(order))
    if array.size:
        same(numbers.reshaped((-1,)), array.reshape(-1))


@given(ARRAYS, st.data())
def test_repeated(array: Any, data: st.DataObject) -> None:
    longer = data.draw(drawn.broadcastable_shapes(array.shape, max_dims=5, max_side=4))
    shape = broadcast(array.shape, longer)
    assert shape == np.broadcast_shapes(array.shape, longer)
    same(Numbers.of_array(array).repeated(shape), np.broadcast_to(array, shape))


@given(ARRAYS.filter(lambda array: array.ndim > 0), st.data())
def test_positions_and_parts_side_by_side(array: Any, data: st.DataObject) -> None:
    numbers, axis = Numbers.of_array(array), data.draw(st.integers(-array.ndim, array.ndim - 1))
    same(joined([numbers, numbers], axis), np.concatenate([array, array], axis))
    size = array.shape[axis]
    places = drawn.arrays("int64", st.sampled_from([(), (2,), (2, 1)]), elements=st.integers(-size, size - 1))
    if size:
        at = data.draw(places)
        same(numbers.taken(Numbers.of_array(at), axis), array.take(at, axis))


@given(
    drawn.arrays("float64", SHAPES, elements=st.floats(-100, 100)), st.sampled_from(KINDS[:2] + KINDS[4:7])
)
def test_types(array: Any, kind: str) -> None:
    same(Numbers.of_array(array).cast(kind), array.astype(kind))


@given(st.sampled_from(("float32", "float64")).flatmap(lambda kind: drawn.arrays(kind, SHAPES)))
def test_what_is_said_of_all(array: Any) -> None:
    numbers = Numbers.of_array(array)
    assert numbers.finite() == np.isfinite(array).all()
    assert numbers.uniform() == bool(array.size and (array == array.reshape(-1)[0]).all())


def test_long_chains() -> None:
    array = np.arange(6, dtype="float32").reshape(2, 3)
    numbers = Numbers.of_array(array)
    for _ in range(20_001):
        numbers = numbers.transposed()
    same(numbers, array.T)


def test_texts() -> None:
    array = np.array([["a", "b"], ["c", "d"]], dtype=object)
    numbers = Numbers.of_array(array)
    assert numbers.transposed().elements == ["a", "c", "b", "d"]
    assert np.array_equal(numbers.transposed().array(), array.T)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x.reshaped((4, 2)), lambda x: x.reshaped((-1, 4)), lambda x: x.reshaped((-1, -1)),
        lambda x: x.transposed((0, 0)), lambda x: x.transposed((0,)), lambda x: x.sliced([slice(0, 1)]),
        lambda x: broadcast(x.shape, (4,)), lambda x: joined([x, x.transposed()], 0),
        lambda x: joined([x, x.cast("int32")], 0), lambda x: Numbers.listed("int8", (1,), [300]),
        lambda x: Numbers.listed("float32", (2,), [1]), lambda x: joined([x], 2),
        lambda x: x.taken(Numbers.listed("int64", (), [3]), 0),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(wrong: Any) -> None:
    with pytest.raises((ValueError, IndexError, OverflowError)):
        wrong(Numbers.listed("float32", (2, 3), range(6)))
