"""A phase in one run does what it does step by step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vflc_kernels
from population.population_testing import compiled, ratings, rounds_of, table
from vflc_runtime.population.copies import ranked
from vflc_runtime.population.rounds import Rounds
from vflc_runtime.population.users import Users

SPEC = """
population users {
  key user
  feature item: int -> index(30)
  column stars: float
  label rating = stars
}
party hub {}
global items = table(30, 4) at hub
global mean = weight(1, init = zeros) at hub
local taste = weight(4) at users
SCORE
predict rating = score
objective mse(score, users.rating) + l2(0.1, taste) + l2(0.01, items)
release users {
  to hub: item, rating
  to users: item, rating
}
train reconstruct {
  rounds 3  cohort 9  batch 3
  SETTINGS  server sgd(1.0)
}
"""
DOT = "score = dot(taste, lookup(items, users.item)) + mean"
DEEP = """
global hidden = mlp(taste * lookup(items, users.item), [5, 3], activation = tanh) at hub
global out = dense(hidden, 1) at hub
score = out + mean
"""
SETTINGS = {
    "sgd": "rebuild sgd(0.1)  client sgd(0.1)",
    "adagrad": "rebuild adagrad(0.1)  client adagrad(lr = 0.1, lazy = true)  rebuild_epochs 2",
    "adam": "rebuild adam(0.1)  client adam(0.1, lazy = true)  client_epochs 3  client_steps 4",
    "joint": "rebuild sgd(0.1)  client sgd(0.1)  joint true  keep_local true",
}


def made(make: Callable[..., Any], *shapes: Any) -> Any:
    found = make(*shapes)
    assert found is not None
    return found


def joined_and_not(text: str, folder: Path, again: bool, precision: str = "float64") -> list[Rounds]:
    population, source = compiled(text, folder, precision), table(ratings(again=again))
    both = [rounds_of(population, source) for _ in range(2)]
    for each in both[0].pool.runner._users._joined.values():  # type: ignore[attr-defined]
        each._made = partial(made, each._made)
    both[1].pool.runner._users._joined = {}  # type: ignore[attr-defined]
    return both


@pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")
@pytest.mark.parametrize("again", [False, True], ids=["rows once", "rows again"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_one_run_does_what_step_after_step_does(settings: str, again: bool, tmp_path: Path) -> None:
    text = SPEC.replace("SCORE", DOT).replace("SETTINGS", SETTINGS[settings])
    one, two = joined_and_not(text, tmp_path, again)
    for number in range(3):
        assert two.step(number).scores == pytest.approx(one.step(number).scores, rel=1e-12)
    for name, weight in one.hub.weights.items():
        np.testing.assert_allclose(weight, two.hub.weights[name], rtol=1e-11, atol=1e-13)


@pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")
def test_layers_and_lists_run_as_one_too(tmp_path: Path) -> None:
    text = SPEC.replace("SCORE", DEEP).replace("SETTINGS", SETTINGS["joint"])
    one, two = joined_and_not(text, tmp_path, again=True)
    for number in range(2):
        assert two.step(number).scores == pytest.approx(one.step(number).scores, rel=1e-12)
    for name, weight in one.hub.weights.items():
        np.testing.assert_allclose(weight, two.hub.weights[name], rtol=1e-11, atol=1e-13)


@pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")
def test_a_gradient_of_two_tables_is_added_up_for_each(tmp_path: Path) -> None:
    pair = "global more = table(30, 4) at hub\n" + DOT.replace(
        "lookup(items, users.item)", "(lookup(items, users.item) + lookup(more, users.item))"
    )
    text = SPEC.replace("SCORE", pair).replace("SETTINGS", SETTINGS["sgd"]).replace(" + l2(0.01, items)", "")
    one, two = joined_and_not(text, tmp_path, again=True)
    for each in (one, two):
        each.step(0)
    for name, weight in one.hub.weights.items():
        np.testing.assert_allclose(weight, two.hub.weights[name], rtol=1e-11, atol=1e-13)


def test_a_phase_that_reads_no_column_runs_too(tmp_path: Path) -> None:
    """The local weights learn from their penalty alone: their steps are fed nothing."""
    text = SPEC.replace("SCORE", DOT.replace("taste,", "stop_gradient(taste),"))
    text = text.replace("SETTINGS", SETTINGS["sgd"] + "  keep_local true")
    source = table(ratings())
    one, two = (rounds_of(compiled(text, tmp_path), source) for _ in range(2))
    two.pool.runner._users._joined = {}  # type: ignore[attr-defined]
    for number in range(2):
        assert two.step(number).scores == pytest.approx(one.step(number).scores, rel=1e-12)
    np.testing.assert_allclose(one.kept["taste"], two.kept["taste"], rtol=1e-11, atol=1e-13)


@pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")
def test_no_bit_of_a_user_depends_on_threads_or_on_others(tmp_path: Path) -> None:
    text = SPEC.replace("SCORE", DEEP).replace("SETTINGS", SETTINGS["adam"])
    population, source = compiled(text, tmp_path, "float32"), table(ratings(40))
    made = []
    for threads, together in ((1, 512), (2, 512), (4, 1)):
        rounds = rounds_of(population, source, together=together)
        runner = rounds.pool.runner._users  # type: ignore[attr-defined]
        for each in runner._joined.values():
            each._threads = threads
        seen = []
        take = runner.get
        runner.get = lambda value, take=take, seen=seen: (
            seen.append((value, take(value).copy())) or seen[-1][1]
        )
        rounds.step(0)
        items = [rows for value, rows in seen if value == "items.delta"]
        made.append(np.sort(np.concatenate(items), axis=0))
    for other in made[1:]:
        np.testing.assert_array_equal(made[0], other)


@pytest.mark.parametrize("size", [9, 1000, 100_000])
@pytest.mark.parametrize("count", [0, 1, 200])
def test_ranks_are_those_of_numpy_whether_numbers_are_marked_or_sorted(count: int, size: int) -> None:
    values = np.random.default_rng(count).integers(0, size, count)
    found, places = ranked(values, size)
    expected, back = np.unique(values, return_inverse=True)
    assert found.tolist() == expected.tolist() and places.tolist() == back.tolist()


def test_words_of_users_are_those_of_their_keys_however_many_are_asked_for() -> None:
    import pyarrow as pa

    users = Users(pa.array([f"u{i}" for i in range(5)]), np.arange(6), {})
    some = users.words(np.array([3, 1]))
    assert (
        some.tolist() == [users.words(np.arange(5))[i] for i in (3, 1)]
        and len(set(users.words(np.arange(5)))) == 5
    )
