"""Noise on gradients that bounds how well the classes can be told apart, at the least power.

Li et al., "Label leakage and protection in two-party split learning", ICLR 2022, Theorem 2: with
gradients of class 0 and 1 from N(m0, u·I) and N(m1, v·I), g = |m1 - m0|², the noise that minimises the
sum of both KL divergences for a given power has covariances with one eigenvalue λ1 along m1 - m0 and
another, λ2 <= λ1, in the d - 1 directions across. With a = λ1 + u or v and b = λ2 + u or v,

    2·(sum_kl + d) = (d - 1)·(b0/b1 + b1/b0) + (a0 + g)/a1 + (a1 + g)/a0,
    power = (1 - p)·(λ1_0 + (d - 1)·λ2_0) + p·(λ1_1 + (d - 1)·λ2_1),

p being the share of class 1. Here the same problem is turned round, as sum_kl is what users give: the
least power whose sum_kl is what was asked for. Both sides are posynomials, so the problem is convex in
the logarithms of a0, a1, b0 and b1, and what is left of it after eliminating two is solved by nested
golden sections.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.protect.noise import Noise

Array = NDArray[Any]
GOLDEN = (math.sqrt(5) - 1) / 2
SECTIONS = 44
"""Golden sections: each interval shrinks to a billionth."""
MARGIN = 1e-6
"""How much less than asked for is aimed at, so that rounding stays below the bound."""


@dataclass(frozen=True, slots=True)
class Classes:
    """What a batch shows of the gradients of both classes.

    Args:
        d: numbers a row.
        p: share of class 1.
        u, v: mean variance of a number in class 0 and in class 1.
        difference: mean of class 1 minus mean of class 0.
    """

    d: int
    p: float
    u: float
    v: float
    difference: Array

    @property
    def g(self) -> float:
        """The squared distance of the means."""
        return float(self.difference @ self.difference)


@dataclass(frozen=True, slots=True)
class Noises:
    """Variances of the noise: (along, across) the difference of the means, of class 0 and of class 1."""

    negative: tuple[float, float]
    positive: tuple[float, float]


def measure(gradients: Array, positive: NDArray[np.bool_]) -> Classes | None:
    """The classes of a batch [batch, d]; None where one of them is absent."""
    count = int(positive.sum())
    if count in (0, len(positive)):
        return None
    ones, zeros = gradients[positive].astype(np.float64), gradients[~positive].astype(np.float64)
    difference = ones.mean(0) - zeros.mean(0)
    return Classes(
        gradients.shape[1], count / len(positive), float(zeros.var(0).mean()), float(ones.var(0).mean()),
        difference,
    )  # fmt: skip


def sum_kl(classes: Classes, noises: Noises) -> float:
    """Sum of both KL divergences between the classes with the noise; infinite where one has no spread."""
    a0, b0 = (part + classes.u for part in noises.negative)
    a1, b1 = (part + classes.v for part in noises.positive)
    if b0 == b1:
        across = 2.0 * (classes.d - 1)
    elif min(b0, b1) > 0:
        across = (classes.d - 1) * (b0 / b1 + b1 / b0)
    else:
        return math.inf
    if min(a0, a1) <= 0:
        return math.inf if classes.g else 0.0
    return (across + (a0 + classes.g) / a1 + (a1 + classes.g) / a0) / 2 - classes.d


def power(classes: Classes, noises: Noises) -> float:
    """Expected squared norm of the noise on a row."""
    zero, one = (along + (classes.d - 1) * across for along, across in (noises.negative, noises.positive))
    return (1 - classes.p) * zero + classes.p * one


def solve(classes: Classes, bound: float) -> Noises:
    """The noise of least power whose `sum_kl` is at most `bound`."""
    if sum_kl(classes, Noises((0.0, 0.0), (0.0, 0.0))) <= bound:
        return Noises((0.0, 0.0), (0.0, 0.0))
    if classes.u <= classes.v:
        return _solve(classes, bound)
    turned = Classes(classes.d, 1 - classes.p, classes.v, classes.u, classes.difference)
    found = _solve(turned, bound)
    return Noises(found.positive, found.negative)


def _solve(classes: Classes, bound: float) -> Noises:
    """For u <= v: across, only class 0 gets noise, up to the spread of class 1."""
    d, p, g = classes.d, classes.p, classes.g
    floor = max(g, classes.u, classes.v) * 1e-12 or 1e-300
    u, v = max(classes.u, floor), max(classes.v, floor)
    limit = 2 * (bound * (1 - MARGIN) + d)

    def along(b0: float, ratio: float) -> tuple[float, float]:
        """The least (a0, a1) with a0 = ratio·a1 that the bound and λ1 >= λ2 allow."""
        left = limit - (d - 1) * (b0 / v + v / b0) - ratio - 1 / ratio
        if left <= 0:
            return math.inf, math.inf
        a1 = max(g * (1 + 1 / ratio) / left, v, b0 / ratio)
        return ratio * a1, a1

    def cost(b0: float, ratio: float) -> float:
        a0, a1 = along(b0, ratio)
        return (1 - p) * (a0 + (d - 1) * b0) + p * a1

    def best_ratio(b0: float) -> float:
        """Within the ratios that leave something of the bound: x + 1/x < limit less what is across."""
        most = limit - (d - 1) * (b0 / v + v / b0)
        if most <= 2:
            return 1.0
        widest = math.log((most + math.sqrt(most * most - 4)) / 2)
        return math.exp(_least(lambda x: cost(b0, math.exp(x)), -widest, widest))

    # b0/v + v/b0 may be so large that nothing of the bound is left: b0 starts where it is not.
    most = (limit - 2) / (d - 1) if d > 1 else math.inf
    lowest = v * (2 / (most + math.sqrt(most * most - 4))) if most < math.inf else u
    low, high = math.log(max(u, min(lowest, v))), math.log(v)
    b0 = math.exp(_least(lambda x: cost(math.exp(x), best_ratio(math.exp(x))), low, high)) if d > 1 else u
    a0, a1 = along(b0, best_ratio(b0))
    across = max(b0 - classes.u, 0.0) if d > 1 and classes.v else 0.0
    return Noises((max(a0 - classes.u, 0.0), across), (max(a1 - classes.v, 0.0), 0.0))


def _least(f: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls and then rises is least (Kiefer 1953)."""
    if not low < high:
        return high
    x, y = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    fx, fy = f(x), f(y)
    for _ in range(SECTIONS):
        if fx < fy:
            high, y, fy = y, x, fx
            x = high - GOLDEN * (high - low)
            fx = f(x)
        else:
            low, x, fx = x, y, fy
            y = low + GOLDEN * (high - low)
            fy = f(y)
    return x if fx < fy else y


