"""`specs/fedrecon` against TensorFlow Federated's algorithm, written down apart from vflc, in float64."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from population.population_testing import compiled, rounds_of, table
from population.reference import spec
from population.tff import Examples, Tutorial, evaluated, round_of
from specs.examples import POPULATIONS, prepared
from vflc_runtime.errors import Failure
from vflc_runtime.files import read_tensors
from vflc_runtime.population import random
from vflc_runtime.population.rounds import Rounds
from vflc_runtime.population.users import cohort_of, group_of
from vflc_runtime.run.train import train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source


@pytest.fixture
def rounds(tmp_path) -> Rounds:
    """The spec as it is, on 80 users: one with an example, one with a batch, one whose change overflows."""
    plan = compiled(POPULATIONS["fedrecon"].read_text("utf-8"), tmp_path)
    rows = pq.read_table(prepared("fedrecon", tmp_path / "data", "--generate", 12_000)["users"])
    user, movie, rating = (rows[name].to_pylist() for name in ("UserID", "MovieID", "Rating"))
    user, movie = [*user, 901, *[902] * 5, *[903] * 40], [*movie, 3, *range(5), *range(40)]
    rating = [*map(float, rating), 3.0, *[4.0] * 5, *[1e200] * 40]
    return rounds_of(plan, pa.table({"UserID": user, "MovieID": movie, "Rating": rating}))


def client(rounds: Rounds, user: int, number: int) -> tuple[np.ndarray, Examples]:
    """What is drawn for a client update: its first own vector, and its examples in their order."""
    users, settings = rounds.users, rounds.settings
    (taste,) = rounds.plan.locals
    stream = random.stream(users.words(np.array([user])), settings.seed, "local", taste.name, number)
    first = random.initial_values(stream, taste.shape, taste.init, "float64")[0]
    rows = group_of(users, [user], settings).rows
    movies, stars = users.inputs["users.MovieID"][rows], users.inputs["users.rating"][rows, 0]
    return first, list(zip(movies.tolist(), stars.tolist(), strict=True))


def test_the_tutorial_is_tensorflow_federateds(rounds) -> None:
    given, items = Tutorial(), rounds.hub.weights["items"].copy()
    chosen_before: set[int] = set()
    broken = small = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for number in range(4):
            cohort = cohort_of(rounds.split, rounds.settings, number).tolist()
            chosen_before.update(cohort)
            items, loss = round_of(items, [client(rounds, user, number) for user in cohort], given)
            done = rounds.step(number)
            broken, small = broken + done.broken, small + done.small
            assert done.scores["loss"] == pytest.approx(loss, rel=1e-9)
            np.testing.assert_allclose(rounds.hub.weights["items"], items, rtol=1e-9, atol=1e-12)
    sizes = np.diff(rounds.users.starts)[sorted(chosen_before)]
    assert rounds.split.train.size > 50 and sizes.max() > 100
    chosen = np.setdiff1d(rounds.split.train, np.flatnonzero(np.diff(rounds.users.starts) == 40))
    loss, accuracy = evaluated(items, [client(rounds, int(user), -1) for user in chosen], given)
    measured = rounds.measure(chosen).scores
    assert measured["loss"] == pytest.approx(loss, rel=1e-9)
    assert measured["rating_accuracy"] == pytest.approx(accuracy, abs=1e-12)


def test_a_change_that_is_not_finite_has_no_weight(rounds) -> None:
    """Neither at the hub nor in what a round reports, and the others count as if it had not been there."""
    users = np.flatnonzero(np.isin(rounds.users.keys.to_pylist(), ["901", "902", "903"]))
    others = rounds.split.train[:5]
    weights = rounds.hub.weights
    with np.errstate(over="ignore", invalid="ignore"):
        both, alone = (
            rounds.pool.runner.train(rounds.users, chosen, weights, 0)
            for chosen in (np.concatenate([others, users]), others)
        )
    assert (both.small, both.broken) == (2, 1) and both.scored.examples == alone.scored.examples
    assert both.delta.weight == alone.delta.weight
    assert both.scored.losses == pytest.approx(alone.scored.losses, rel=1e-12)
    wanted = dict(zip(alone.delta.rows["items"][0].tolist(), alone.delta.rows["items"][1], strict=True))
    for row, change in zip(*both.delta.rows["items"], strict=True):
        np.testing.assert_allclose(change, wanted.get(int(row), np.zeros(50)), rtol=1e-12, atol=1e-15)


def test_kept_weights_and_the_hub_stay_finite(tmp_path) -> None:
    """A user whose update overflows keeps what it had."""
    text = spec("rounds 3  cohort 3  batch 3  keep_local true  test 0.0  validation 0.0")
    rows = {"a": [(i, 2.0) for i in range(8)], "b": [(i, 1e200) for i in range(8)], "c": [(0, 1.0)] * 8}
    rounds = rounds_of(compiled(text, tmp_path), table(rows))
    first = {name: value.copy() for name, value in rounds.kept.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        for number in range(2):
            assert rounds.step(number).broken == 1
    assert all(np.isfinite(value).all() for value in (*rounds.kept.values(), *rounds.hub.weights.values()))
    for name, value in rounds.kept.items():
        assert np.array_equal(value[1], first[name][1]) and not np.array_equal(value[0], first[name][0])


def test_a_hub_that_overflows_ends_the_run_before_it_is_saved(tmp_path) -> None:
    text = spec(
        "rounds 6  cohort 3  batch 3  test 0.0  validation 0.0  checkpoint_rounds 1  server sgd(1e38)"
    )
    compile_source(SourceText("p.vfl", text)).write(tmp_path / "bundle")
    rows = {name: [(i, 1000.0) for i in range(8)] for name in "abc"}
    with pytest.raises(Failure) as failure, np.errstate(over="ignore", invalid="ignore"):
        train(tmp_path / "bundle", {"users": table(rows)}, tmp_path / "run")
    assert failure.value.code == "VFL0611" and "no longer finite after round" in failure.value.message
    for file in (tmp_path / "run").rglob("*.safetensors"):
        assert all(np.isfinite(value).all() for value in read_tensors(file)[0].values()), file
