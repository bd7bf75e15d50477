"""Noise on gradients after which both classes vary alike in every direction, and their means nearly coincide.

After Li et al., "Label leakage and protection in two-party split learning", ICLR 2022, whose model it
keeps: gradients of class 0 and 1 are Gaussian. With means m0 and m1 and covariances C0 and C1,
D = C1 - C0 is split into its positive and negative part, D = P - N. Class 0 gets noise of covariance P,
class 1 of covariance N, so that both have T = C0 + P = C1 + N. Both get noise of variance c along
u = (m1 - m0)/|m1 - m0|, one c for both. Both KL divergences are then the same, and their sum is

    (m1 - m0)ᵀ (T + c·u·uᵀ)⁻¹ (m1 - m0) = a / (1 + c·a/g),    a = (m1 - m0)ᵀ T⁻¹ (m1 - m0),  g = |m1 - m0|²

(Sherman and Morrison 1950), which is `sum_kl` for c = g·(1/sum_kl - 1/a), with 1/a = 0 where T has no
variance in some direction of m1 - m0.

All noise lies in the span of the batch's own gradients: where they have no component, as in a linear
combination of edges that is 0 in every row, nothing leaves of either class. The paper's noise of least
power gives one class noise in all directions across the means' difference, and the other none: a number
in a direction in which gradients have nothing is then that class's mark.

It is a heuristic. Gradients are not Gaussian, one batch is not many, and no bound is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array

from vflc_runtime.blas import one_thread
from vflc_runtime.protect.noise import Noise
from vflc_runtime.protect.solver import Solver

NOTHING = 1e-9
"""Share of the largest variance below which a direction has none: what rounding leaves there."""
MARGIN = 1e-6
"""How much less than asked for is aimed at, so that rounding stays below the bound."""


@dataclass(frozen=True, slots=True)
class ClassStatistics:
    """What a batch shows of the gradients of both classes.

    Args:
        difference: mean of class 1 minus mean of class 0, [d].
        negative, positive: covariance of class 0 and of class 1, [d, d].
    """

    difference: Array
    negative: Array
    positive: Array


@dataclass(frozen=True, slots=True)
class Noises:
    """The noise of each class.

    Args:
        axes: orthonormal directions, in columns, [d, d].
        negative, positive: variances along them, of class 0 and class 1, [d].
        direction, along: a direction, [d], and the variance of both classes along it besides.
    """

    axes: Array
    negative: Array
    positive: Array
    direction: Array
    along: float

    def covariance(self, variances: Array) -> Array:
        """Of the noise of a class, `negative` or `positive`, [d, d]."""
        return (self.axes * variances) @ self.axes.T + self.along * np.outer(self.direction, self.direction)


def measure(gradients: Array, positive: NDArray[np.bool_]) -> ClassStatistics | None:
    """The classes of a batch [batch, d]; None where one of them is absent."""
    if positive.all() or not positive.any():
        return None
    ones, zeros = gradients[positive].astype(np.float64), gradients[~positive].astype(np.float64)
    return ClassStatistics(ones.mean(0) - zeros.mean(0), _covariance(zeros), _covariance(ones))


def _covariance(rows: Array) -> Array:
    centred = rows - rows.mean(0)
    found: Array = centred.T @ centred / len(rows)
    return found


def solve(classes: ClassStatistics, bound: float) -> Noises:
    """The noise after which `sum_kl` is at most `bound`."""
    values, axes = np.linalg.eigh(classes.positive - classes.negative)
    largest = max(np.trace(classes.positive), np.trace(classes.negative), 0.0)
    values = np.where(np.abs(values) > NOTHING * largest, values, 0.0)
    negative, positive = np.maximum(values, 0.0), np.maximum(-values, 0.0)
    g = float(classes.difference @ classes.difference)
    direction = classes.difference / math.sqrt(g) if g else np.zeros_like(classes.difference)
    apart = _inverse(classes.negative + (axes * negative) @ axes.T, classes.difference)
    along = max(0.0, g * (1 / (bound * (1 - MARGIN)) - apart))
    return Noises(axes, negative, positive, direction, along)


def _inverse(covariance: Array, difference: Array) -> float:
    """1/a, a being the square of the difference in units of the covariance; 0 where that has none for it."""
    values, axes = np.linalg.eigh(covariance)
    parts = (difference @ axes) ** 2
    bare = values <= NOTHING * max(values[-1], 0.0)
    if parts[bare].sum() > NOTHING * parts.sum() or not parts.sum():
        return 0.0
    return float(1 / (parts[~bare] / values[~bare]).sum())


def sum_kl(classes: ClassStatistics, noises: Noises) -> float:
    """Sum of both KL divergences between the classes with the noise, as Gaussians; infinite where one
    varies in a direction in which the other does not, or the means differ where neither does."""
    zero = classes.negative + noises.covariance(noises.negative)
    one = classes.positive + noises.covariance(noises.positive)
    values, axes = np.linalg.eigh(zero + one)
    some = values > NOTHING * max(values[-1], 0.0)
    apart = classes.difference @ axes
    if (apart[~some] ** 2).sum() > NOTHING * (apart**2).sum():
        return math.inf
    basis, apart = axes[:, some], apart[some]
    zero, one = basis.T @ zero @ basis, basis.T @ one @ basis
    if min(np.linalg.eigvalsh(zero)[:1].sum(), np.linalg.eigvalsh(one)[:1].sum()) <= 0 and some.any():
        return math.inf
    inverse0, inverse1 = np.linalg.inv(zero), np.linalg.inv(one)
    traces = np.trace(inverse1 @ zero) + np.trace(inverse0 @ one)
    return float(traces + apart @ (inverse0 + inverse1) @ apart) / 2 - int(some.sum())


class Marvell:
    """The mechanism at one guard: keeps what the last batch with both classes showed.

    A batch of one class shows nothing of the other. It gets the noise of the last batch that had
    both; before there was one it is withheld: zeros leave instead.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._last: Noises | None = None
        self.withheld = 0

    def __call__(self, gradients: Array, labels: Array, noise: Noise) -> Array:
        """Gradients [batch, d] with noise; `labels` are 0 or 1."""
        positive = labels.reshape(-1) > 0.5
        with one_thread():
            classes = measure(gradients, positive)
            if classes is not None:
                self._last = solve(classes, self._bound)
            if self._last is None:
                self.withheld += 1
                return np.zeros_like(gradients)
            return _noisy(gradients, positive, self._last, noise)

    def memory(self) -> dict[str, Array]:
        """See `Solving`: the noise of the last batch that had both classes; nothing before one had."""
        return {} if self._last is None else {f.name: np.asarray(getattr(self._last, f.name)) for f in _PARTS}

    def counts(self) -> dict[str, int]:
        """How many batches were withheld."""
        return {"withheld": self.withheld}

    def restore(self, memory: Mapping[str, Array], counts: Mapping[str, int]) -> None:
        """See `Solving`."""
        found: dict[str, Any] = {f.name: memory[f.name] for f in _PARTS if f.name in memory}
        self._last = Noises(**{**found, "along": float(found["along"].item())}) if found else None
        self.withheld = int(counts.get("withheld", 0))


_PARTS = fields(Noises)


def _noisy(gradients: Array, positive: NDArray[np.bool_], noises: Noises, noise: Noise) -> Array:
    scales = np.sqrt(np.where(positive[:, None], noises.positive, noises.negative))
    made: Array = gradients.astype(np.float64)
    made += (scales * noise.normal(made.shape)) @ noises.axes.T
    made += math.sqrt(noises.along) * noise.normal((len(made), 1)) * noises.direction
    return made.astype(gradients.dtype)


SOLVER = Solver("marvell", lambda guard: Marvell(guard.number("sum_kl")))
