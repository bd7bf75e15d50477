"""Rows of tables by their numbers: our operator against NumPy, and as what replaces ONNX's."""

import numpy as np
import pytest
import vflc_kernels
from built import ELEMENTS, Built, replaced, run
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
    found = []
    for missing in (0, 1):
        attributes = {"wide": int(number == np.int64), "missing": missing}
        found += run_operator(name, [numbers.astype(number), table], 1, attributes, threads)
    np.testing.assert_array_equal(found[0], table[numbers])
    np.testing.assert_array_equal(found[1], np.where(numbers[..., None] < 0, 0, table[numbers]))


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
            run_operator("GatherRows", given, 1, {"wide": int(number == np.int64), "missing": 0}, 2)


def test_of_rows_that_may_be_missing_too_large_a_number_is_an_error() -> None:
    numbers = np.array([-5, 3], np.int32)
    with pytest.raises(Exception, match="none of a table's"):
        run_operator("GatherRows", [numbers, np.zeros((3, 4), np.float32)], 1, {"wide": 0, "missing": 1})


def test_what_is_no_table_ends_in_an_error() -> None:
    numbers = np.zeros(2, np.int32)
    for table in (np.zeros((0, 3), np.float32), np.zeros(3, np.float32), np.zeros((1, 1, 1), np.float32)):
        with pytest.raises(Exception, match=r"none of a table's|another form"):
            run_operator("GatherRows", [numbers, table], 1, {"wide": 0, "missing": 0})
    with pytest.raises(Exception, match="another type"):
        run_operator("GatherRows", [numbers, np.zeros((2, 3), np.float32)], 1, {"wide": 1, "missing": 0})


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


MASKS = {"last": -1, "second": 2, "first": 0}
"""Where the mask's column is put, of two axes of numbers: the first two belong to rows of a table."""


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("column", MASKS)
@pytest.mark.parametrize("least", [0, 1])
def test_rows_that_a_mask_leaves_out_are_read_as_zeros(precision: str, column: str, least: int) -> None:
    """What a mask of other numbers or another form leaves out stays a product."""
    built = Built(precision)
    built.inputs = {"t": ("rows", 4)}
    ids = built.constant([[3, -1, 0], [1, 4, -2]], np.int32)
    zero, other = built.constant(0, np.int32), built.constant(least, np.int32)
    there = built.add("Cast", built.add("GreaterOrEqual", ids, other), to=ELEMENTS[precision])
    mask = built.add("Unsqueeze", there, built.constant([MASKS[column]], np.int64))
    if column == "first":
        mask = built.add("Transpose", mask, perm=[1, 2, 0])
    rows = built.add("Gather", "t", built.add("Max", ids, zero))
    outputs = [built.add("Mul", rows, mask), built.add("Mul", mask, rows)]
    model = built.model(outputs)
    changed, texts = replaced(model)
    whole = column != "first" and least == 0
    assert [text.endswith("Gather, Mul") for text in texts if text.startswith("GatherRows")].count(
        True
    ) == 2 * whole
    assert ("Max" in [node.op_type for node in changed.graph.node]) == (not whole)
    values = {"t": np.random.default_rng(1).normal(size=(5, 4)).astype(precision)}
    for wanted, found in zip(run(model, values), run(changed, values), strict=True):
        np.testing.assert_array_equal(found, wanted)
