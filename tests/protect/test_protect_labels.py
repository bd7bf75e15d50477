"""Randomised labels: drawn once, a loss without bias, nothing of them outside of training."""

from __future__ import annotations

import math

import numpy as np
import pytest
from protecting import CLASSES, TWO, Recorded, batch, bundle, found
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts

BINARY = TWO + "protect bob.liked with label_dp(epsilon = 1)\n"
MANY = CLASSES + "protect bob.kind with label_dp(epsilon = 1)\n"


def keep(epsilon: float, classes: int) -> float:
    return math.exp(epsilon) / (math.exp(epsilon) + classes - 1)


def outcomes(at: Recorded, inputs: dict, classes: int) -> list[tuple[float, dict[str, np.ndarray]]]:
    """Loss and gradients that leave, from the same weights, for every shift that all rows could have."""
    (drawn,) = at.session.guards()["bob"].drawn().values()
    start, results = at.session.weights_by_place(), []
    for shift in range(classes):
        for place, weights in start.items():
            at.session.engines[place].load(weights)
        drawn[...] = shift
        loss = at.step(inputs).loss
        results.append((loss, {name: x for (program, name), x in at.sent.items() if "gradient" in name}))
    return results


@pytest.mark.parametrize("engine", ["onnx", "keras"])
@pytest.mark.parametrize(("text", "plain", "classes"), [(BINARY, TWO, 2), (MANY, CLASSES, 3)])
def test_the_mean_of_loss_and_gradients_over_draws_is_that_of_the_true_labels(
    engine, text, plain, classes, tmp_path
):
    options = {"backends": ("onnx", "keras") if engine == "keras" else ("onnx",), "precision": "float64"}
    true = Recorded(bundle(plain, tmp_path / "plain", **options), engine)
    at = Recorded(bundle(text, tmp_path / "b", **options), engine)
    inputs = batch(32)
    loss = true.step(inputs).loss
    chances = [keep(1, classes)] + [(1 - keep(1, classes)) / (classes - 1)] * (classes - 1)
    made = outcomes(at, inputs, classes)
    assert made[0][0] != pytest.approx(loss), "a label that stayed counts for more than itself"
    assert sum(p * each for p, (each, _) in zip(chances, made, strict=True)) == pytest.approx(loss, rel=1e-9)
    for name, value in made[0][1].items():
        mean = sum(p * each[name] for p, (_, each) in zip(chances, made, strict=True))
        np.testing.assert_allclose(mean, true.sent["train", name], rtol=1e-7, atol=1e-12)
        assert not np.allclose(value, true.sent["train", name])


@pytest.mark.parametrize(("text", "classes"), [(BINARY, 2), (MANY, 3)])
def test_labels_flip_as_often_as_epsilon_says_and_only_once(text, classes, tmp_path):
    at = Recorded(bundle(text, tmp_path / "b"), facts=Facts(50_000, 50_000, 32, 3))
    (drawn,) = at.session.guards()["bob"].drawn().values()
    before = drawn.copy()
    stayed = (before == 0).mean()
    assert abs(stayed - keep(1, classes)) < 5 * math.sqrt(0.25 / 50_000)
    for _ in range(3):
        at.step(batch(32))
    assert np.array_equal(before, next(iter(at.session.guards()["bob"].drawn().values())))


def test_evaluation_has_the_true_labels(tmp_path):
    true = Recorded(bundle(TWO, tmp_path / "plain"))
    at = Recorded(bundle(BINARY, tmp_path / "b"))
    inputs = batch(64)
    assert at.session.evaluate(inputs).loss == true.session.evaluate(inputs).loss


def test_metrics_of_training_have_the_true_labels(tmp_path):
    at = Recorded(bundle(BINARY, tmp_path / "b"))
    inputs = batch(32)
    ((_, label),) = at.step(inputs).measured.values()
    assert np.array_equal(label, inputs["bob.liked"].astype(label.dtype))


@pytest.mark.parametrize("label", [0.5, -1, 2])
def test_what_is_no_class_is_refused(label, tmp_path):
    at = Recorded(bundle(BINARY, tmp_path / "b"))
    inputs = batch(32)
    inputs["bob.liked"][3] = label
    with pytest.raises(Failure, match=f"VFL0674.*bob.liked holds {label:g}.* the 2 classes from 0 to 1"):
        at.step(inputs)


@pytest.mark.parametrize(
    "change",
    [
        ("objective bce(logit, bob.liked)", "objective mse(logit, bob.liked)"),
        ("objective bce(logit, bob.liked)", "objective bce(logit, 1 - bob.liked)"),
    ],
)
def test_a_loss_that_cannot_be_corrected_is_refused(change):
    assert [each.code for each in found(BINARY.replace(*change))] == ["VFL0333"]


def test_the_report_says_what_was_drawn(tmp_path):
    at = Recorded(bundle(BINARY, tmp_path / "b"))
    at.step(batch(32))
    (entry,) = at.session.protections()
    assert (entry["mechanism"], entry["epsilon"], entry["delta"]) == ("label_dp", 1.0, 0.0)
    assert (entry["labels_drawn"], entry["steps"], entry["rows"], entry["edges"]) == (64, 1, 32, [])
