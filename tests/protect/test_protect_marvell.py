"""The optimised noise: least power for its bound, and the bound held by the gradients that leave."""

from __future__ import annotations

import math

import numpy as np
import pytest
from protecting import TWO, Recorded, batch, bundle, found
from vflc_runtime.protect.marvell import NONE, Classes, Marvell, Spread, measure, power, solve, sum_kl
from vflc_runtime.protect.noise import Noise

CASES = [
    (16, 0.3, (0.01, 0.01), (0.2, 0.2), 1.0),
    (16, 0.3, (0.2, 0.2), (0.01, 0.01), 1.0),
    (1, 0.1, (0.02, 0), (0.4, 0), 0.03),
    (200, 0.02, (1e-5, 1e-6), (1e-6, 1e-5), 2.0),
    (50, 0.5, (0.3, 0.1), (0.1, 0.1), 0.5),
    (8, 0.6, (0.0, 0.0), (0.05, 0.02), 1.0),
    (8, 0.6, (0.0, 0.0), (0.0, 0.0), 1.0),
    (12, 0.2, (0.001, 2.0), (0.9, 1.0), 0.1),
]


def classes(d, p, negative, positive, g) -> Classes:
    difference = np.zeros(d)
    difference[0] = math.sqrt(g)
    return Classes(d, p, Spread(*negative), Spread(*positive), difference)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bound", [0.1, 0.25, 4.0])
def test_no_smaller_noise_keeps_the_bound(case, bound):
    """Against a solver for general problems, from several starting points."""
    from scipy.optimize import minimize

    about = classes(*case)
    noises = solve(about, bound)
    assert sum_kl(about, noises) <= bound
    assert (
        min(noises.negative.along, noises.negative.across, noises.positive.along, noises.positive.across) >= 0
    )
    d, p, (s0, t0), (s1, t1), g = case
    low = np.log([max(x, 1e-9 * g) for x in (s0, t0, s1, t1)])

    def kl(z):
        a0, b0, a1, b1 = np.exp(z)
        return ((d - 1) * (b0 / b1 + b1 / b0) + (a0 + g) / a1 + (a1 + g) / a0) / 2 - d

    def cost(z):
        a0, b0, a1, b1 = np.exp(z) - np.exp(low)
        return (1 - p) * (a0 + (d - 1) * b0) + p * (a1 + (d - 1) * b1)

    limits = [
        {"type": "ineq", "fun": lambda z: bound - kl(z)},
        {"type": "ineq", "fun": lambda z: z - low},
    ]
    wide, far = math.log(max(t0, t1, 1e-9 * g)), math.log(max(g / bound, s0, s1))
    best = math.inf
    for start in ((0, 0), (0.4, 0.1), (0.1, 0.9), (0.5, 0.5)):
        with np.errstate(all="ignore"):  # on its way it tries noise without bounds
            result = minimize(
                lambda z: math.log(max(cost(z), 0) + 1e-12), np.add([far, wide, far, wide], start * 2),
                constraints=limits, method="SLSQP", options={"maxiter": 500, "ftol": 1e-13},
            )  # fmt: skip
        z = np.maximum(result.x, low)  # it keeps its limits up to rounding; noise is never below none
        if kl(z) <= bound * (1 + 1e-6):
            best = min(best, cost(z))
    assert math.isfinite(best), "the other solver found something to compare with"
    assert power(about, noises) <= best * (1 + 1e-4) + 1e-9


def test_no_noise_where_the_bound_holds_already():
    assert solve(classes(4, 0.5, (1.0, 1.0), (1.0, 1.0), 1e-4), 0.25) == NONE


@pytest.mark.parametrize(
    ("negative", "positive", "g", "divergence"),
    [
        ((0.0, 0.5), (0.0, 0.5), 1.0, math.inf),
        ((0.0, 0.5), (0.1, 0.5), 0.0, math.inf),
        ((0.0, 0.5), (0.0, 0.5), 0.0, 0.0),
        ((0.0, 0.5), (0.0, 1.0), 0.0, 3 * (0.5 / 2 + 2 / 2 - 1)),
        ((0.2, 0.0), (0.2, 0.1), 0.0, math.inf),
        ((0.2, 0.0), (0.2, 0.0), 0.0, 0.0),
        ((0.2, 0.0), (0.2, 0.0), 0.1, 0.5),
    ],
)
def test_classes_that_do_not_vary_are_told_apart_by_any_difference(negative, positive, g, divergence):
    about = classes(4, 0.5, negative, positive, g)
    assert sum_kl(about, NONE) == pytest.approx(divergence, abs=1e-12)


