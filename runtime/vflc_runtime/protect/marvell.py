"""Noise on gradients that bounds how well the classes can be told apart, at the least power.

Li et al., "Label leakage and protection in two-party split learning", ICLR 2022, Theorem 2: with
Gaussian gradients of class 0 and 1 whose means are g = |m1 - m0|² apart, the noise that minimises the
sum of both KL divergences for a given power has one variance, λ1, along m1 - m0 and another, λ2, in the
d - 1 directions across. With a and b the variances along and across that a class has with its noise,

    2·(sum_kl + d) = (d - 1)·(b0/b1 + b1/b0) + (a0 + g)/a1 + (a1 + g)/a0,
    power = (1 - p)·(λ1_0 + (d - 1)·λ2_0) + p·(λ1_1 + (d - 1)·λ2_1),

p being the share of class 1. Two things differ from the paper. The problem is turned round, as sum_kl is
what users give: the least power whose sum_kl is what was asked for. And the paper takes a class to vary
alike in all directions; gradients of a cross-entropy vary along m1 - m0 by far the most, and the mean
of all directions would put noise across on one class that tells it apart rather than hides it. So the
variances along and across are measured each by itself.

Both sides are posynomials, so the problem is convex in the logarithms of a0, a1, b0 and b1; what is
left of it after eliminating two is solved by nested golden sections.
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
class Spread:
    """Variances of a number along the difference of the means, and in a direction across it."""

    along: float
    across: float


@dataclass(frozen=True, slots=True)
class Classes:
    """What a batch shows of the gradients of both classes.

    Args:
        d: numbers a row.
        p: share of class 1.
        negative, positive: how each class varies.
        difference: mean of class 1 minus mean of class 0.
    """

    d: int
    p: float
    negative: Spread
    positive: Spread
    difference: Array

    @property
    def g(self) -> float:
        """The squared distance of the means."""
        return float(self.difference @ self.difference)


@dataclass(frozen=True, slots=True)
class Noises:
    """The noise of each class."""

    negative: Spread
    positive: Spread


NONE = Noises(Spread(0.0, 0.0), Spread(0.0, 0.0))


def measure(gradients: Array, positive: NDArray[np.bool_]) -> Classes | None:
    """The classes of a batch [batch, d]; None where one of them is absent."""
    count = int(positive.sum())
    if count in (0, len(positive)):
        return None
    ones, zeros = gradients[positive].astype(np.float64), gradients[~positive].astype(np.float64)
    difference = ones.mean(0) - zeros.mean(0)
    axis = direction(difference)
    spreads = _spread(zeros, axis), _spread(ones, axis)
    return Classes(gradients.shape[1], count / len(positive), *spreads, difference)


def direction(difference: Array) -> Array:
    """A vector of length 1 along the difference; any where there is none."""
    length = math.sqrt(float(difference @ difference))
    return difference / length if length else np.eye(len(difference))[0]


def _spread(rows: Array, axis: Array) -> Spread:
    centred = rows - rows.mean(0)
    along = float(((centred @ axis) ** 2).mean())
    rest = float((centred**2).sum(1).mean()) - along
    return Spread(along, max(rest, 0.0) / (rows.shape[1] - 1) if rows.shape[1] > 1 else 0.0)


def sum_kl(classes: Classes, noises: Noises) -> float:
    """Sum of both KL divergences between the classes with the noise; infinite where one does not vary."""
    a0, a1 = classes.negative.along + noises.negative.along, classes.positive.along + noises.positive.along
    b0, b1 = (
        classes.negative.across + noises.negative.across,
        classes.positive.across + noises.positive.across,
    )
    if b0 == b1:
        across = 2.0 * (classes.d - 1)
    elif min(b0, b1) > 0:
        across = (classes.d - 1) * (b0 / b1 + b1 / b0)
    else:
        return math.inf
    if min(a0, a1) <= 0:
        return math.inf if classes.g or a0 != a1 else across / 2 + 1 - classes.d
    return (across + (a0 + classes.g) / a1 + (a1 + classes.g) / a0) / 2 - classes.d


def power(classes: Classes, noises: Noises) -> float:
    """Expected squared norm of the noise on a row."""
    zero, one = (n.along + (classes.d - 1) * n.across for n in (noises.negative, noises.positive))
    return (1 - classes.p) * zero + classes.p * one


def solve(classes: Classes, bound: float) -> Noises:
    """The noise of least power whose `sum_kl` is at most `bound`."""
    if sum_kl(classes, NONE) <= bound:
        return NONE
    if classes.negative.across <= classes.positive.across:
        return _solve(classes, bound)
    turned = Classes(classes.d, 1 - classes.p, classes.positive, classes.negative, classes.difference)
    found = _solve(turned, bound)
    return Noises(found.positive, found.negative)


def _solve(classes: Classes, bound: float) -> Noises:
    """Across, only class 0 gets noise, up to the spread of class 1, which is not less than its own."""
    problem = _Problem(classes, bound)
    b0 = problem.best_across()
    a0, a1 = problem.along(b0, problem.best_ratio(b0))
    across = max(b0 - classes.negative.across, 0.0) if classes.positive.across else 0.0
    return Noises(
        Spread(max(a0 - classes.negative.along, 0.0), across),
        Spread(max(a1 - classes.positive.along, 0.0), 0.0),
    )


class _Problem:
    """What is left after eliminating b1, which is as it is, and a1, which the bound gives."""

    def __init__(self, classes: Classes, bound: float) -> None:
        self.d, self.p, self.g = classes.d, classes.p, classes.g
        zero, one = classes.negative, classes.positive
        floor = max(self.g, zero.along, one.along, zero.across, one.across) * 1e-12 or 1e-300
        self.s0, self.s1 = max(zero.along, floor), max(one.along, floor)
        self.t0, self.t1 = max(zero.across, floor), max(one.across, floor)
        self.limit = 2 * (bound * (1 - MARGIN) + self.d)

    def left(self, b0: float) -> float:
        """What variances across leave of the bound to those along."""
        return self.limit - (self.d - 1) * (b0 / self.t1 + self.t1 / b0)

    def along(self, b0: float, ratio: float) -> tuple[float, float]:
        """The least (a0, a1) with a0 = ratio·a1 that the bound allows."""
        left = self.left(b0) - ratio - 1 / ratio
        if left <= 0:
            return math.inf, math.inf
        a1 = max(self.g * (1 + 1 / ratio) / left, self.s1, self.s0 / ratio)
        return ratio * a1, a1

    def cost(self, b0: float, ratio: float) -> float:
        a0, a1 = self.along(b0, ratio)
        return (1 - self.p) * (a0 + (self.d - 1) * b0) + self.p * a1

    def best_ratio(self, b0: float) -> float:
        """Among the ratios that leave something of the bound: x + 1/x below what is left."""
        most = self.left(b0)
        if most <= 2:
            return 1.0
        widest = math.log((most + math.sqrt(most * most - 4)) / 2)
        return math.exp(_least(lambda x: self.cost(b0, math.exp(x)), -widest, widest))

    def best_across(self) -> float:
        """From the least at which anything of the bound is left."""
        if self.d == 1:
            return self.t0
        most = (self.limit - 2) / (self.d - 1)
        lowest = self.t1 * 2 / (most + math.sqrt(max(most * most - 4, 0.0)))
        low, high = math.log(min(max(self.t0, lowest), self.t1)), math.log(self.t1)

        def least_cost(x: float) -> float:
            b0 = math.exp(x)
            return self.cost(b0, self.best_ratio(b0))

        return math.exp(_least(least_cost, low, high))


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
            self._last = solve(classes, self._bound), direction(classes.difference)
        if self._last is None:
            self.withheld += 1
            return np.zeros_like(gradients)
        return self._noisy(gradients, positive, *self._last)

    def _noisy(self, gradients: Array, positive: NDArray[np.bool_], noises: Noises, axis: Array) -> Array:
        along = np.where(positive, noises.positive.along, noises.negative.along)
        across = np.where(positive, noises.positive.across, noises.negative.across)
        made: Array = gradients.astype(np.float64)
        made += np.sqrt(along)[:, None] * self._noise.normal((len(made), 1)) * axis
        if across.any():
            drawn = np.sqrt(across)[:, None] * self._noise.normal(made.shape)
            made += drawn - (drawn @ axis)[:, None] * axis
        return made.astype(gradients.dtype)
