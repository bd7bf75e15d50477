"""Randomised labels: drawn once, a loss by the chances of answers, nothing of them outside of training."""

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


def said(at: Recorded, inputs: dict) -> np.ndarray:
    """What the model says of each row: a chance for each class [rows, classes]."""
    (found,) = at.session.evaluate(inputs).predictions.values()
    return np.concatenate([1 - found, found], axis=1) if found.shape[1] == 1 else found.copy()


@pytest.mark.parametrize(("text", "classes"), [(BINARY, 2), (MANY, 3)])
def test_the_loss_is_that_of_the_answer_by_its_chance(text, classes, tmp_path):
    """For each answer that rows could get: its chance is that of the labels through the answers' table.

    `test_protect_draws` says so of Keras, of answers with a prior.
    """
    at = Recorded(bundle(text, tmp_path / "b", precision="float64"))
    inputs = batch(32)
    table = np.full((classes, classes), (1 - keep(1, classes)) / (classes - 1))
    np.fill_diagonal(table, keep(1, classes))
    chances = said(at, inputs) @ table
    labels = np.asarray(inputs["bob.liked" if classes == 2 else "bob.kind"]).reshape(-1).astype(int)
    for shift, (loss, _) in enumerate(outcomes(at, inputs, classes)):
        answers = (labels + shift) % classes
        assert loss == pytest.approx(-np.log(chances[np.arange(32), answers]).mean(), rel=1e-9)


def test_gradients_are_those_of_that_loss(tmp_path):
    """By hand from those of the label itself, which are (p - y) times the same slopes in each row."""
    true = Recorded(bundle(TWO, tmp_path / "plain", precision="float64"))
    at = Recorded(bundle(BINARY, tmp_path / "b", precision="float64"))
    inputs = batch(32)
    p, y = said(true, inputs)[:, [1]], inputs["bob.liked"]
    true.step(inputs)
    for shift, (_, sent) in enumerate(outcomes(at, inputs, 2)):
        answer = np.abs(y - shift)
        chance = 1 - keep(1, 2) + (2 * keep(1, 2) - 1) * p
        slope = (chance - answer) / (chance * (1 - chance)) * (2 * keep(1, 2) - 1) * p * (1 - p)
        assert sent
        for name, value in sent.items():
            np.testing.assert_allclose(value, true.sent["train", name] * slope / (p - y), rtol=1e-7)


def test_a_model_learns_the_labels_and_not_the_answers(tmp_path):
    """Whose rows are all alike: it comes to the share of the labels, as the answers tell it."""
    at = Recorded(bundle(BINARY, tmp_path / "b", precision="float64"), facts=Facts(4000, 4000, 4000, 3))
    inputs = {name: np.zeros((4000, 1)) for name in batch(1)} | {"bob.kind": np.zeros(4000, int)}
    inputs["bob.liked"] = (np.arange(4000)[:, None] % 4 == 0).astype(float)
    (drawn,) = at.session.guards()["bob"].drawn().values()
    answers = np.abs(inputs["bob.liked"] - drawn.reshape(-1, 1)).mean()
    for _ in range(600):
        at.step(inputs)
    flip = 1 - keep(1, 2)
    assert 0.35 < answers < 0.42, "of the answers more are 1 than of the labels, a quarter"
    assert said(at, inputs)[0, 1] == pytest.approx((answers - flip) / (1 - 2 * flip), abs=1e-3)


def test_a_model_that_knows_each_row_has_no_loss_below_zero(tmp_path):
    """A loss without bias, as of Natarajan et al., goes down without end here."""
    text = BINARY.replace("sgd(lr = 0.1)", "adam(lr = 0.1)")
    at = Recorded(bundle(text, tmp_path / "b", precision="float64"))
    inputs = batch(12)
    losses = [at.step(inputs).loss for _ in range(400)]
    least = math.log(1 + math.exp(-1))
    assert losses[-1] < losses[0] and min(losses) >= least, "no answer is surer than the table"


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
