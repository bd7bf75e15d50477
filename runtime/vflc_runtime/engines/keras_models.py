"""The Keras models of one place, and one variable for each of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import Plan, Weight
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.initial import first_value
from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.engines.keras_xla import by_xla

KerasValues = dict[str, Any]


class Forward:
    """A model of the plan, called on a dictionary of values."""

    def __init__(self, plan: Plan, graph: str) -> None:
        self.entry, self._name = plan.graphs[graph], f"the graph {graph!r} of {plan.place}"
        self.model = load_model(plan.graph_content(graph), plan.graph_path(graph))
        tf = tensorflow().tf
        signature = [tf.TensorSpec(t.shape, t.dtype) for t in self.model.inputs]
        # A model that reads nothing has one input of its own, which is 1.
        self._alone = () if self.entry.inputs else (tf.ones(1, self.model.inputs[0].dtype),)
        self._call = tf.function(self._outputs, autograph=False, input_signature=signature)
        self._call_on_tape: Any = None
        if len(signature) != len(self.entry.inputs) + len(self._alone):
            raise damaged(f"{plan.graph_path(graph)} has other inputs than plan.json declares")

    def _outputs(self, *inputs: Any) -> list[Any]:
        return call_model(self.model, list(inputs))

    def run(self, values: KerasValues) -> None:
        """Takes inputs from `values` and puts outputs there."""
        made = self._call(*self._given(values))
        values.update(zip(self.entry.outputs, made, strict=True))

    def run_on(self, tape: Any, persistent: bool, values: KerasValues) -> None:
        """The same for a tape to see, which is persistent or not; by XLA where that is wanted."""
        given = self._given(values)
        if self._call_on_tape is None:
            self._call_on_tape = by_xla(self._name, self._call, given, persistent)
        with tape:
            made = self._call_on_tape(*given)
        values.update(zip(self.entry.outputs, made, strict=True))

    def _given(self, values: KerasValues) -> list[Any]:
        return [*(values[name] for name in self.entry.inputs), *self._alone]


def call_model(model: Any, inputs: list[Any]) -> list[Any]:
    """The outputs of a model in order; Keras gives a single one by itself."""
    made = model(inputs)
    return list(made) if isinstance(made, (list, tuple)) else [made]


def load_model(content: bytes, path: Path) -> Any:
    """The Keras model in a file's bytes; VFL0613 where they hold none. `path` is for messages."""
    keras = tensorflow().keras
    try:
        model = keras.models.model_from_json(content)
    except Exception as error:  # what Keras and TensorFlow raise has no common base
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise damaged(f"{path} cannot be loaded: {first[:300]}") from None
    if not isinstance(model, keras.Model):
        raise damaged(f"{path} cannot be loaded: it holds no model")
    return model


class PlaceWeights:
    """Every weight of a place: one variable that holds it, and copies in other models.

    A model has variables of its own. The first that holds a weight, of training where there is
    training, is the one that changes; the others are brought up to date before they are used.
    """

    def __init__(self, plan: Plan, models: Mapping[str, Forward], seed: int) -> None:
        self.plan = plan
        self._tf = tensorflow().tf
        self.main: dict[str, Any] = {}
        self._copies: dict[str, list[tuple[str, Any]]] = {name: [] for name in plan.weights}
        self._stale: dict[str, set[str]] = {graph: set() for graph in models}
        for graph, forward in models.items():
            for held in forward.entry.held:
                variable = self._variable(graph, forward.model, held.layer, held.index)
                weight = plan.weights.get(held.weight)
                if weight is None or int(np.prod(variable.shape)) != int(np.prod(weight.shape)):
                    raise damaged(f"model {graph!r}: layer {held.layer!r} cannot hold {held.weight!r}")
                if held.weight not in self.main:
                    self.main[held.weight] = variable
                else:
                    self._copies[held.weight].append((graph, variable))
        for name, weight in plan.weights.items():
            if name not in self.main:
                self.main[name] = self._tf.Variable(np.zeros(weight.shape, plan.precision))
            self.assign(name, self._initial(weight, seed))

    def _variable(self, graph: str, model: Any, layer: str, index: int) -> Any:
        try:
            return model.get_layer(layer).weights[index].value
        except (ValueError, IndexError):
            raise damaged(f"model {graph!r} has no layer {layer!r} with {index + 1} variables") from None

    def _initial(self, weight: Weight, seed: int) -> Array:
        return first_value(seed, weight, self.plan.precision)

    def in_models(self, name: str, graphs: set[str]) -> list[Any]:
        """The variables that hold a weight in some models: gradients flow into each of them."""
        return [self.main[name], *(v for graph, v in self._copies[name] if graph in graphs)]

    def assign(self, name: str, value: Any) -> None:
        """Sets a weight; `value` has its size."""
        variable = self.main[name]
        variable.assign(self._tf.reshape(self._tf.cast(value, variable.dtype), variable.shape))
        self.changed(name)

    def changed(self, name: str) -> None:
        """Notes that the variable of a weight has another value now."""
        for graph, _ in self._copies[name]:
            self._stale[graph].add(name)

    def refresh(self, graphs: set[str], instead: Mapping[str, Any]) -> None:
        """Brings the models that are about to run up to date; `instead` has other values for some weights."""
        for graph in graphs:
            stale = self._stale.get(graph, set())
            for name in stale:
                for where, variable in self._copies[name]:
                    if where == graph:
                        value = instead.get(name, self.main[name])
                        variable.assign(self._tf.reshape(value, variable.shape))
            stale.clear()

    def arrays(self, instead: Mapping[str, Any]) -> dict[str, Array]:
        """Every weight by its name, in its shape [rows, …]; `instead` has other values for some."""
        return {name: self.array(name, instead) for name in self.plan.weights}

    def array(self, name: str, instead: Mapping[str, Any] = {}) -> Array:
        """A weight in its shape [rows, …], in the precision of the plan."""
        shape = self.plan.weights[name].shape
        return np.asarray(instead.get(name, self.main[name]).numpy(), self.plan.precision).reshape(shape)
