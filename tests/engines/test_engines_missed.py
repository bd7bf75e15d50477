"""What a history says of missed steps, each number by its definition, with blocks of a few steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_runtime.bundle.plan_rows import Matrix, Missed, Newest, Power, Product, Sum
from vflc_runtime.engines import missed
from vflc_runtime.engines.missed import History

OF = (("a", "b"), ("b", "c"))
KEPT = tuple(
    Sum(name, "a", 0.5, 1.5, mix, "b") for name, mix in (("s", ((2.0, 0.0),)), ("q", ((1.0, 0.25),)))
)
NUMBERS: tuple[Missed, ...] = (
    Power("p", 0.5), Power("p2", 0.75), Power("none", 0.0), Product("x", "a"), Product("y", "b"),
    Newest("n", "c"), Newest("m", "a"), *KEPT, Sum("r", "b", 0.25, 1.0, ((1.0, 1.0), (3.0, 0.5)), None),
    Sum("t", "b", 0.25, 1.0, ((2.0, 0.0),), None), Sum("zero", "a", 0.0, 1.0, ((1.0, 0.0),), None),
    Matrix("aa", OF, 0, 0), Matrix("ab", OF, 0, 1), Matrix("ba", OF, 1, 0), Matrix("one", (("a",),), 0, 0),
)  # fmt: skip


def series(steps: Any) -> dict[str, Any]:
    return {"a": 1 + 1 / (steps + 1), "b": 0.5 + 0.5 / steps, "c": np.cos(steps)}


def number(each: Missed, last: int, step: int) -> float:
    """By what `plan_rows` says it is."""
    at: Callable[[str, int], float] = lambda of, when: float(series(np.float64(when))[of])  # noqa: E731
    if isinstance(each, Power):
        return each.base ** (step - last)
    if isinstance(each, Product):
        return math.prod(at(each.of, when) for when in range(last + 1, step + 1))
    if isinstance(each, Newest):
        return at(each.of, step) if step else 0.0
    if isinstance(each, Matrix):
        whole = np.eye(len(each.of))
        for when in range(last + 1, step + 1):
            whole = np.array([[at(of, when) for of in row] for row in each.of]) @ whole
        return float(whole[each.row, each.column])
    total = 0.0
    for i in range(1, step - last + 1):
        term = at(each.of, last + i) * each.ratio**i
        term *= sum(c / (1 + x * (each.growth**i - 1)) for c, x in each.mix)
        total += term * (1 if each.kept is None else number(Product("", each.kept), last + i, step))
    return total


@pytest.fixture(params=[3, 4])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(missed, "BLOCK", request.param)
    return int(request.param)


@pytest.mark.parametrize("seen", [[], [1, 2, 3], [5], [3, 4, 8, 9, 16]])
def test_numbers_are_what_the_plan_says(block: int, seen: list[int]) -> None:
    """In the order of the plan, whatever was asked for before, and over many blocks."""
    history = History(NUMBERS, series)
    for step in [*seen, 17, 30]:
        last = np.array([0, step, step // 2, max(step - 1, 0), step // 3])
        found = history.numbers(last, step)
        due = [[number(each, int(start), step) for each in NUMBERS] for start in last]
        np.testing.assert_allclose(found, due, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_of_the_precision_that_is_asked_for(block: int, dtype: str) -> None:
    found = History(NUMBERS, series).numbers(np.array([1, 2]), 5, np.dtype(dtype))
    assert found.dtype == dtype and found.shape == (2, len(NUMBERS))


def test_series_are_asked_for_block_by_block(block: int) -> None:
    asked: list[list[float]] = []

    def noted(steps: Any) -> dict[str, Any]:
        asked.append(steps.tolist())
        return series(steps)

    history = History(NUMBERS[3:5], noted)
    for step in (1, 2, 2 * block, 2 * block + 1):
        history.numbers(np.array([0]), step)
    assert asked == [[float(first + i) for i in range(block)] for first in (1, block + 1, 2 * block + 1)]


def test_without_series_powers_follow_from_steps_alone(block: int) -> None:
    found = History((Power("p", 0.5),), None).numbers(np.array([0, 3, 9]), 9)
    assert found.tolist() == [[2.0**-9], [2.0**-6], [1.0]]


def test_before_the_first_step_nothing_was_missed(block: int) -> None:
    kinds = (Product("x", "a"), Power("p", 0.5), Newest("n", "c"), NUMBERS[7], *NUMBERS[12:15])
    assert History(kinds, series).numbers(np.array([0]), 0).tolist() == [[1, 1, 0, 0, 1, 0, 0]]


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 0.95), st.integers(1, 4000))
def test_powers_vanish_and_stay_so(base: float, step: int) -> None:
    """As far as numbers go, and 0 from then on; made once, and for no more steps than that."""
    history = History((Power("p", base),), None)
    last = np.arange(step + 1)
    powers = history.numbers(last, step)[:, 0]
    np.testing.assert_allclose(powers, base ** (step - last.astype(float)), rtol=1e-12, atol=1e-320)
    assert all(early <= late for early, late in pairwise(powers))