def gradients(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of a loss as they are: of opposite directions, the rare class's larger."""
    draw = np.random.default_rng(seed)
    labels = (draw.random(count) < 0.2).astype(float)
    direction = draw.normal(size=12) / math.sqrt(12)
    size = np.where(labels == 1, -0.8, 0.2) * draw.uniform(0.7, 1.3, count)
    return size[:, None] * direction + draw.normal(0, 0.03, (count, 12)), labels


@pytest.mark.parametrize("bound", [0.25, 1.0])
def test_perturbed_gradients_of_both_classes_keep_the_bound(bound):
    """Their divergence as measured: of two Gaussians with the means and covariances that left."""
    clear, labels = gradients(100_000)
    sent = Marvell(bound, Noise(np.random.default_rng(1).bytes))(clear, labels)
    ones, zeros = sent[labels == 1], sent[labels == 0]
    gap = ones.mean(0) - zeros.mean(0)
    cov1, cov0 = np.cov(ones, rowvar=False), np.cov(zeros, rowvar=False)
    inverse1, inverse0 = np.linalg.inv(cov1), np.linalg.inv(cov0)
    measured = 0.5 * (np.trace(inverse1 @ cov0) + np.trace(inverse0 @ cov1)) - len(gap)
    measured += 0.5 * gap @ (inverse1 + inverse0) @ gap
    assert measured < bound * 1.1, "of 20,000 rows of a class the estimate is 3 % off, give or take"
    direction = gap / np.linalg.norm(gap)
    for scores in (np.linalg.norm(sent, axis=1), sent @ direction):
        assert abs(auc(scores, labels) - 0.5) <= math.sqrt(bound) / 2 - bound / 8 + 0.01
    assert abs(auc(np.linalg.norm(clear, axis=1), labels) - 0.5) > 0.49


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    rank = np.argsort(np.argsort(scores)) + 1
    ones = labels == 1
    return (rank[ones].sum() - ones.sum() * (ones.sum() + 1) / 2) / (ones.sum() * (~ones).sum())


def test_a_batch_of_one_class_shows_nothing():
    clear, _ = gradients(64)
    mechanism = Marvell(0.25, Noise())
    assert measure(clear, np.zeros(64, bool)) is None
    assert not mechanism(clear, np.zeros(64)).any() and mechanism.withheld == 1
    mechanism(*gradients(256))
    noisy = mechanism(clear, np.zeros(64))
    assert noisy.any() and not np.allclose(noisy, clear) and mechanism.withheld == 1


@pytest.mark.parametrize("engine", ["onnx", "keras"])
def test_it_runs_on_the_joint_row_of_every_step(engine, tmp_path):
    backends = ("onnx", "keras") if engine == "keras" else ("onnx",)
    text = TWO + "protect gradients to alice with marvell(sum_kl = 0.25)\n"
    at = Recorded(bundle(text, tmp_path / "b", backends=backends), engine)
    plain = Recorded(bundle(TWO, tmp_path / "plain", backends=backends), engine)
    inputs, edges = batch(2000), ("h.gradient", "g.gradient")
    at.step(inputs)
    plain.step(inputs)
    raw, sent = (
        np.concatenate([each.sent["train", f"{edge}{end}"] for edge in edges], axis=1).astype(float)
        for each, end in ((plain, ""), (at, ".protected"))
    )
    labels = inputs["bob.liked"].ravel() == 1
    about = measure(raw, labels)
    added = ((sent - raw) ** 2).sum(1).mean()
    assert added == pytest.approx(power(about, solve(about, 0.25)), rel=0.15)
    (entry,) = at.session.protections()
    assert entry["withheld"] == 0 and entry["rows"] == 2000
    assert sorted(entry["edges"]) == ["g.gradient.protected", "h.gradient.protected"]


def test_it_needs_one_label_of_two_classes():
    squared = TWO.replace("bce(logit, bob.liked)", "mse(logit, bob.liked)")
    text = squared + "protect gradients to alice with marvell(sum_kl = 0.25)\n"
    assert [each.code for each in found(text)] == ["VFL0333"]
