"""The privacy of noise on users' changes, computed by hand from the papers; and what it rests on."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from decimal import Decimal, localcontext
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
from population.population_testing import compiled, ratings, rounds_of, table
from population.reference import GLOBALS, spec
from vflc_runtime.files import read_tensors
from vflc_runtime.population.delta import shrinking
from vflc_runtime.population.privacy import spent
from vflc_runtime.population.random import secret_noise
from vflc_runtime.population.users import cohort_of
from vflc_runtime.run.train import TrainOptions, train

pytestmark = pytest.mark.skipif(find_spec("dp_accounting") is None, reason="dp_accounting is not installed")

NOISY = "cohort 6  test 0.0  validation 0.0  clip_norm 0.1  noise 2.0  noise_delta 1e-5  weighting uniform"


@pytest.fixture
def rounds(tmp_path):
    return rounds_of(compiled(spec(NOISY), tmp_path), table(ratings()))


@cache
def moment(j: int, sigma: float) -> Decimal:
    """exp((j - 1) eps(j)) where eps(j) = j / (2 sigma^2)."""
    return (Decimal(j * (j - 1)) / (2 * Decimal(sigma) ** 2)).exp()


@cache
def difference(l: int, sigma: float) -> Decimal:
    return sum((-1) ** i * math.comb(l, i) * moment(i, sigma) for i in range(l + 1))


def divergence(order: int, sigma: float, share: float) -> float:
    """Theorem 27 of Wang, Balle & Kasiviswanathan (2019) for a Gaussian of `sigma` sensitivities."""
    if share == 1:
        return order / (2 * sigma**2)
    with localcontext() as context:
        context.prec = 80
        q = Decimal(share)
        first = moment(2, sigma)
        total = 1 + q**2 * math.comb(order, 2) * min(4 * (first - 1), 2 * first)
        for j in range(3, order + 1):
            root = (difference(j - j % 2, sigma) * difference(j + j % 2, sigma)).sqrt()
            total += q**j * math.comb(order, j) * min(4 * root, 2 * moment(j, sigma))
        return float(total.ln()) / (order - 1)


def by_hand(noise: float, share: float, rounds: int, delta: float) -> tuple[float, int]:
    """Epsilon and its order. Replacing a user moves the sum by twice the norm that users are clipped to.

    From Renyi divergence to epsilon by Canonne, Kamath & Steinke (2020), proposition 12.
    """
    found = []
    for order in range(2, 64):
        renyi = rounds * divergence(order, noise / 2, share)
        found.append((renyi + math.log1p(-1 / order) - math.log(delta * order) / (order - 1), order))
    return min(found)


@pytest.mark.parametrize(
    ("noise", "cohort", "done", "delta"),
    [(40.0, 1000, 20, 1e-6), (6.0, 20, 100, 1e-6), (4.0, 5, 50, 1e-7)],
)
def test_epsilon_is_the_one_of_the_papers(rounds, noise, cohort, done, delta):
    expected, order = by_hand(noise, cohort / 1000, done, delta)
    settings = replace(rounds.settings, noise=noise, cohort=cohort, noise_delta=delta)
    stated = spent(settings, 1000, done)
    assert order > 10, "the accountant has whole orders only from there on"
    assert stated["epsilon"] == pytest.approx(expected, rel=1e-6)


def change_of(rounds, users) -> np.ndarray:
    """The sum of the users' clipped changes, all weights one after another."""
    update = rounds.pool.runner.train(rounds.users, np.asarray(users), rounds.hub.weights, 0)
    parts = [update.delta.dense[name].reshape(-1) for name in update.delta.dense]
    for name, (ids, rows) in update.delta.rows.items():
        whole = np.zeros_like(rounds.hub.weights[name])
        whole[ids] = rows
        parts.append(whole.reshape(-1))
    return np.concatenate(parts)


def test_a_user_moves_the_sum_by_the_clipping_norm_and_a_replaced_one_by_twice_that(tmp_path):
    wild = {"mild": [(1, 2.0), (2, 2.5), (1, 3.0)], "low": [(3, -20.0)] * 2, "high": [(3, 20.0)] * 2}
    rounds = rounds_of(compiled(spec(NOISY.replace("cohort 6", "cohort 3")), tmp_path), table(wild))
    at = {key: index for index, key in enumerate(rounds.users.keys.to_pylist())}
    sums = {key: change_of(rounds, [at[key]]) for key in wild}
    for key in ("low", "high"):
        assert np.linalg.norm(sums[key]) == pytest.approx(0.1, rel=1e-9)
    moved = change_of(rounds, [at["mild"], at["low"]]) - change_of(rounds, [at["mild"], at["high"]])
    assert 0.1 < np.linalg.norm(moved) <= 0.2 * (1 + 1e-9)


