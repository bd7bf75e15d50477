"""A phase's steps as one graph change what they change as two graphs, one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from population.population_testing import compiled, ratings, rounds_of, table
from vflc_runtime.engines.population_steps import JoinedStep
from vflc_runtime.population import steps
from vflc_runtime.population.copies import ranked, repeated
from vflc_runtime.population.steps import GroupState
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
local taste = weight(4) at users
score = dot(taste, lookup(items, users.item))
predict rating = score
objective mse(score, users.rating)
release users {
  to hub: item, rating
  to users: item, rating
}
train reconstruct {
  rounds 3  cohort 9  batch 3  rebuild_epochs 2
  rebuild OPTIMIZER  client OPTIMIZER  server sgd(1.0)
}
"""


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    "optimizer", ["sgd(0.1)", "adagrad(lr = 0.1, lazy = true)", "sgd(0.1, momentum = 0.5)"]
)
def test_one_graph_does_what_two_do(
    optimizer: str, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    population = compiled(SPEC.replace("OPTIMIZER", optimizer), tmp_path)
    source, calls = table(ratings(again=again)), []
    call = JoinedStep.__call__
    monkeypatch.setattr(JoinedStep, "__call__", lambda *given: calls.append(1) or call(*given))
    one, two = (rounds_of(population, source) for _ in range(2))
    two.pool.runner._users._joined = {}  # type: ignore[attr-defined]
    for number in range(3):
        made = one.step(number)
        before = len(calls)
        assert two.step(number).scores == pytest.approx(made.scores, rel=1e-12)
        assert before == len(calls) > 0
    np.testing.assert_allclose(one.hub.weights["items"], two.hub.weights["items"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("client", "again", "together"),
    [
        pytest.param("client sgd(0.1)", False, True, id="sgd"),
        pytest.param("client adagrad(lr = 0.1, lazy = true)", False, True, id="adagrad"),
        pytest.param("client sgd(0.1)", True, False, id="rows come again"),
        pytest.param("client sgd(0.1)  client_epochs 2", False, False, id="epochs"),
        pytest.param("client sgd(0.1)  joint true", False, False, id="local weights change"),
        pytest.param("client adam(0.1, lazy = true)", False, False, id="steps have numbers"),
    ],
)
def test_steps_that_depend_on_no_other_are_made_together(
    client: str, again: bool, together: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    population = compiled(SPEC.replace("client OPTIMIZER", client).replace("OPTIMIZER", "sgd(0.1)"), tmp_path)
    source, seen, apart = table(ratings(again=again)), [], GroupState._apart
    one, two = (rounds_of(population, source) for _ in range(2))
    monkeypatch.setattr(steps, "TOGETHER", 2)
    for number in range(2):
        monkeypatch.setattr(GroupState, "_apart", lambda *given: seen.append(apart(*given)) or seen[-1])
        made = one.step(number)
        monkeypatch.setattr(GroupState, "_apart", lambda *given: False)
        assert two.step(number).scores == pytest.approx(made.scores, rel=1e-12)
    assert any(seen) is together
    np.testing.assert_allclose(one.hub.weights["items"], two.hub.weights["items"], rtol=1e-12, atol=1e-14)


def test_ids_that_come_again() -> None:
    rows = np.array([[[1, 2, 3], [4, 0, 0], [5, 6, 5]], [[-1, 7, -1], [8, 8, 0], [0, 0, 0]]])
    assert repeated(rows).tolist() == [[False, False, True], [False, True, False]]


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
