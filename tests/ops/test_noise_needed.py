"""What noise spends, as the compiler promises it: against the definition, integrated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vflc.ops.noise import spent_delta, spent_epsilon


def integrated(epsilon: float, noise: float, releases: int) -> float:
    """δ of two Gaussians, `releases` times twice the clip apart: what of one is above e^ε times the other."""
    apart = 2 * math.sqrt(releases) / noise
    x = np.linspace(-12, 12 + apart, 400_001)
    one, other = (np.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi) for mean in (apart, 0.0))
    return float(np.sum(np.maximum(one - math.exp(epsilon) * other, 0)) * (x[1] - x[0]))


@pytest.mark.parametrize(
    ("epsilon", "noise", "releases"),
    [(0.5, 4.0, 1), (1.0, 10.0, 5), (2.0, 2.0, 1), (8.0, 1.0, 3), (0.0, 3.0, 2)],
)
def test_delta_is_what_its_definition_says(epsilon: float, noise: float, releases: int) -> None:
    found = spent_delta(epsilon, noise, releases)
    assert found == pytest.approx(integrated(epsilon, noise, releases), rel=1e-6, abs=1e-12)
    if epsilon:
        assert spent_epsilon(noise, found, releases) == pytest.approx(epsilon, rel=1e-9)


def test_epsilon_has_a_largest_value_and_a_least() -> None:
    assert 900 < spent_epsilon(0.05, 1e-6, 1) < 1000
    assert spent_epsilon(0.045, 1e-6, 1) == math.inf
    assert spent_epsilon(100.0, 0.5, 1) == pytest.approx(0, abs=1e-9), "so large a δ allows all"
