"""The order of rows: from the seed and the number of rows alone, the same everywhere, for ever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vflc_runtime.data.batches import Order, gather, permutation, sequential, split
from vflc_runtime.errors import Failure


def test_the_order_is_pinned():
    order = Order(rows=10, seed=7, validation=0.3, batch=3)
    assert order.held_out.tolist() == [7, 8, 9]
    assert [batch.tolist() for batch in order.batches(0)] == [[1, 5, 2], [0, 6, 3], [4]]
    assert [batch.tolist() for batch in order.batches(1)] == [[0, 6, 3], [2, 5, 1], [4]]


@given(st.integers(2, 300), st.integers(0, 2**63), st.floats(0, 0.9), st.integers(1, 40))
def test_every_training_row_comes_once_an_epoch(rows, seed, validation, batch):
    train, held_out = split(rows, seed, validation)
    assert sorted([*train, *held_out]) == list(range(rows))
    assert list(train) == sorted(train) and list(held_out) == sorted(held_out) and len(train)
    assert (len(held_out) > 0) == (validation > 0)
    if batch > len(train):
        with pytest.raises(Failure, match="VFL0609"):
            Order(rows, seed, validation, batch)
        return
    order = Order(rows, seed, validation, batch)
    batches = list(order.batches(3))
    assert len(batches) == order.steps
    assert all(len(b) == batch for b in batches[:-1]) and 1 <= len(batches[-1]) <= batch
    assert sorted(np.concatenate(batches)) == list(train)
    again = [b.tolist() for b in Order(rows, seed, validation, batch).batches(3, first=1)]
    assert again == [b.tolist() for b in batches[1:]]


def test_seeds_epochs_and_purposes_differ():
    shuffles = {tuple(permutation(50, seed, f"epoch {e}")) for seed in range(3) for e in range(3)}
    assert len(shuffles) == 9
    np.random.seed(0)
    before = permutation(50, 1, "split")
    np.random.seed(1)
    assert (before == permutation(50, 1, "split")).all()


def test_a_permutation_is_uniform_enough():
    counts = np.zeros((5, 5))
    for seed in range(2000):
        counts[np.arange(5), permutation(5, seed, "test")] += 1
    assert abs(counts / 2000 - 0.2).max() < 0.05


def test_equal_draws_stay_in_their_order(monkeypatch):
    class Few:
        def __init__(self, key):
            pass

        def random_raw(self, count):
            return np.arange(count, dtype=np.uint64) % 3

    monkeypatch.setattr(np.random, "Philox", Few)
    found = permutation(1000, 0, "test")
    assert [(i % 3, i) for i in found] == sorted((i % 3, i) for i in range(1000))


def test_without_shuffling_rows_come_in_key_order():
    assert [b.tolist() for b in Order(5, 0, 0.0, 2, shuffle=False).batches(4)] == [[0, 1], [2, 3], [4]]
    assert Order(1, 0, 0.0, 1).steps == 1


def test_what_cannot_be_split_or_batched():
    where = {"file": "spec.vfl", "line": 9}
    with pytest.raises(Failure, match="VFL0608"):
        Order(1, 0, 0.2, 1)
    with pytest.raises(Failure, match="VFL0607"):
        Order(0, 0, 0.2, 1)
    with pytest.raises(Failure, match="VFL0609") as caught:
        Order(10, 0, 0.5, 6, where=where)
    assert caught.value.where == where and "at most 5" in caught.value.help
    assert Order(2, 0, 0.999, 1).train.size == 1


def test_gather_gives_contiguous_rows():
    inputs = {"a": np.arange(12, dtype=np.int32).reshape(6, 2), "b": np.arange(6)}
    parts = [gather(inputs, i) for i in sequential(np.array([5, 0, 3]), 2)]
    assert [p["b"].tolist() for p in parts] == [[5, 0], [3]]
    assert parts[0]["a"].tolist() == [[10, 11], [0, 1]] and parts[0]["a"].flags.c_contiguous


@given(st.integers(2, 300), st.integers(0, 2**63), st.integers(2, 12))
def test_folds_are_disjoint_and_all_rows_together(rows, seed, folds):
    if rows < 2 * folds:
        return
    parts = [split(rows, seed, 1 / folds, fold) for fold in range(folds)]
    assert sorted(np.concatenate([held_out for _, held_out in parts])) == list(range(rows))
    for train, held_out in parts:
        assert sorted([*train, *held_out]) == list(range(rows)) and list(train) == sorted(train)
        assert rows // folds <= len(held_out) <= -(-rows // folds)
    assert np.array_equal(parts[0][1], split(rows, seed, 1 / folds)[1])
    order = Order(rows, seed, 1 / folds, 1, fold=folds - 1)
    assert np.array_equal(order.held_out, parts[-1][1])


def test_a_fold_without_rows_is_refused():
    with pytest.raises(Failure, match="VFL0608"):
        split(3, 0, 0.1, 9)
