"""Optimizers as numbers, for whoever else has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """An optimizer of a spec.

    Args:
        name: of the class of Keras.
        options: numbers and booleans by Keras's names; no learning rate.
        rates: the learning rate of every step.
        l1, l2: penalties of the weights in every step, l1·Σ|w| and l2/2·Σw².
    """

    name: str
    options: Mapping[str, float | bool]
    rates: Sequence[float]
    l1: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelOptimizers:
    """The optimizers of a model by id; `exact` where rows of tables catch up without an approximation."""

    by_id: Mapping[str, OptimizerSettings]
    exact: bool
