"""Distinct rows, sums of duplicates, clipping: against dictionaries, whatever the table's size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import handmade
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_runtime.engines.onnx_rows_graphs import row_adder
from vflc_runtime.engines.onnx_session import ort_value
from vflc_runtime.engines.updates import DistinctRows, Scratch, clip_parts, clip_tables
from vflc_runtime.errors import Failure
from vflc_runtime.run.session import Session

IDS = st.lists(st.lists(st.integers(-1, 19), max_size=30), min_size=1, max_size=3)


def distinct_rows(rows: int, numpy: bool) -> DistinctRows:
    made = DistinctRows(rows)
    if numpy:
        made._kernel = None
    return made


BY = pytest.mark.parametrize("numpy", [False, True], ids=["kernel", "numpy"])


@BY
@given(
    st.lists(IDS, min_size=1, max_size=4),
    st.integers(20, 5000),
    st.sampled_from([np.int32, np.int64, np.int16]),
    st.sampled_from([1, 2]),
)
def test_distinct_rows_against_a_dictionary(
    numpy: bool, batches: list[list[list[int]]], rows: int, dtype: Any, apart: int
) -> None:
    """Several batches on the same marks: nothing may be left over from the one before."""
    small, large = distinct_rows(20, numpy), distinct_rows(rows, numpy)
    for parts in batches:
        arrays = [np.repeat(np.array(part, dtype), apart)[::apart] for part in parts]
        joined = [row for part in parts for row in part]
        distinct, positions = small.find(arrays)
        last = {row: index for index, row in enumerate(joined) if row >= 0}
        assert distinct.tolist() == sorted(last, key=lambda row: last[row])
        for row, position in zip(joined, positions.tolist(), strict=True):
            assert position == (len(distinct) if row < 0 else distinct.tolist().index(row))
        again = large.find(arrays)
        np.testing.assert_array_equal(again[0], distinct)
        np.testing.assert_array_equal(again[1], positions)


@BY
def test_ids_that_change_where_they_lie(numpy: bool) -> None:
    rows, parts = distinct_rows(9, numpy), [np.array([3, 4, 3], np.int32), np.array([-1, 8])]
    assert [each.tolist() for each in rows.find(parts)] == [[4, 3, 8], [1, 0, 1, 3, 2]]
    parts[0][:] = 8, 0, -1
    assert [each.tolist() for each in rows.find(parts)] == [[0, 8], [1, 0, 2, 2, 1]]


@BY
@pytest.mark.parametrize("bad", [5, -2, -6, -7, 2**62, -(2**63)])
def test_ids_outside_the_table(bad: int, numpy: bool) -> None:
    with pytest.raises(Failure) as caught:
        distinct_rows(5, numpy).find([np.array([1, bad, 2, 4, -1])])  # what -2 and 5 would be comes later
    assert caught.value.code == "VFL0613"


@pytest.mark.parametrize("precision", ["float32", "float64"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 60))
def test_duplicates_are_summed_in_order_of_occurrence(precision: str, seed: int, rows: int) -> None:
    """To the bit: floating point sums depend on their order."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(-1, 6, (rows, 3)).astype(np.int32)
    gradient = (generator.normal(size=(rows, 3, 2)) * 10.0 ** generator.integers(-3, 4, (rows, 3, 1))).astype(
        precision
    )
    distinct, positions = DistinctRows(handmade.ITEMS).find([ids])
    count = np.array([len(distinct) + 1])
    given = {"count": count, "at.0": positions.reshape(-1, 1), "gradient.0.0": gradient}
    held = {name: ort_value(array) for name, array in given.items()}
    made = row_adder(precision, (2,), 1).run_with_ort_values(held, ["sums"], None)
    sums = made[0].numpy()[: len(distinct)]
    expected: dict[int, Any] = {}
    for row, part in zip(ids.ravel().tolist(), gradient.reshape(-1, 2), strict=True):
        if row >= 0:
            expected[row] = expected.get(row, np.zeros(2, precision)) + part
    assert sorted(expected) == sorted(distinct.tolist())
    for row, total in zip(distinct.tolist(), sums, strict=True):
        assert total.tobytes() == expected[row].tobytes()


def test_the_size_of_a_table_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows touched end with the same bits in a table of 50 and of 50 000 rows."""
    generator, ends = np.random.default_rng(7), []
    batches = [handmade.batch(generator, 30) for _ in range(4)]
    for users in (50, 50_000):
        monkeypatch.setattr(handmade, "USERS", users)
        session = Session(handmade.write_bundle(tmp_path / str(users)))
        start = {"a.table": np.ones((users, 2), "f"), "a.w": np.ones((1, 2), "f")}
        session.engines["alice"].load(start)
        for inputs in batches:
            session.step(inputs)
        ends.append(session.weights()["a.table"][:50])
    np.testing.assert_array_equal(ends[0], ends[1])


def test_memory_that_was_left_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger batch makes positions lie elsewhere, also one without ids, which updates nothing."""
    left, rows = [], Scratch.rows

    def spoiled(scratch: Scratch, count: int) -> Any:
        before = scratch._memory
        found = rows(scratch, count)
        if scratch._memory is not before and before.dtype == np.int64:
            left.append(before)
            before.fill(2**40)
        return found

    monkeypatch.setattr(Scratch, "rows", spoiled)
    generator = np.random.default_rng(3)
    small, large, again = (handmade.batch(generator, count) for count in (8, 4000, 8))
    large["bob.m"][...] = -1
    session = Session(handmade.write_bundle(tmp_path))
    for inputs in (small, large, again):
        session.step(inputs)
    assert any(len(each) for each in left)


def test_clipping_keeps_each_part_within_the_limit() -> None:
    gradient = np.array([3.0, 4.0, 0.3, 0.4, 0.0])
    clip_parts(gradient, [slice(0, 2), slice(2, 4), slice(4, 5)], 1.0)
    np.testing.assert_allclose(gradient, [0.6, 0.8, 0.3, 0.4, 0.0])
    rows = np.array([7, 1, 4])
    summed = np.array([[3.0, 0.0], [0.6, 0.0], [0.0, 4.0]])
    clip_tables(summed, rows, np.array([4, 8]), 1.0)
    np.testing.assert_allclose(summed, [[0.6, 0.0], [0.6, 0.0], [0.0, 0.8]])
