"""Rows taken out, put back and summed up by our operators, against NumPy."""

import numpy as np
import pytest
import vflc_kernels
from hypothesis import given
from hypothesis import strategies as st
from operators import Array, run_operator

pytestmark = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")

kinds = st.sampled_from([np.float32, np.float64])


def operator(name: str, kind: type) -> str:
    return name if kind == np.float32 else f"{name}Double"


def divided(draw: st.DrawFn, total: int) -> list[int]:
    """Widths that add up to `total`."""
    ends = sorted([*draw(st.lists(st.integers(1, total), max_size=3, unique=True)), total])
    return [b - a for a, b in zip([0, *ends], ends, strict=False) if b > a]


@given(st.data(), kinds)
def test_columns_are_divided_anew(data: st.DataObject, kind: type) -> None:
    total, rows = data.draw(st.integers(1, 9)), data.draw(st.sampled_from([0, 1, 7, 700]))
    draw = data.draw
    given, wanted = divided(draw, total), divided(draw, total)
    rng = np.random.default_rng(rows)
    arrays = [rng.normal(size=(rows, width)).astype(kind) for width in given]
    which = rng.integers(0, rows, 2 * rows) if rows and draw(st.booleans()) else None
    read: list[Array] = [*([] if which is None else [which]), *arrays]
    made = run_operator(
        operator("TakeRows", kind),
        read,
        len(wanted),
        {"indexed": int(which is not None), "widths": wanted},
        2,
    )
    joined = np.concatenate(arrays, axis=1)
    due = np.split(joined if which is None else joined[which], np.cumsum(wanted)[:-1], axis=1)
    for one, other in zip(made, due, strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.data(), kinds)
def test_rows_are_put_back(data: st.DataObject, kind: type) -> None:
    total, rows = data.draw(st.integers(1, 9)), data.draw(st.sampled_from([1, 7, 700]))
    draw = data.draw
    widths, parts = divided(draw, total), divided(draw, total)
    rng = np.random.default_rng(rows)
    which = rng.permutation(rows)[: draw(st.integers(0, rows))]
    arrays = [rng.normal(size=(rows, width)).astype(kind) for width in widths]
    values = [rng.normal(size=(len(which), width)).astype(kind) for width in parts]
    made = run_operator(
        operator("PutRows", kind), [which, *arrays, *values], len(arrays), {"arrays": len(arrays)}, 2
    )
    due = np.concatenate(arrays, axis=1)
    due[which] = np.concatenate(values, axis=1)
    np.testing.assert_array_equal(np.concatenate(made, axis=1), due)


@given(st.data(), kinds)
def test_gradients_of_one_row_are_added_in_order(data: st.DataObject, kind: type) -> None:
    count = data.draw(st.integers(0, 5))
    widths = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 40]), min_size=1, max_size=3))
    rng = np.random.default_rng(count)
    at = [rng.integers(0, count + 1, (size, 1)) for size in sizes]
    gradients = [rng.normal(size=(size, width)).astype(kind) for width in widths for size in sizes]
    (made,) = run_operator(
        operator("SumRows", kind), [np.array([count + 1]), *at, *gradients], 1,
        {"parts": len(sizes), "widths": widths},
    )  # fmt: skip
    due = []
    for table, width in enumerate(widths):
        sums = np.zeros((count + 1, width), kind)
        for part, positions in enumerate(at):
            for position, gradient in zip(positions, gradients[table * len(at) + part], strict=True):
                sums[position] += gradient
        due.append(sums[:count])
    np.testing.assert_array_equal(made, np.concatenate(due, axis=1))


def test_rows_out_of_place_and_sizes_that_do_not_fit_end_in_an_error() -> None:
    table = np.zeros((3, 2), np.float32)
    for row in (-1, 3):
        which = np.array([0, row])
        with pytest.raises(Exception, match="sizes of rows do not fit"):
            run_operator("TakeRows", [which, table], 1, {"indexed": 1, "widths": [2]})
        with pytest.raises(Exception, match="sizes of rows do not fit"):
            run_operator("PutRows", [which, table, table[:2]], 1, {"arrays": 1})
    with pytest.raises(Exception, match="sizes of rows do not fit"):
        run_operator("TakeRows", [table], 1, {"indexed": 0, "widths": [3]})
    with pytest.raises(Exception, match="sizes of rows do not fit"):
        run_operator("PutRows", [np.array([0]), table, table], 1, {"arrays": 1})
    with pytest.raises(Exception, match="sizes of rows do not fit"):
        bad = [np.array([2]), np.array([[5]]), np.zeros((1, 2), np.float32)]
        run_operator("SumRows", bad, 1, {"parts": 1, "widths": [2]})


def test_other_types_than_an_operator_reads_end_in_an_error() -> None:
    table, rows = np.zeros((3, 2), np.float32), np.array([0])
    for name, read, attributes in [
        ("TakeRows", [rows.astype(np.int32), table], {"indexed": 1, "widths": [2]}),
        ("TakeRowsDouble", [rows, table, table.astype(np.float64)], {"indexed": 1, "widths": [4]}),
        ("PutRows", [rows.astype(np.int32), table, table[:1]], {"arrays": 1}),
        ("SumRows", [np.array([2], np.int32), rows, table[:1]], {"parts": 1, "widths": [2]}),
    ]:
        with pytest.raises(Exception, match="elements of another type"):
            run_operator(name, read, 1, attributes)
