"""What a group of users needs to know of its examples: the extension's passes against NumPy's."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import vflc_kernels
from hypothesis import given
from hypothesis import strategies as st
from vflc_kernels.users import user_kernels
from vflc_runtime.population import copies, delta, random, users

pytestmark = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")

Array = np.ndarray[Any, Any]
some_counts = st.lists(st.sampled_from([0, 1, 2, 7, 8, 20, 63, 64, 65, 130]), max_size=9)


def both(monkeypatch: pytest.MonkeyPatch, module: Any, function: Any) -> tuple[Any, Any]:
    """What a function gives with the extension and without."""
    with_it = function()
    with monkeypatch.context() as patch:
        patch.setattr(module, "user_kernels", lambda: None)
        return with_it, function()


def examples(counts: list[int]) -> tuple[Array, Array, Array]:
    """Counts; whose each example is; its number there."""
    each = np.array(counts, np.int64)
    number = [np.arange(0), *(np.arange(count) for count in counts)]
    return each, np.repeat(np.arange(len(each)), each), np.concatenate(number)


@given(some_counts, st.integers(0, 2**32))
def test_order(counts: list[int], seed: int) -> None:
    each, owner, number = examples(counts)
    streams = np.random.default_rng(seed).integers(0, 2**64, len(each), np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        ours, theirs = both(patch, users, lambda: users._drawn(streams, each, owner, number))
    np.testing.assert_array_equal(ours, theirs)


def test_order_of_more_examples_than_fit_beside_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    each, owner, number = examples([3, 70_000])
    streams = np.array([5, 2**64 - 1], np.uint64)
    ours, theirs = both(monkeypatch, users, lambda: users._drawn(streams, each, owner, number))
    np.testing.assert_array_equal(ours, theirs)


@given(some_counts, st.integers(1, 9), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 2**32))
def test_batches(counts: list[int], batch: int, share: float, seed: int) -> None:
    each, owner, _ = examples(counts)
    late = np.random.default_rng(seed).uniform(size=len(owner)) < share
    for half in (False, True):
        sizes = np.bincount(owner[late == half], minlength=len(each))
        with pytest.MonkeyPatch.context() as patch:
            ours, theirs = both(patch, users, lambda: users._half(owner, each, sizes, late, half, batch))  # noqa: B023
        np.testing.assert_array_equal(ours.rows, theirs.rows)
        assert sorted(ours.rows[ours.rows >= 0]) == np.flatnonzero(late == half).tolist()


@given(some_counts, st.lists(st.sampled_from([(), (1,), (3,), (2, 2)]), min_size=1, max_size=3), st.data())
def test_distinct_ids(counts: list[int], shapes: list[tuple[int, ...]], data: st.DataObject) -> None:
    each, owner, _ = examples(counts)
    size, least = data.draw(st.sampled_from([1, 5, 4000, 2**31 - 1])), data.draw(st.sampled_from([-1, 0]))
    drawn = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    columns = [drawn.integers(least, size, (len(owner), *shape)).astype(np.int32) for shape in shapes]
    group: Any = SimpleNamespace(users=each, counts=each, owner=owner)
    kernels = user_kernels()
    assert kernels is not None
    ours, theirs = kernels.distinct(each, columns), copies._touched(group, columns, size)
    for one, other in zip((*ours[:3], *ours[3]), (*theirs[:3], *theirs[3]), strict=True):
        np.testing.assert_array_equal(one, other)
    for column, slots in zip(columns, ours[3], strict=True):
        there = column >= 0
        np.testing.assert_array_equal(ours[0][slots[there] - 1], column[there])


@given(st.integers(0, 9), st.integers(0, 40))
def test_uniform(count: int, size: int) -> None:
    streams = np.random.default_rng(size).integers(0, 2**64, count, np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        ours, theirs = both(patch, random, lambda: random.uniform(streams, size))
    np.testing.assert_array_equal(ours, theirs)


@given(st.integers(0, 70), st.sampled_from([np.float32, np.float64]), st.data())
def test_lost(size: int, kind: type, data: st.DataObject) -> None:
    drawn = np.random.default_rng(size)
    first, after = drawn.normal(size=(2, size)).astype(kind)
    extreme = data.draw(st.sampled_from([None, np.inf, -np.inf, np.nan, np.finfo(kind).max]))
    if extreme is not None and size:
        after[data.draw(st.integers(0, size - 1))] = extreme
    change: list[Array] = []

    def lost() -> bool:
        change.append(after.copy())
        return delta._lost(first, change[-1])

    with pytest.MonkeyPatch.context() as patch:
        ours, theirs = both(patch, delta, lost)
    assert ours == theirs == bool(np.isfinite(change[0]).all())
    np.testing.assert_array_equal(*change)


@given(st.integers(0, 40), st.integers(0, 9), st.sampled_from([np.float32, np.float64]))
def test_scaled(rows: int, width: int, kind: type) -> None:
    drawn = np.random.default_rng(rows * 10 + width)
    change = drawn.normal(size=(rows, width)).astype(kind)
    change[drawn.uniform(size=change.shape) < 0.1] = drawn.choice([np.inf, np.nan, -0.0, -np.finfo(kind).max])
    factors = drawn.choice([0.0, 1.0, 0.1, 7.0], rows).astype(kind)

    def scaled() -> Array:
        made = change.copy()
        with np.errstate(invalid="ignore"):
            delta._scale(made, factors)
        return made

    with pytest.MonkeyPatch.context() as patch:
        ours, theirs = both(patch, delta, scaled)
    np.testing.assert_array_equal(ours, theirs)
    number = ~np.isnan(ours)
    np.testing.assert_array_equal(np.signbit(ours[number]), np.signbit(theirs[number]))
    assert not ours[factors == 0].any() and not np.signbit(ours[factors == 0]).any()
