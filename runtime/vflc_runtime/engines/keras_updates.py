"""Updates on TensorFlow: the optimizer's model over flat weights, and over the rows touched."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.engines.keras_models import Values, Weights, call_model, load_model
from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.plan import DenseUpdate, Optimizer, Plan, RowsUpdate

Array = NDArray[Any]


class Updater(Protocol):
    """Changes weights and slots in place."""

    def apply(self, values: Values, step: int) -> None:
        """`values` holds the gradients; `step` counts from 1."""
        ...

    def slots(self) -> dict[str, Any]:
        """What the optimizer keeps, as `WEIGHT/SLOT`, in the weights' shapes."""
        ...

    def load(self, slots: dict[str, Array]) -> None:
        """Takes slots of the shapes that `slots` gives."""
        ...


class _Optimizer:
    """The model of an optimizer, for dense weights or for rows, called on tensors by name."""

    def __init__(self, plan: Plan, optimizer: Optimizer, rows: bool) -> None:
        self._tf = tensorflow().tf
        graph = optimizer.rows_graph if rows else optimizer.graph
        self._model = load_model(plan, graph)
        self._entry = plan.graphs[graph]
        self.flat = graph == optimizer.graph
        self.slots = optimizer.slots
        self.row_slots = () if self.flat else optimizer.row_slots
        self.clip_norm = optimizer.clip_norm

    def new(self, given: dict[str, Any]) -> dict[str, Any]:
        """The new weight and slots by name, in the shapes given: one axis, or rows where not `flat`."""
        made = call_model(self._model, [given[name] for name in self._entry.inputs])
        outputs = zip(self._entry.outputs, made, strict=True)
        return {name.removeprefix("new."): value for name, value in outputs}

    def clipped(self, gradient: Any) -> Any:
        """The gradient of one weight, its norm at most what the plan allows."""
        if self.clip_norm is None:
            return gradient
        tf = self._tf
        norm = tf.sqrt(tf.reduce_sum(tf.square(tf.cast(gradient, tf.float64))))
        limit = tf.constant(self.clip_norm, tf.float64)
        factor = tf.where(norm > limit, limit / norm, tf.ones((), tf.float64))
        return gradient * tf.cast(factor, gradient.dtype)


def make_updaters(plan: Plan, weights: Weights) -> dict[str, Updater]:
    """An updater for every update of the plan."""
    optimizers: dict[tuple[str, bool], _Optimizer] = {}
    updaters: dict[str, Updater] = {}
    for update in plan.updates.values():
        key = update.optimizer, isinstance(update, RowsUpdate)
        if key not in optimizers:
            optimizers[key] = _Optimizer(plan, plan.optimizers[update.optimizer], key[1])
        if isinstance(update, DenseUpdate):
            updaters[update.id] = _DenseUpdater(plan, update, optimizers[key], weights)
        else:
            updaters[update.id] = _RowsUpdater(plan, update, optimizers[key], weights)
    return updaters


class _DenseUpdater:
    """The weights of an update one after another; each slot is one flat variable of them all."""

    def __init__(self, plan: Plan, update: DenseUpdate, optimizer: _Optimizer, weights: Weights) -> None:
        self._tf = tf = tensorflow().tf
        self._plan, self._update, self._optimizer, self._weights = plan, update, optimizer, weights
        self._sizes = [plan.arrays[name].size for name in update.arrays]
        self._slots = {
            slot.name: tf.Variable(np.full(update.size, slot.init, plan.precision))
            for slot in optimizer.slots
        }
        flat = tf.TensorSpec((update.size,), plan.precision)
        self._apply = tf.function(self._changed, input_signature=[flat, tf.TensorSpec((), plan.precision)])

    def apply(self, values: Values, step: int) -> None:
        self._apply(values[self._update.gradient], self._tf.constant(step, self._plan.precision))
        for name in self._update.arrays:
            self._weights.changed(name)

    def _changed(self, gradient: Any, step: Any) -> None:
        tf, optimizer = self._tf, self._optimizer
        variables = [self._weights.main[name] for name in self._update.arrays]
        if optimizer.clip_norm is not None:
            gradient = tf.concat([optimizer.clipped(part) for part in tf.split(gradient, self._sizes)], 0)
        weight = tf.concat([tf.reshape(variable, (-1,)) for variable in variables], 0)
        new = optimizer.new({"weight": weight, "gradient": gradient, "step": step, **self._slots})
        for variable, part in zip(variables, tf.split(new["weight"], self._sizes), strict=True):
            variable.assign(tf.reshape(part, variable.shape))
        for name, variable in self._slots.items():
            variable.assign(new[name])

    def slots(self) -> dict[str, Any]:
        found = {}
        for slot, flat in self._slots.items():
            parts = np.split(flat.numpy(), np.cumsum(self._sizes)[:-1])
            for name, part in zip(self._update.arrays, parts, strict=True):
                found[f"{name}/{slot}"] = part.reshape(self._plan.arrays[name].shape)
        return found

    def load(self, slots: dict[str, Array]) -> None:
        for slot, flat in self._slots.items():
            flat.assign(np.concatenate([slots[f"{n}/{slot}"].reshape(-1) for n in self._update.arrays]))


class _RowsUpdater:
    """Takes the rows touched out of table and slots, updates them, puts them back."""

    def __init__(self, plan: Plan, update: RowsUpdate, optimizer: _Optimizer, weights: Weights) -> None:
        self._tf = tf = tensorflow().tf
        self._plan, self._update, self._optimizer, self._weights = plan, update, optimizer, weights
        shape = plan.arrays[update.array].shape
        self._slots = {
            slot.name: tf.Variable(np.full(shape, slot.init, plan.precision)) for slot in optimizer.slots
        }
        for slot in optimizer.row_slots:
            self._slots[slot.name] = tf.Variable(np.full((shape[0], 1), slot.init, plan.precision))
        self._apply = tf.function(
            self._changed,
            input_signature=[
                tf.TensorSpec((None,), tf.int32),
                tf.TensorSpec((None, shape[1]), plan.precision),
                tf.TensorSpec((), plan.precision),
            ],
        )

    def apply(self, values: Values, step: int) -> None:
        for ids, gradient in self._update.gradients:
            self._apply(values[ids], values[gradient], self._tf.constant(step, self._plan.precision))
        self._weights.changed(self._update.array)

    def _changed(self, rows: Any, gradient: Any, step: Any) -> None:
        tf, optimizer = self._tf, self._optimizer
        parts = {"weight": self._weights.main[self._update.array], **self._slots}
        given = {name: tf.gather(part, rows) for name, part in parts.items()}
        given["gradient"] = optimizer.clipped(gradient)
        if optimizer.flat:
            given = {name: tf.reshape(value, (-1,)) for name, value in given.items()}
        new = optimizer.new({**given, "step": step})
        for name, part in parts.items():
            value = tf.reshape(new[name], (-1, part.shape[1]))
            part.scatter_update(tf.IndexedSlices(value, rows))

    def slots(self) -> dict[str, Any]:
        return {f"{self._update.array}/{slot}": table.numpy() for slot, table in self._slots.items()}

    def load(self, slots: dict[str, Array]) -> None:
        for slot, table in self._slots.items():
            table.assign(slots[f"{self._update.array}/{slot}"])
