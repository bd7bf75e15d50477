"""The exact attacks on planted gradients whose right answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_runtime.audit import exact
from vflc_runtime.audit.labels import tally
from vflc_runtime.audit.scores import leak_auc


def planted(rows: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """δ = p − y of a model that has learned something, the labels, and more random numbers."""
    rng = np.random.default_rng(seed)
    labels = rng.random(rows) < share
    labels[:2] = (True, False)
    p = 1 / (1 + np.exp(-(rng.normal(size=rows) + labels - 0.5 + np.log(share / (1 - share)))))
    return p - labels, labels, rng


@settings(deadline=None)
@given(st.integers(2, 200), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_one_vector_for_all_rows_gives_every_label(rows: int, width: int, seed: int) -> None:
    delta, labels, rng = planted(rows, 0.3, seed)
    gradients = (delta[:, None] * (rng.normal(size=width) + 0.01)).astype(np.float32)
    guesses = exact.recover(gradients)
    assert exact.agrees(guesses[0], labels)
    assert exact.proportional(guesses[0], delta)


@settings(deadline=None)
@given(st.integers(2, 200), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_coefficients_of_known_sign_give_every_label(rows: int, width: int, seed: int) -> None:
    delta, labels, rng = planted(rows, 0.3, seed)
    signs = rng.choice([-1.0, 1.0], width)
    gradients = delta[:, None] * rng.gamma(0.5, size=(rows, width)).clip(1e-6) * signs
    assert any(exact.agrees(guess, labels) for guess in exact.recover(gradients))
    assert exact.agrees(exact.recover(gradients)[1], labels), "the consensus of all columns"


def test_one_leaking_edge_is_found_beside_a_larger_one_that_does_not_leak() -> None:
    delta, labels, rng = planted(64, 0.5, 3)
    joint = {
        "deep": delta[:, None] * rng.normal(size=(64, 32)) * 100,
        "wide": delta[:, None] * np.array([0.1, -0.2]),
    }
    assert any(exact.agrees(guess, labels) for guess in exact.recover(joint))
    assert not any(exact.agrees(guess, labels) for guess in exact.recover({"deep": joint["deep"]}))


def test_coefficients_that_differ_in_sign_give_nothing() -> None:
    for seed in range(20):
        delta, labels, rng = planted(64, 0.5, seed)
        gradients = delta[:, None] * rng.normal(size=(64, 8))
        assert not any(exact.agrees(guess, labels) for guess in exact.recover(gradients))


@pytest.mark.parametrize("width", [5, 4, 12])
def test_several_classes_by_the_direction_of_the_vector(width: int) -> None:
    rng = np.random.default_rng(0)
    classes = 5
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 200)])
    logits = rng.normal(size=(len(labels), classes)) * 0.1
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    delta = p - np.eye(classes)[labels]
    onward = np.eye(classes) if width == classes else rng.normal(size=(classes, width))
    guesses = exact.recover(delta @ onward, classes)
    assert exact.agrees(guesses[0], labels), "direction"
    assert (len(guesses) > 1) == (width == classes)


def test_factors_that_the_receiver_knows_are_undone() -> None:
    """Two of its own values are multiplied: the gradient of one is δ times the other."""
    delta, labels, rng = planted(64, 0.5, 8)
    known = rng.normal(size=(64, 5))
    product = delta[:, None] * known * np.array([1.0, -2.0, 0.5, 1.0, -1.0])
    shared = delta[:, None] * known[:, [3]] * rng.normal(size=4)
    for gradients in (product, shared):
        assert not any(exact.agrees(guess, labels) for guess in exact.recover(gradients))
        assert any(exact.agrees(guess, labels) for guess in exact.recover(gradients, known=known))


def test_rows_without_a_gradient_are_no_guess() -> None:
    delta, labels, rng = planted(64, 0.5, 9)
    gradients = delta[:, None] * (rng.random((64, 1)) > 0.3)
    guess = exact.recover(gradients)[0]
    assert not exact.agrees(guess, labels) and exact.agrees(guess, labels, zeros=True)
    nothing = exact.recover(np.zeros((64, 3)))[0]
    assert not exact.agrees(nothing, labels, zeros=True)


def test_several_classes_of_a_trained_model_by_the_negative_entry() -> None:
    rng = np.random.default_rng(1)
    labels = np.concatenate([np.arange(4), rng.integers(0, 4, 300)])
    p = rng.dirichlet(np.full(4, 0.3), len(labels)).clip(1e-6)
    delta = p / p.sum(1, keepdims=True) - np.eye(4)[labels]
    assert exact.agrees(next(g for g in exact.recover(delta, 4) if g.how.startswith("smallest")), labels)
    assert exact.agrees(next(g for g in exact.recover(-delta, 4) if g.how.startswith("largest")), labels)


def test_residuals_of_a_squared_loss_come_up_to_one_factor() -> None:
    rng = np.random.default_rng(2)
    residuals = rng.normal(size=100)
    guesses = exact.recover((residuals[:, None] * rng.normal(size=7)).astype(np.float32))
    assert exact.proportional(guesses[0], residuals)
    assert not exact.proportional(guesses[0], rng.normal(size=100))
    assert not exact.proportional(exact.Guess("", np.zeros(3, np.int64), np.zeros(3)), np.ones(3))


def test_norm_and_cosine_as_published() -> None:
    """Rare positives of a model that cannot tell them: |p − 1| is near 1, |p| near the share."""
    rng = np.random.default_rng(4)
    labels = rng.random(4000) < 0.05
    delta = rng.beta(2, 38, 4000) - labels
    gradients = delta[:, None] * rng.normal(1, 0.3, size=(4000, 16))
    assert leak_auc(exact.by_norm(gradients), labels) > 0.99
    known = int(np.flatnonzero(labels)[0])
    assert leak_auc(exact.by_cosine(gradients, known), labels) > 0.99
    shuffled = rng.permutation(labels)
    assert leak_auc(exact.by_norm(gradients), shuffled) < 0.56
    assert exact.by_cosine(gradients, known)[known] == pytest.approx(1.0)


def test_cosine_of_a_row_of_zeros_is_zero() -> None:
    assert exact.by_cosine(np.array([[0.0, 0.0], [1.0, 2.0]]), 1).tolist() == pytest.approx([0.0, 1.0])


def test_planted_leak_of_known_auc() -> None:
    """Two normal distributions one deviation apart have the AUC Φ(1/√2) = 0.760."""
    rng = np.random.default_rng(5)
    labels = np.arange(20000) % 2 == 0
    values = rng.normal(size=20000) + labels
    gradients = values[:, None] * np.array([3.0, -4.0])
    assert leak_auc(exact.by_projection(gradients - gradients.mean(0)), labels) == pytest.approx(
        0.760, abs=0.01
    )


def test_vote_undoes_fresh_flips_and_not_kept_ones() -> None:
    rng = np.random.default_rng(6)
    labels = rng.random(2000) < 0.4

    def look(flipped: np.ndarray) -> np.ndarray:
        shown = labels ^ flipped
        return (rng.random(2000) * 0.8 + 0.1 - shown) * rng.choice([-1.0, 1.0])

    fresh = voted([look(rng.random(2000) < 0.27) for _ in range(20)])
    kept = rng.random(2000) < 0.27
    once = [look(kept) for _ in range(20)]
    assert leak_auc(fresh, labels) > 0.98
    assert leak_auc(voted(once), labels) == pytest.approx(leak_auc(once[0], labels), abs=0.08)
    assert leak_auc(np.sign(voted(once)), labels) == pytest.approx(0.73, abs=0.02)


def voted(looks: list[np.ndarray]) -> np.ndarray:
    """What the audit makes of several looks at all rows, one an epoch."""
    steps = [SimpleNamespace(rows=np.arange(len(look)), seen=look[:, None]) for look in looks]
    view = SimpleNamespace(
        total=len(looks[0]), steps=lambda most: steps, rows=lambda step, channel: step.seen
    )
    return tally([view], SimpleNamespace())[1][:, -1]


def test_wide_rows_are_projected_by_the_smaller_matrix() -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(10, 500))
    direct = np.linalg.svd(rows)[2][0]
    assert abs(exact.principal(rows) @ direct) == pytest.approx(1.0)
    assert abs(exact.principal(rows.T) @ np.linalg.svd(rows.T)[2][0]) == pytest.approx(1.0)
