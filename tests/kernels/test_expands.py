"""Arrays repeated along axes: our operator against NumPy, and as what replaces ONNX's."""

import numpy as np
import pytest
import vflc_kernels
from built import Built, replaced, run
from hypothesis import given, settings
from hypothesis import strategies as st
from operators import Array, run_operator

pytestmark = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")
NAMES = {np.float32: "Expand", np.float64: "ExpandDouble"}
ERRORS: dict[str, tuple[list[int], tuple[int, ...]]] = {
    "do not fit": ([3], (2,)),
    "another form": ([-1], (2,)),
    "too many dimensions": ([2], (1,) * 9),
}


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 16, 40]), st.booleans()), max_size=5),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([np.float32, np.float64]),
    st.integers(1, 3),
)
def test_arrays_are_those_of_numpy(
    axes: list[tuple[int, bool]], left_out: int, fewer: int, kind: type, threads: int
) -> None:
    """Axes that are repeated, and those that the array or the shape does not have at all."""
    shape = [1 if repeated else size for size, repeated in axes][left_out:]
    wanted = [size if repeated else 1 for size, repeated in axes][fewer if left_out == 0 else 0 :]
    array: Array = np.random.default_rng(1).normal(size=shape).astype(kind)
    (made,) = run_operator(NAMES[kind], [np.array(wanted, np.int64), array], 1, {}, threads)
    np.testing.assert_array_equal(
        made, np.broadcast_to(array, np.broadcast_shapes(tuple(shape), tuple(wanted)))
    )
    assert made.shape == np.broadcast_shapes(tuple(shape), tuple(wanted))


@pytest.mark.parametrize("text", ERRORS)
def test_a_shape_that_does_not_fit_is_an_error(text: str) -> None:
    sizes, shape = ERRORS[text]
    with pytest.raises(Exception, match=text):
        run_operator("Expand", [np.array(sizes, np.int64), np.zeros(shape, np.float32)], 1, {})


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_it_replaces_that_of_onnx(precision: str) -> None:
    built = Built(precision)
    built.inputs = {"x": ("rows", 1, 4), "like": ("rows", 3, 4)}
    outputs = [built.add("Expand", "x", built.add("Shape", "like"))]
    outputs += [built.add("Expand", "x", built.constant([2, 1, 5, 1], np.int64))]
    outputs += [built.add("Expand", "x", built.constant([2] + [1] * 8, np.int64))]  # too many axes for ours
    model = built.model(outputs)
    changed, texts = replaced(model)
    assert len(texts) == 2 and all(text.endswith(": Expand") for text in texts)
    assert [node.domain for node in changed.graph.node if node.op_type.startswith("Expand")].count("") == 1
    values = {
        name: np.random.default_rng(2).normal(size=size)
        for name, size in [("x", (5, 1, 4)), ("like", (5, 3, 4))]
    }
    given = {name: value.astype(precision) for name, value in values.items()}
    for wanted, found in zip(run(model, given), run(changed, given), strict=True):
        np.testing.assert_array_equal(found, wanted)
