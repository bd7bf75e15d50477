"""Users, halves and cohorts: who is with whom changes nothing, and no example is in both halves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from population.population_testing import compiled, ratings, rounds_of, table
from population.reference import FACTORS, GLOBALS, spec
from vflc_runtime.errors import Failure
from vflc_runtime.population import random
from vflc_runtime.population.rounds import Rounds
from vflc_runtime.population.users import cohort_of, group_of, split_users

SETTINGS = "rounds 3  cohort 6  batch 3  test 0.2  validation 0.2"


@pytest.fixture
def rounds(tmp_path) -> Rounds:
    return rounds_of(compiled(spec(SETTINGS), tmp_path), table(ratings()))


@pytest.mark.parametrize("halves", ["examples", "batches", "fraction"])
def test_the_halves_are_disjoint_whole_and_the_same_in_every_round(rounds, halves):
    settings = replace(rounds.settings, halves=halves)
    users = rounds.users
    together = group_of(users, np.arange(len(users)), settings)
    for user in range(len(users)):
        alone = group_of(users, [user], settings)
        parts = [set(alone.rows[half.rows[half.rows >= 0]]) for half in (alone.rebuild, alone.update)]
        assert not parts[0] & parts[1]
        assert parts[0] | parts[1] == set(range(users.starts[user], users.starts[user + 1]))
        at = int(np.flatnonzero(together.users == user)[0])
        for part, half in zip(parts, (together.rebuild, together.update), strict=True):
            rows = half.rows[:, at]
            assert set(together.rows[rows[rows >= 0]]) == part


def test_streams_are_splitmix64() -> None:
    """Its published first numbers from 0: first weights and orders of every run rest on them."""
    found = random.at(np.zeros(1, np.uint64), np.arange(3)).tolist()
    assert found == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_bytes_are_counted_by_row_and_by_client_update(rounds) -> None:
    """Of tables the rows that a user asks for, of other weights the whole; measuring sends no change."""
    width, users = 8, rounds.settings.cohort
    chosen = cohort_of(rounds.split, rounds.settings, 0)
    starts, items = rounds.users.starts, rounds.users.inputs["users.item"]
    asked = sum(len(set(items[starts[u] : starts[u + 1]].tolist())) for u in chosen)
    assert rounds.step(0).sent == {
        "items.ids": asked * 4,
        "items": asked * FACTORS * width,
        "items.delta": asked * FACTORS * width,
        "levels.ids": asked * 4,
        "levels": asked * width,
        "levels.delta": asked * width,
        "mean": users * width,
        "mean.delta": users * width,
        "users.examples": users * 4,
    }
    measured = rounds.measure(chosen).sent
    assert measured["items"] == asked * FACTORS * width and measured["mean"] == users * width
    assert measured["items.delta"] == measured["mean.delta"] == measured["users.examples"] == 0


def test_the_same_data_for_both(rounds):
    group = group_of(rounds.users, np.arange(5), replace(rounds.settings, halves="same"))
    assert group.rebuild is group.update
    assert group.update.examples.sum() == len(group.rows)


def test_users_are_divided_and_cohorts_drawn_without_replacement(rounds):
    split, settings = rounds.split, rounds.settings
    every = np.concatenate([split.train, split.validation, split.test])
    assert sorted(every) == list(range(len(rounds.users)))
    assert len(split.validation) == len(split.test) == 3
    drawn = [cohort_of(split, settings, number) for number in range(3)]
    assert all(len(set(cohort)) == 6 and set(cohort) <= set(split.train) for cohort in drawn)
    assert not np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], cohort_of(split, settings, 0))
    by_key = split_users(rounds.users, replace(settings, divide="keys"))
    assert by_key.test.tolist() == [11, 12, 13]


def test_groups_of_any_size_give_the_same_to_rounding(rounds):
    whole = rounds.measure(rounds.split.train)
    first = rounds.step(0)
    weights = {name: rounds.hub.weights[name].copy() for name in GLOBALS}
    again = Rounds(rounds.population, rounds.settings, rounds.users, rounds.split, rounds.pool, together=2)
    assert again.measure(rounds.split.train).scores["loss"] == pytest.approx(whole.scores["loss"], rel=1e-12)
    assert again.step(0).scores["loss"] == pytest.approx(first.scores["loss"], rel=1e-12)
    for name in GLOBALS:
        np.testing.assert_allclose(again.hub.weights[name], weights[name], rtol=1e-12, atol=1e-15)


def test_the_order_of_the_table_within_other_users_changes_nothing(rounds, tmp_path):
    users = ratings()
    turned = rounds_of(rounds.population, table(dict(reversed(users.items()))))
    assert turned.step(0).scores == rounds.step(0).scores
    for name in GLOBALS:
        assert np.array_equal(turned.hub.weights[name], rounds.hub.weights[name])


def test_users_with_too_few_examples_count_for_nothing_and_are_counted(rounds):
    alone = rounds.measure(np.array([0]))
    assert (alone.small, alone.examples, alone.scores) == (1, 0, {"loss": None})


def test_changes_that_are_not_finite_are_dropped_and_counted(tmp_path):
    users = ratings()
    users["u003"] = [(item, 1e200) for item, _ in users["u003"]]
    rounds = rounds_of(compiled(spec("cohort 14  batch 3  test 0.0  validation 0.0"), tmp_path), table(users))
    done = rounds.step(0)
    assert done.broken == 1 and np.isfinite(done.scores["loss"])
    counted = rounds.users.counts(np.arange(14), None)[np.arange(14) != 3] // 2
    assert done.examples == counted.sum()
    assert all(np.isfinite(rounds.hub.weights[name]).all() for name in GLOBALS)


def test_only_rows_that_somebody_touched_change(tmp_path):
    users = {f"u{i}": [(i, 3.0), (i + 1, 4.0), (i + 2, 1.0)] for i in range(6)}
    rounds = rounds_of(compiled(spec("cohort 4  test 0.0  validation 0.0"), tmp_path), table(users))
    before = rounds.hub.weights["items"].copy()
    rounds.step(0)
    changed = np.flatnonzero((rounds.hub.weights["items"] != before).any(axis=1))
    touched = {item for user in cohort_of(rounds.split, rounds.settings, 0) for item, _ in users[f"u{user}"]}
    assert changed.size and set(changed) <= touched


def test_a_cohort_larger_than_the_population_is_refused(rounds):
    with pytest.raises(Failure, match="a cohort of 9 is larger than the 8 users") as refused:
        split_users(rounds.users, replace(rounds.settings, cohort=9))
    assert refused.value.code == "VFL0619"


def test_nobody_of_a_group_has_anything_in_a_half(tmp_path):
    """Users with one example each are all too small, alone, among others, and all together."""
    rows = {**{f"s{i}": [(i, 3.0)] for i in range(3)}, "t": [(1, 2.0), (2, 4.0)], "u": [(3, 1.0)] * 5}
    text = spec("rounds 2  cohort 3  batch 3  test 0.0  validation 0.0", 0.1, 0.1)
    rounds = rounds_of(compiled(text, tmp_path), table(rows), together=1)
    small = np.arange(3)
    for chosen, counted in ((small, 0), (np.arange(5), 3)):
        found = rounds.measure(chosen)
        assert found.small == 3 and (found.scores["loss"] is None) == (counted == 0)
    assert rounds.step(0).small >= 1