def test_rounding_puts_no_change_above_the_clipping_norm(tmp_path):
    rounds = rounds_of(compiled(spec(NOISY), tmp_path, "float32"), table(ratings()))
    norms = [np.linalg.norm(change_of(rounds, [user]).astype("d")) for user in range(14)]
    assert max(norms) == pytest.approx(0.1, rel=1e-5) and max(norms) <= 0.1
    huge = np.float64([0, 1e-9, 0.1, 3e36, 1.3e42, 7e44])
    factors = shrinking(huge, 0.1, "float32").astype("f").astype("d")
    assert (huge * factors <= 0.1).all() and factors.tolist()[:2] == [1, 1] and factors[3] > 0


def test_noise_reaches_every_row_in_the_size_that_is_stated(rounds):
    before = {name: rounds.hub.weights[name].copy() for name in GLOBALS}
    rounds.step(0)
    moved = np.concatenate([(rounds.hub.weights[name] - before[name]).reshape(-1) for name in GLOBALS])
    assert (moved != 0).all()
    assert np.std(moved) == pytest.approx(2.0 * 0.1 / 6, rel=0.3)


def test_a_noisy_mean_is_over_the_cohort_whoever_counts(tmp_path):
    """One of the fourteen has a single example: it counts for nothing, and still is one of the cohort."""
    text = NOISY.replace("cohort 6", "cohort 14")
    rounds = rounds_of(compiled(spec(text), tmp_path), table(ratings()))
    before = {name: rounds.hub.weights[name].copy() for name in GLOBALS}
    everybody = cohort_of(rounds.split, rounds.settings, 0)
    change = change_of(rounds, everybody)
    assert rounds.step(0).small == 1
    noise = [
        secret_noise(rounds.settings.seed, "noise", "", 0, name).normal((before[name].size,))
        for name in GLOBALS
    ]
    moved = [(before[name] - rounds.hub.weights[name]).reshape(-1) for name in GLOBALS]
    order = ["mean", "items", "levels"]  # of `change_of`: dense weights first
    sums = dict(
        zip(order, np.split(change, np.cumsum([before[name].size for name in order])[:-1]), strict=True)
    )
    for name, found, drawn in zip(GLOBALS, moved, noise, strict=True):
        np.testing.assert_allclose(found, (sums[name] + 2.0 * 0.1 * drawn) / 14, rtol=1e-9, atol=1e-15)


def test_neither_noise_nor_cohorts_follow_from_the_seed(rounds, tmp_path):
    drawn = [cohort_of(rounds.split, rounds.settings, number) for number in range(20)]
    secret = [cohort_of(rounds.split, rounds.settings, number, "s") for number in range(20)]
    assert any(set(a) != set(b) for a, b in zip(drawn, secret, strict=True))
    assert all(len(set(cohort)) == rounds.settings.cohort for cohort in secret), "nobody is drawn twice"
    assert len({tuple(sorted(cohort)) for cohort in secret}) > 10
    users = {"users": table(ratings())}
    folder = rounds.population.folder
    whole = [train(folder, users, tmp_path / name, TrainOptions(rounds=3)) for name in ("a", "b")]
    facts = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("a", "b")]
    assert len({each["secret"] for each in facts}) == 2
    assert (tmp_path / "a" / "run.json").stat().st_mode & 0o077 == 0
    models = [read_tensors(run.folder / "hub" / "model.safetensors")[0] for run in whole]
    assert not np.array_equal(models[0]["items"], models[1]["items"])
    assert whole[0].metrics["privacy"] == whole[1].metrics["privacy"]


def test_a_resumed_run_goes_on_with_its_own_noise(rounds, tmp_path):
    users, folder = {"users": table(ratings())}, rounds.population.folder
    run = train(folder, users, tmp_path / "run", TrainOptions(rounds=1)).folder
    shutil.copytree(run, tmp_path / "copy")
    ends = [
        train(None, users, path, TrainOptions(rounds=3, resume=True)) for path in (run, tmp_path / "copy")
    ]
    models = [read_tensors(end.folder / "hub" / "model.safetensors")[0] for end in ends]
    assert all(np.array_equal(models[0][name], models[1][name]) for name in GLOBALS)
    assert ends[0].metrics["privacy"]["epsilon"] == spent(rounds.settings, 14, 3)["epsilon"]