class Marvell:
    """The mechanism at one guard: keeps what the last batch with both classes showed.

    A batch of one class shows nothing of the other. It gets the noise of the last batch that had
    both; before there was one it is withheld: zeros leave instead.
    """

    def __init__(self, bound: float, noise: Noise) -> None:
        self._bound, self._noise = bound, noise
        self._last: tuple[Noises, Array] | None = None
        self.withheld = 0

    def __call__(self, gradients: Array, labels: Array) -> Array:
        """Gradients [batch, d] with noise; `labels` are 0 or 1."""
        positive = labels.reshape(-1) > 0.5
        classes = measure(gradients, positive)
        if classes is not None:
            length = math.sqrt(classes.g)
            direction = classes.difference / length if length else classes.difference
            self._last = solve(classes, self._bound), direction
        if self._last is None:
            self.withheld += 1
            return np.zeros_like(gradients)
        return self._noisy(gradients, positive, *self._last)

    def _noisy(
        self, gradients: Array, positive: NDArray[np.bool_], noises: Noises, direction: Array
    ) -> Array:
        along = np.where(positive, noises.positive[0], noises.negative[0])
        across = np.where(positive, noises.positive[1], noises.negative[1])
        made: Array = gradients.astype(np.float64)
        spread = np.sqrt(np.maximum(along - across, 0.0))[:, None]
        made += spread * self._noise.normal((len(made), 1)) * direction
        if across.any():
            made += np.sqrt(across)[:, None] * self._noise.normal(made.shape)
        return made.astype(gradients.dtype)
