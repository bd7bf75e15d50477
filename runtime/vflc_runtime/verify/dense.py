"""Updates by the optimizers of Keras, on gradients made dense: what shares no code with ours.

Every row of a table is updated in every step, those that a batch does not read by a gradient of 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import DenseUpdate, Plan
from vflc_runtime.engines.keras_models import KerasValues, PlaceWeights
from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.verify.rules import OptimizerSettings


class DenseUpdates:
    """In place of the Keras engine's `Updates`: no row is ever behind."""

    def __init__(self, plan: Plan, weights: PlaceWeights, rules: Mapping[str, OptimizerSettings]) -> None:
        self._plan, self._weights, self._rules = plan, weights, rules
        self._tf, keras = tensorflow().tf, tensorflow().keras
        self._step = 0
        self._variables: dict[str, dict[str, Any]] = {}
        for update in plan.updates.values():
            arrays = update.arrays if isinstance(update, DenseUpdate) else (update.array,)
            for name in arrays:
                variable = keras.Variable(weights.array(name), dtype=plan.precision, name="weight")
                self._variables.setdefault(update.optimizer, {})[name] = variable
        self._optimizers = {each: self._optimizer(each) for each in self._variables}

    def _optimizer(self, each: str) -> Any:
        rule, double = self._rules[each], self._plan.precision == "float64"
        number = np.float64 if double else float  # Keras rounds Python's own numbers to float32
        options = {
            name: value if isinstance(value, bool) else number(value) for name, value in rule.options.items()
        }
        kind = getattr(tensorflow().keras.optimizers, rule.name)
        optimizer = kind(learning_rate=lambda: self._rate(rule), **options)
        optimizer.build(list(self._variables[each].values()))
        return optimizer

    def _rate(self, rule: OptimizerSettings) -> Any:
        return self._tf.constant(rule.rates[self._step - 1], self._plan.precision)

    def apply(self, values: KerasValues, step: int) -> None:
        """Updates all weights; `values` holds the gradients, `step` counts from 1."""
        self._step, gradients = step, self._gradients(values)
        for each, variables in self._variables.items():
            for name, variable in variables.items():
                variable.assign(self._tf.reshape(self._weights.main[name], variable.shape))
            penalties = self._penalties(self._rules[each], [*variables.values()])
            total = [gradients[name] + more for name, more in zip(variables, penalties, strict=True)]
            self._optimizers[each].apply(total)
            for name, variable in variables.items():
                self._weights.assign(name, variable.value)

    def _penalties(self, rule: OptimizerSettings, variables: list[Any]) -> list[Any]:
        """The gradients of Keras's own penalty on whole weights."""
        if not rule.l1 and not rule.l2:
            return [0.0] * len(variables)
        penalty = tensorflow().keras.regularizers.L1L2(rule.l1, rule.l2 / 2)
        precise = self._tf.constant([rule.l1, rule.l2 / 2], self._plan.precision)
        penalty.l1, penalty.l2 = self._tf.unstack(precise)  # it rounds Python's own numbers to float32
        with self._tf.GradientTape() as tape:
            total = self._tf.add_n([penalty(variable.value) for variable in variables])
        return list(tape.gradient(total, [variable.value for variable in variables]))

    def _gradients(self, values: KerasValues) -> dict[str, Any]:
        tf, arrays, found = self._tf, self._plan.arrays, dict[str, Any]()
        for update in self._plan.updates.values():
            if isinstance(update, DenseUpdate):
                sizes = [arrays[name].size for name in update.arrays]
                parts = tf.split(tf.reshape(values[update.gradient], (-1,)), sizes)
                for name, part in zip(update.arrays, parts, strict=True):
                    found[name] = tf.reshape(part, arrays[name].shape)
            else:
                rows, gradient = (values[name] for name in update.gradients[0])
                shape = tf.constant(arrays[update.array].shape, rows.dtype)
                found[update.array] = tf.convert_to_tensor(tf.IndexedSlices(gradient, rows, shape))
        return found

    def catch_up(self, update: str, values: KerasValues, step: int) -> None:
        """Nothing was missed."""

    def current(self, step: int) -> dict[str, Any]:
        """No copies: the weights themselves are current."""
        return {}

    def settle(self, step: int) -> None:
        """Nothing was missed."""

    def stored(self) -> list[str]:
        """No weight lies here as it was."""
        return []

    def slots(self) -> dict[str, Array]:
        """See `Updates`: none, as what Keras keeps stays with it. This way is never interrupted."""
        return {}

    def load(self, slots: Mapping[str, Array]) -> None:
        """See `Updates`: there are none."""
