"""Rows of tables by their numbers: our operator against NumPy, and as what replaces ONNX's."""

import numpy as np
import pytest
import vflc_kernels
from built import Built, replaced, run
from hypothesis import given, settings
from hypothesis import strategies as st
from operators import Array, run_operator

pytestmark = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(1, 9),
    st.sampled_from([0, 1, 2, 7, 8, 16, 32, 33]),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([np.int32, np.int64]),
    st.integers(1, 3),
)
def test_rows_are_those_of_numpy(
    shape: list[int], rows: int, width: int, kind: type, number: type, threads: int
) -> None:
    draw = np.random.default_rng(rows)
    table: Array = draw.normal(size=(rows, width)).astype(kind)
    numbers = draw.integers(-rows, rows, shape)
    name = "GatherRows" if kind == np.float32 else "GatherRowsDouble"
    attributes = {"wide": int(number == np.int64)}
    (made,) = run_operator(name, [numbers.astype(number), table], 1, attributes, threads)
    np.testing.assert_array_equal(made, table[numbers])


@pytest.mark.parametrize("wrong", [3, -4, 2**31 - 1, -(2**31), 2**62, -(2**63)])
@pytest.mark.parametrize("width", [1, 16, 5])
def test_a_row_that_is_not_there_ends_in_an_error(wrong: int, width: int) -> None:
    """Wherever it stands, and before it is asked for ahead."""
    number = np.int32 if abs(wrong) < 2**32 else np.int64
    for at in (0, 700, 1999):
        numbers = np.zeros(2000, number)
        numbers[at] = wrong
        given = [numbers, np.zeros((3, width), np.float32)]
        with pytest.raises(Exception, match="none of a table's"):
            run_operator("GatherRows", given, 1, {"wide": int(number == np.int64)}, 2)


def test_what_is_no_table_ends_in_an_error() -> None:
    numbers = np.zeros(2, np.int32)
    for table in (np.zeros((0, 3), np.float32), np.zeros(3, np.float32), np.zeros((1, 1, 1), np.float32)):
        with pytest.raises(Exception, match=r"none of a table's|another form"):
            run_operator("GatherRows", [numbers, table], 1, {"wide": 0})
    with pytest.raises(Exception, match="another type"):
        run_operator("GatherRows", [numbers, np.zeros((2, 3), np.float32)], 1, {"wide": 1})


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_rows_of_matrices_are_replaced_and_nothing_else(precision: str) -> None:
    built = Built(precision)
    built.inputs = {"t": ("rows", 4), "cube": ("rows", 2, 4)}
    short, long = (built.constant([3, 0, -1], kind) for kind in (np.int32, np.int64))
    outputs = [built.add("Gather", "t", short), built.add("Gather", "t", long, axis=0)]
    outputs += [built.add("Gather", "t", short, axis=1), built.add("Gather", "cube", short)]
    model = built.model(outputs)
    changed, texts = replaced(model)
    assert len(texts) == 2 and all(text.startswith("GatherRows") for text in texts)
    assert [node.op_type.startswith("GatherRows") for node in changed.graph.node] == [
        True,
        True,
        False,
        False,
    ]
    draw = np.random.default_rng(1)
    values = {
        name: draw.normal(size=size).astype(precision) for name, size in [("t", (5, 4)), ("cube", (5, 2, 4))]
    }
    for wanted, found in zip(run(model, values), run(changed, values), strict=True):
        np.testing.assert_array_equal(found, wanted)
