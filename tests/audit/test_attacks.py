"""Attacks of one kind each, where they work exactly and where they must not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vflc_common.metrics.auc import auc
from vflc_runtime.audit import exact
from vflc_runtime.audit.attacks.alike import lines, quotients
from vflc_runtime.audit.attacks.matching import by_matching
from vflc_runtime.audit.attacks.nullspace import by_null_space, by_rank
from vflc_runtime.audit.attacks.quotient import SLOPES, behind_softmax, by_quotient
from vflc_runtime.audit.attacks.sums import by_sums
from vflc_runtime.audit.attacks.taught import guesses
from vflc_runtime.audit.scores import aucs, leak_auc, leak_aucs, pair_aucs, purity

ROWS = 256


class Planted:
    """Errors p − y of a model that knows nothing yet, labels, and numbers that were sent."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.labels = self.rng.random(ROWS) < 0.3
        self.delta = self.rng.random(ROWS) * 0.2 + 0.2 - self.labels
        self.sent = self.rng.normal(size=(ROWS, 6))

    def normal(self, *shape: int) -> np.ndarray[Any, Any]:
        return self.rng.normal(size=shape)


@pytest.fixture(params=range(3))
def planted(request: pytest.FixtureRequest) -> Planted:
    return Planted(request.param)


def test_noise_of_one_class_sticks_out_of_the_span(planted: Planted) -> None:
    """Both rank one and a plane; noise that both classes get leaves nothing."""
    noise = planted.normal(ROWS, 12) * 0.1
    line = planted.delta[:, None] * planted.normal(12)
    plane = planted.delta[:, None] * (planted.normal(ROWS, 3) @ planted.normal(3, 12))
    for rows in (line, plane):
        assert leak_auc(by_null_space(rows + noise * planted.labels[:, None]), planted.labels) > 0.95
        assert leak_auc(by_null_space(plane + noise), planted.labels) < 0.75
    assert leak_aucs(by_rank(line + noise * planted.labels[:, None]), planted.labels)[0] > 0.99


def test_rows_of_zeros_and_of_one_number_have_a_null_space() -> None:
    assert by_null_space(np.zeros((4, 3))).shape == (4,)
    assert by_null_space(np.array([[1.0], [0.0], [2.0]]))[1] == 0


@pytest.mark.parametrize("name", list(SLOPES))
def test_a_known_slope_is_divided_out(name: str, planted: Planted) -> None:
    slopes = SLOPES[name](planted.sent)
    gradients = planted.delta[:, None] * slopes * planted.normal(6)
    found = leak_aucs(by_quotient(gradients, planted.sent), planted.labels)
    assert found[list(SLOPES).index(name)] > 0.99
    unknown = planted.delta[:, None] * planted.normal(ROWS, 6)
    assert leak_aucs(by_quotient(unknown, planted.sent), planted.labels).max() < 0.7


def test_a_softmax_is_undone(planted: Planted) -> None:
    shifted = np.exp(planted.sent)
    p = shifted / shifted.sum(axis=1, keepdims=True)
    through = planted.delta[:, None] * planted.normal(6)
    gradients = p * (through - (p * through).sum(axis=1, keepdims=True))
    wanted = through - through.mean(axis=1, keepdims=True)
    assert np.allclose(behind_softmax(gradients, planted.sent), wanted)


def test_a_surrogate_finds_errors_behind_a_hidden_layer(planted: Planted) -> None:
    """Behind units of both signs no line is shared; with factors that nobody knows nothing matches."""
    first, last = planted.normal(6, 4) * 0.5, np.array([1.0, 1.0, -1.0, 1.0])
    slopes = ((1 - np.tanh(planted.sent @ first) ** 2) * last) @ first.T
    found = leak_auc(by_matching(planted.delta[:, None] * slopes, planted.sent), planted.labels)
    assert found > 0.95
    unknown = planted.delta[:, None] * planted.normal(ROWS, 6)
    assert leak_auc(by_matching(unknown, planted.sent), planted.labels) < 0.75


def summed(planted: Planted, known: np.ndarray[Any, Any], batch: int, epochs: int) -> list[Any]:
    factors, batches = planted.normal(known.shape[1]), []
    for _ in range(epochs):
        order = planted.rng.permutation(ROWS)
        for rows in np.split(order, ROWS // batch):
            total = (planted.delta[rows, None] * known[rows] * factors).sum(axis=0)
            batches.append((rows, known[rows], total))
    return batches


def test_sums_over_batches_are_solved_for_rows(planted: Planted) -> None:
    whole = by_sums(summed(planted, planted.sent, 8, 3), ROWS)
    assert exact.proportional(exact.Guess("", np.sign(whole).astype(np.int64), whole), planted.delta, 1e-2)
    few = by_sums(summed(planted, planted.sent[:, :1], 16, 1), ROWS)
    assert leak_auc(few, planted.labels) < 0.85, "sixteen equations for 256 errors"


def test_quotients_link_rows_of_one_item(planted: Planted) -> None:
    items = planted.rng.integers(0, 8, ROWS)
    factors = planted.normal(8, 4)
    gradients, by = planted.delta[:, None] * factors[items], planted.delta
    for values in (quotients(gradients, by), lines(gradients)):
        assert pair_aucs(values[:, None], items)[0] > 0.999
    assert pair_aucs(gradients[:, None], items)[0] < 0.95, "neither length nor side is of the item"
    assert not quotients(gradients, np.zeros(ROWS)).any()
    other = planted.rng.permutation(items)
    assert pair_aucs(quotients(gradients, by)[:, None], other)[0] < 0.6


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_one_sort_serves_all_conditions(seed: int, values: int) -> None:
    """To the bit what one condition after another gives, for scores of which many are equal."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(-values, values, (rng.integers(1, 40), 3)) / 3
    conditions = rng.random((2, 5, len(columns))) < rng.random((2, 5, 1))
    for found, condition in zip(
        aucs(columns, conditions).reshape(-1, 3), conditions.reshape(10, -1), strict=True
    ):
        alone = [auc(column, condition) for column in columns.T]
        assert np.array_equal(found, np.array(alone, np.float64), equal_nan=True)


def test_gradients_of_two_classes_make_two_clusters(planted: Planted) -> None:
    near = planted.delta[:, None] * (planted.normal(6) + 0.1 * planted.normal(ROWS, 6))
    assert purity(exact.by_direction(near, 2), planted.labels) > 0.99
    unlike = exact.by_direction(planted.delta[:, None] * planted.normal(ROWS, 6), 2)
    assert purity(unlike, planted.labels) < max(np.mean(planted.labels), np.mean(~planted.labels)) + 0.1


def test_a_network_that_is_taught_takes_off_what_was_sent(planted: Planted) -> None:
    """A squared loss on an activation: half the gradient is what was sent less the target."""
    target = planted.normal(ROWS)
    rows = np.column_stack([2 * (planted.sent[:, 0] - target), planted.sent[:, 0]])
    known = np.arange(0, ROWS, 2)
    found = guesses(rows, known, target[known], 1)[1::2]
    assert np.corrcoef(found, target[1::2])[0, 1] > 0.97
    nothing = guesses(planted.sent, known, target[known], 1)[1::2]
    assert abs(np.corrcoef(nothing, target[1::2])[0, 1]) < 0.35
