"""Noise whose ε is proven: its options, what they promise, and what noise is enough.

Exact for Gaussians without sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from vflc.ops.protection import MULTIPLE, POSITIVE, Option, number_within
from vflc.ops.registry import OpError, Options

EPSILON = ("a number above 0 and below 100", number_within(0, 100))
DELTA = ("a number above 0 and below 1", number_within(0, 1))

NOISE = {
    "clip": Option(*POSITIVE, required=True),
    "epsilon": Option(*EPSILON),
    "delta": Option(*DELTA, default=1e-6),
    "noise": Option(*MULTIPLE),
    "limit": Option(*POSITIVE, default=10_000.0),
}
"""Options of mechanisms whose noise is calibrated."""


def check_noise(name: str) -> Callable[[Options], None]:
    """Refuses options of a calibrated mechanism that say nothing of its noise: OpError with VFL0332."""

    def check(options: Options) -> None:
        if options["noise"] is None and options["epsilon"] is None:
            raise OpError(
                f"{name} needs `epsilon` or `noise`",
                f"as in: {name}(clip = 1.0, epsilon = 8, delta = 1e-6)",
                "VFL0332",
            )

    return check


def told(options: Options) -> str:
    """The ε and δ that it spends, for a promise."""
    spent = f"ε = {options['epsilon']:g}" if options["epsilon"] is not None else "the ε that the run reports"
    return f"({spent}, δ = {options['delta']:g})"


def spent_delta(epsilon: float, noise: float, releases: int) -> float:
    """δ that `releases` messages of a row with noise of `noise` times the clip spend at ε.

    Exchanging a row for another moves it by at most twice the clip (Balle & Wang, "Improving the
    Gaussian mechanism for differential privacy", 2018, Theorem 8; several Gaussians are one).
    """
    mu = 2.0 * math.sqrt(releases) / noise
    upper = math.erfc(-(mu / 2 - epsilon / mu) / math.sqrt(2)) / 2
    lower = math.erfc((mu / 2 + epsilon / mu) / math.sqrt(2)) / 2
    return upper - math.exp(min(epsilon, 700.0)) * lower if lower else upper


def spent_epsilon(noise: float, delta: float, releases: int) -> float:
    """ε that such messages spend at δ; infinite beyond 1,000."""
    if spent_delta(1000.0, noise, releases) > delta:
        return math.inf
    low, high = 0.0, 1000.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if spent_delta(middle, noise, releases) > delta else (low, middle)
    return high
