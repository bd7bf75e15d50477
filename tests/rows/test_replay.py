"""Where steps are gone through one by one: each row through each that it missed, once and in order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from vflc_runtime.engines.replay import TableSweep, replay


@given(st.lists(st.integers(0, 12), max_size=30), st.integers(0, 12), st.integers(1, 40))
def test_each_row_goes_through_what_it_missed(last: list[int], step: int, size: int) -> None:
    before = np.minimum(np.array(last, np.int64), step)
    rows = np.arange(len(last)) + 100
    seen: dict[int, list[int]] = {int(row): [] for row in rows}
    for block in replay(rows, before, step, size):
        assert 0 < len(block.rows) <= size
        assert block.calls == step - before[block.rows - 100].min()
        for count, first, end in block.steps:
            for row in block.rows[:count]:
                seen[int(row)] += range(first, end + 1)
    for row, start in zip(rows.tolist(), before.tolist(), strict=True):
        assert seen[row] == list(range(start + 1, step + 1))


@given(st.integers(1, 30), st.integers(1, 10), st.lists(st.integers(0, 40), min_size=1, max_size=20))
def test_rounds_are_as_long_as_what_the_step_itself_took(rows: int, size: int, steps: list[int]) -> None:
    """In turn, at most once round, and no further than one part beyond."""
    rounds, visited, parts = TableSweep(rows, size), list[int](), -(-rows // size)
    for calls in steps:
        taken: list[int] = []

        def catch_up(part: np.ndarray, taken: list[int] = taken) -> int:  # type: ignore[type-arg]
            visited.append(int(part[0]))
            taken.append(len(part) % 3)
            return taken[-1]

        rounds.go(calls, catch_up)
        cost = [max(1, each) for each in taken]
        assert len(taken) <= parts and sum(cost[:-1]) < max(calls, 1)
        assert sum(cost) >= calls or len(taken) == parts
    assert visited == [(number % parts) * size for number in range(len(visited))]
