"""Noise is what it says: distribution, calibration, and where it does and does not go."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from protecting import TWO, Recorded, batch, bundle
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts, calibrate, spent
from vflc_runtime.protect.noise import Noise

from vflc.ops.noise import spent_delta, spent_epsilon
from vflc.ops.protection import HAIR


class Bytes:
    """A source of bytes that a test can repeat."""

    def __init__(self, seed: int = 0) -> None:
        self._draw = np.random.default_rng(seed)
        self.asked = 0

    def __call__(self, count: int) -> bytes:
        self.asked += count
        return self._draw.bytes(count)


def test_normal_numbers_have_the_moments_and_the_tail_of_the_distribution():
    drawn = Noise(Bytes()).normal((200_000,))
    assert abs(drawn.mean()) < 0.012 and abs(drawn.std() - 1) < 0.01  # five standard errors
    assert abs((drawn**4).mean() - 3) < 0.2
    for bound, share in ((1.0, 0.3173), (2.0, 0.0455), (3.0, 0.0027)):
        assert abs((np.abs(drawn) > bound).mean() - share) < 5 * math.sqrt(share / 200_000)
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.012


def test_two_generators_give_different_numbers_unless_the_source_is_the_same():
    assert not np.array_equal(Noise().normal((4, 3)), Noise().normal((4, 3)))
    assert np.array_equal(Noise(Bytes(1)).normal((4, 3)), Noise(Bytes(1)).normal((4, 3)))
    assert Noise(lambda count: bytes(count)).uniform(3).min() > 0, "a logarithm of 0 is none"


def test_shifts_keep_with_the_probability_asked_for_and_spread_evenly_otherwise():
    drawn = Noise(Bytes()).shifts(100_000, 0.6, 4)
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    assert abs(shares[0] - 0.6) < 0.008 and np.abs(shares[1:] - 0.4 / 3).max() < 0.006


def test_what_is_kept_with_a_probability_is_kept_as_often_to_the_last_bit():
    """Of the 2^53 numbers that are drawn from, exactly half are up to and with 0.5."""
    half = ((1 << 52) - 1) << 11
    for word, kept in ((0, True), (half, True), (half + (1 << 11), False), ((1 << 64) - 1, False)):
        bytes_ = np.array([word], np.uint64).tobytes()
        assert (Noise(lambda count, given=bytes_: given).shifts(1, 0.5, 2) == 0).all() == kept


@pytest.mark.parametrize(("epsilon", "delta", "releases"), [(8, 1e-6, 5), (1, 1e-5, 1), (0.5, 1e-9, 20)])
def test_calibration_agrees_with_the_accountant_of_the_library(epsilon, delta, releases):
    import dp_accounting
    from dp_accounting import pld

    noise = calibrate(epsilon, delta, releases, 1e4, None)
    accountant = pld.PLDAccountant(
        value_discretization_interval=1e-3
    )  # twice the clip is what exchanging a row moves
    accountant.compose(dp_accounting.GaussianDpEvent(noise / 2), releases)
    assert accountant.get_epsilon(delta) == pytest.approx(epsilon, rel=1e-3)
    assert spent(noise, delta, releases) == pytest.approx(epsilon, rel=1e-6)
    assert spent_epsilon(noise, delta, releases) == pytest.approx(epsilon, rel=1e-6)
    assert spent_delta(epsilon, noise, releases) == pytest.approx(delta, rel=1e-4)


def test_a_noise_beyond_the_limit_is_refused():
    with pytest.raises(Failure, match="VFL0673"):
        calibrate(0.001, 1e-9, 5, 100.0, None)


def test_visits_follow_epochs_and_steps():
    assert Facts(100, 100, 32, 5).participations == 5
    assert Facts(100, 100, 32, 5, steps=8).participations == 2
    assert Facts(100, 100, 32, 5, steps=9).participations == 3
    assert Facts(100, 100, 32, 5, steps=400).participations == 5


GAUSSIAN = TWO + "protect h with gaussian(clip = 0.5, noise = 2.0)\n"
LIMITED = GAUSSIAN.replace("noise = 2.0)", "noise = 2.0) in training")


@pytest.mark.parametrize("engine", ["onnx", "keras"])
def test_activations_are_clipped_always_and_limited_noise_is_there_in_training_only(engine, tmp_path):
    backends = ("onnx", "keras") if engine == "keras" else ("onnx",)
    at = Recorded(bundle(LIMITED, tmp_path / "b", backends=backends), engine)
    inputs = batch(2000)
    at.session.evaluate(inputs)
    clean = at.sent["evaluate", "h.protected"]
    norms = np.linalg.norm(clean, axis=1)
    assert norms.max() <= 0.5 and np.isclose(norms.max(), 0.5 * HAIR, rtol=1e-6)
    at.session.predict(inputs)
    assert np.array_equal(at.sent["predict", "h.protected"], clean)
    at.session.prepare(Facts(2000, 2000, 2000, 1))
    at.step(inputs)
    noise = at.sent["train", "h.protected"] - clean
    assert abs(noise.std() - 1.0) < 0.05 and abs(noise.mean()) < 0.05
    covariance = np.cov(noise, rowvar=False)
    assert np.abs(covariance - np.eye(6)).max() < 0.15


def test_joint_rows_of_all_gradients_are_clipped_together(tmp_path):
    plain = Recorded(bundle(TWO, tmp_path / "plain"))
    text = TWO + "protect gradients to alice with gaussian(clip = 0.002, noise = 1e-6)\n"
    at = Recorded(bundle(text, tmp_path / "b"))
    inputs = batch(32)
    plain.step(inputs)
    at.step(inputs)
    edges = [name for program, name in plain.sent if "gradient" in name]
    assert len(edges) == 2, "h and g go to bob"
    raw = np.concatenate([plain.sent["train", edge] for edge in edges], axis=1)
    sent = np.concatenate([at.sent["train", f"{edge}.protected"] for edge in edges], axis=1)
    norms = np.linalg.norm(raw, axis=1)
    assert (norms > 0.002).any()
    np.testing.assert_allclose(sent, raw * np.minimum(1, 0.002 / norms)[:, None], atol=1e-7)


@pytest.mark.parametrize("mechanism", ["max_norm", "iso(scale = 3.0)"])
def test_noise_against_norm_leaks_evens_out_the_norms(mechanism, tmp_path):
    plain = Recorded(bundle(TWO, tmp_path / "plain"))
    at = Recorded(bundle(TWO + f"protect gradients to alice with {mechanism}\n", tmp_path / "b"))
    inputs, edges = batch(32), ("h.gradient", "g.gradient")
    plain.step(inputs)
    raw = np.concatenate([plain.sent["train", edge] for edge in edges], axis=1)
    norms, square = np.linalg.norm(raw, axis=1), []
    start = at.session.weights_by_place()
    for _ in range(300):
        for place, weights in start.items():
            at.session.engines[place].load(weights)  # so that every step has the gradients of the first
        at.step(inputs)
        sent = np.concatenate([at.sent["train", f"{edge}.protected"] for edge in edges], axis=1)
        square.append(np.linalg.norm(sent, axis=1) ** 2)
    expected = norms.max() ** 2 if mechanism == "max_norm" else norms**2 + 9 * norms.max() ** 2
    ratio = np.mean(square, axis=0) / expected
    assert np.abs(ratio - 1).max() < 0.6 and abs(ratio.mean() - 1) < 0.1


def test_what_a_plan_says_of_noise(tmp_path):
    folder = bundle(GAUSSIAN, tmp_path / "b")
    (guard,) = json.loads((folder / "alice" / "plan.json").read_text())["guards"]
    assert guard["draws"][0]["kind"] == "normal" and guard["draws"][0]["scale"] == 1.0
    edges = json.loads((folder / "manifest.json").read_text())["edges"]
    (edge,) = [edge for edge in edges if edge["protections"]]
    assert edge["id"] == "h.protected" and edge["protections"][0]["privacy"] == "proven"


def test_noise_that_is_not_calibrated_is_no_noise(tmp_path):
    text = TWO + "protect h with gaussian(clip = 1.0, epsilon = 8)\n"
    at = Recorded(bundle(text, tmp_path / "b"))
    from vflc_runtime.protect.guards import Guards

    plan = at.session.bundle.plans["alice"]
    with pytest.raises(ValueError, match="not calibrated"):
        Guards(plan).apply("protect_1", at.session.engines["alice"], 4, None)
