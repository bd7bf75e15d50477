"""Graphs of a population's bundle on TensorFlow, with gradients from its tape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.population_plan import PopulationGraph
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.keras_models import call_model, load_model
from vflc_runtime.engines.keras_setup import tensorflow


def keras_runners(precision: str) -> Callable[[PopulationGraph], KerasRunner]:
    """What makes runners on TensorFlow."""
    return partial(KerasRunner, precision=precision)


class KerasRunner:
    """A Keras model; gradients are those of the sum over all users of their losses.

    A user's loss depends on that user's weights alone, so each gets its own gradient.
    """

    def __init__(self, graph: PopulationGraph, precision: str) -> None:
        self.graph, self._precision = graph, precision
        self._tf = tf = tensorflow().tf
        self._model = load_model(graph.content, graph.path)
        self._made = graph.outputs[: len(graph.outputs) - len(graph.gradients)]
        counts = len(self._model.inputs), len(self._model.outputs)
        if counts != (len(graph.inputs), len(self._made)):
            raise damaged(f"{graph.path} has other inputs or outputs than plan.json declares")
        signature = [tf.TensorSpec(t.shape, t.dtype) for t in self._model.inputs]
        self._dtypes = [t.dtype for t in self._model.inputs]
        self._call = tf.function(self._outputs, autograph=False, input_signature=signature)

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """See `Runner`."""
        given = (np.asarray(values[n], d) for n, d in zip(self.graph.inputs, self._dtypes, strict=True))
        made = self._call(*given)
        return {name: np.array(value) for name, value in zip(self.graph.outputs, made, strict=True)}

    def _outputs(self, *inputs: Any) -> list[Any]:
        if not self.graph.gradients:
            return call_model(self._model, list(inputs))
        values = dict(zip(self.graph.inputs, inputs, strict=True))
        weights = [values[weight] for _, weight in self.graph.gradients]
        with self._tf.GradientTape() as tape:
            tape.watch(weights)
            made = call_model(self._model, list(inputs))
        found = dict(zip(self._made, made, strict=True))
        losses = [found[seed.value] for seed in self.graph.seeds]
        starts = [self._tf.fill(self._tf.shape(loss), self._coefficient(seed.coefficient))
                  for loss, seed in zip(losses, self.graph.seeds, strict=True)]  # fmt: skip
        gradients = tape.gradient(losses, weights, starts, self._tf.UnconnectedGradients.ZERO)
        return made + [self._tf.convert_to_tensor(gradient) for gradient in gradients]

    def _coefficient(self, value: float) -> Any:
        return self._tf.constant(value, self._precision)
