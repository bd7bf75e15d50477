"""How likely it is that so many guesses are right where a bound holds: exact, without a simulation."""

from __future__ import annotations

import math

import numpy as np


def tail(count: int, share: float, hits: int) -> float:
    """The probability of at least `hits` successes among `count` of probability `share`."""
    if hits <= 0 or hits > count:
        return float(hits <= 0)
    if not 0 < share < 1:
        return float(share >= 1)
    k = np.arange(hits, count + 1)
    logs = np.array([math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1) for i in k])
    terms = logs + k * math.log(share) + (count - k) * math.log1p(-share)
    top = float(terms.max())
    return min(1.0, math.exp(top) * float(np.exp(terms - top).sum()))


def posterior(prior: float, epsilon: float) -> float:
    """The most that a value of this prior can be sure after messages whose odds move by e^ε at most."""
    odds = math.exp(min(epsilon, 700.0)) * prior
    return odds / (odds + 1 - prior) if prior < 1 else 1.0


def slack(rows: int, delta: float) -> float:
    """What δ > 0 adds to the probability, where `posterior` is taken at ε + ln 2.

    Outside of an event of probability at most 2δ a row, odds move by no more than 2e^ε.
    """
    return 2 * rows * delta
