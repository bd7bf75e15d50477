"""Keras's own optimizers on whole tables: what training by rows must be equal to. No code of vflc is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Rate = Callable[[int], float]
"""From the number of updates done to the learning rate of the next one."""
NAMES = {"sgd": "SGD", "adamw": "AdamW", "rmsprop": "RMSprop"}
RENAMED = {
    "beta1": "beta_1",
    "beta2": "beta_2",
    "eps": "epsilon",
    "l1": "l1_regularization_strength",
    "l2": "l2_regularization_strength",
    "initial": "initial_accumulator_value",
    "lr_power": "learning_rate_power",
}


def cosine(peak: float, steps: int, floor: float = 0.0) -> Rate:
    """Half a cosine from the peak to `floor` times the peak."""

    def rate(done: int) -> float:
        wave = (1 + math.cos(math.pi * min(done, steps) / steps)) / 2
        return peak * ((1 - floor) * wave + floor)

    return rate


def warmup(peak: float, steps: int, then: Rate | None = None) -> Rate:
    """A straight line from 0 to the peak, then another rate from its own start."""
    return lambda done: peak * done / steps if done < steps else peak if then is None else then(done - steps)


def steps(first: float, every: int, factor: float) -> Rate:
    """Times the factor after every so many updates."""
    return lambda done: first * factor ** (done // every)


@dataclass
class Dense:
    """A table and Keras's optimizer of it, in float64. Each step has a gradient for every row.

    Penalties on all of the table, l1·Σ|w| and l2/2·Σw², are part of it.
    Options must be numbers that float32 holds, as Keras rounds them to it; rates need not.
    """

    table: Array
    name: str
    options: dict[str, Any]
    rate: Rate
    lazy: bool = False
    l1: float = 0.0
    l2: float = 0.0
    optimizer: Any = None
    variable: Any = None
    done: int = field(default=0)

    def __post_init__(self) -> None:
        import keras
        import tensorflow as tf

        dense = self

        class Schedule(keras.optimizers.schedules.LearningRateSchedule):
            def __call__(self, step: Any) -> Any:
                return tf.constant(dense.rate(dense.done), tf.float64)

        options = {RENAMED.get(name, name): value for name, value in self.options.items()}
        kind = getattr(keras.optimizers, NAMES.get(self.name, self.name.capitalize()))
        self.optimizer = kind(learning_rate=Schedule(), **options)
        self.variable = keras.Variable(self.table, dtype="float64")
        self.optimizer.build([self.variable])

    def step(self, ids: Sequence[int], gradient: Array) -> None:
        """Updates all rows; where lazy, those without an id, and what is kept for them, stay as they were."""
        own = [self.variable, *(v for v in self.optimizer.variables if v.shape == self.variable.shape)]
        before = [v.numpy() for v in own]
        self.optimizer.apply([gradient + self.l2 * self.table + self.l1 * np.sign(self.table)])
        self.done += 1
        if self.lazy:
            rows = np.isin(np.arange(len(self.table)), ids)[:, None]
            for variable, old in zip(own, before, strict=True):
                variable.assign(np.where(rows, variable.numpy(), old))
        self.table = self.variable.numpy()


def gradient(table: Array, ids: Sequence[int], logits: Array, labels: Array) -> Array:
    """Of the mean binary cross-entropy, for all rows of a table whose numbers are added to the logits."""
    slope = (1 / (1 + np.exp(-logits)) - labels) / len(labels)
    whole = np.zeros_like(table)
    np.add.at(whole, list(ids), slope[:, None])
    return whole
