"""A small network for attacks that learn: no hidden layer or one, Adam on all rows at once.

Attackers have few examples, so this is small on purpose; everything is drawn from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from vflc_common.arrays import Array

LayerWeights = list[tuple[Array, Array]]
"""Weight [a, b] and bias [b] of each."""

FLOAT = np.float32
STEPS = 400
RATE = 0.01
DECAY = 1e-3
"""Times the squared weights, added to the mean loss."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Columns brought to mean 0 and deviation 1 by the examples; constant ones become 0."""

    mean: Array
    size: Array

    @classmethod
    def of(cls, examples: Array) -> Scale:
        """From examples [n, columns]."""
        deviation = examples.std(axis=0)
        return cls(examples.mean(axis=0), np.where(deviation > 1e-12, deviation, np.inf))

    def __call__(self, rows: Array) -> Array:
        """Rows [n, columns] on this scale, cut off at ±10."""
        # Rows far from all examples must not be what a linear head makes of them.
        return np.clip((rows - self.mean) / self.size, -10, 10)


class SurrogateNetwork:
    """Learns `targets` [n, k] from `examples` [n, w]; call it with rows [m, w] to get [m, k].

    Args:
        examples: what is known of the rows.
        targets: probabilities of classes that add up to 1 in each row, or numbers.
        output: `softmax` with cross-entropy, or `linear` with half the squared error.
        hidden: units of the hidden layer with ReLU; 0 for none.
    """

    def __init__(
        self, examples: Array, targets: Array, output: Literal["softmax", "linear"], hidden: int = 0
    ) -> None:
        self._scale, self._output = Scale.of(examples), output
        rng = np.random.default_rng(0)
        sizes = [examples.shape[1], *([hidden] if hidden else []), targets.shape[1]]
        self._flat, self._layers = zeros(sizes)
        for weight, _ in self._layers:
            weight[:] = rng.normal(size=weight.shape) * np.sqrt(2 / max(len(weight), 1))
        self._fit(self._scale(examples).astype(FLOAT), targets.astype(FLOAT), sizes)

    def __call__(self, rows: Array) -> Array:
        found: Array = self._forward(self._scale(rows).astype(FLOAT))[-1].astype(np.float64)
        return found

    def _forward(self, rows: Array) -> list[Array]:
        values = [rows]
        for index, (weight, bias) in enumerate(self._layers):
            value = values[-1] @ weight
            value += bias
            last = index == len(self._layers) - 1
            if not last:
                np.maximum(value, np.zeros_like(value), out=value)  # five times as fast as with a number
            values.append(value)
        if self._output == "softmax":
            shifted = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
            values[-1] = shifted / shifted.sum(axis=1, keepdims=True)
        return values

    def _fit(self, examples: Array, targets: Array, sizes: list[int]) -> None:
        gradient, layers = zeros(sizes)
        adam(self._flat, gradient, lambda: self._differentiate(examples, targets, layers), STEPS, RATE)

    def _differentiate(self, examples: Array, targets: Array, found: LayerWeights) -> None:
        values = self._forward(examples)
        error = (values[-1] - targets) / len(examples)  # the same for softmax and for squares
        for index in range(len(self._layers) - 1, -1, -1):
            weight, _ = self._layers[index]
            by_weight, by_bias = found[index]
            np.matmul(values[index].T, error, out=by_weight)
            by_weight += 2 * DECAY * weight
            error.sum(axis=0, out=by_bias)
            if index:
                error = error @ weight.T
                error *= values[index] > 0


def adam(
    parameters: Array, gradient: Array, differentiate: Callable[[], None], steps: int, rate: float
) -> None:
    """Adam, on all parameters as one.

    Args:
        parameters: what is changed [p].
        gradient: theirs [p], which `differentiate` writes.
        differentiate: writes the gradient at the parameters as they are.
        steps: how many.
        rate: of each.
    """
    mean, square = np.zeros_like(gradient), np.zeros_like(gradient)
    for step in range(1, steps + 1):
        differentiate()
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (np.square(gradient) - square)
        corrected = mean / (1 - 0.9**step)
        parameters -= rate * corrected / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)


def zeros(sizes: list[int]) -> tuple[Array, LayerWeights]:
    """Zeros for the parameters of layers of these sizes [p], and each layer's weight and bias in them."""
    flat = np.zeros(sum(a * b + b for a, b in pairwise(sizes)), FLOAT)
    layers, at = [], 0
    for a, b in pairwise(sizes):
        weight, bias = np.split(flat[at : at + a * b + b], [a * b])
        layers.append((weight.reshape(a, b), bias))
        at += a * b + b
    return flat, layers


def solved(examples: Array, targets: Array, rows: Array) -> Array:
    """Least squares of `targets` [n, k] on `examples` [n, w] with a constant, applied to rows [m, w]."""
    scale = Scale.of(examples)
    with_one = [np.hstack([scale(each), np.ones((len(each), 1))]) for each in (examples, rows)]
    solution = np.linalg.lstsq(with_one[0], targets.astype(np.float64), rcond=1e-8)[0]
    found: Array = with_one[1] @ solution
    return found
