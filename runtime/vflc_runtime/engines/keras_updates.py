"""Updates on TensorFlow: the optimizer's model over flat weights, and over the rows touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.engines.keras_models import Values, Weights, call_model, load_model
from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.plan import DenseUpdate, Optimizer, Plan, RowsUpdate

Array = NDArray[Any]


class Updates:
    """All updates of a place in one call, as each of them alone is little work.

    Slots are known as `WEIGHT/SLOT`, in the weights' shapes.
    """

    def __init__(self, plan: Plan, weights: Weights) -> None:
        self._tf = tensorflow().tf
        self._plan, self._weights = plan, weights
        optimizers: dict[tuple[str, bool], _Optimizer] = {}
        self._updaters: list[_DenseUpdater | _RowsUpdater] = []
        for update in plan.updates.values():
            key = update.optimizer, isinstance(update, RowsUpdate)
            if key not in optimizers:
                optimizers[key] = _Optimizer(plan, plan.optimizers[update.optimizer], key[1])
            if isinstance(update, DenseUpdate):
                self._updaters.append(_DenseUpdater(plan, update, optimizers[key], weights))
            else:
                self._updaters.append(_RowsUpdater(plan, update, optimizers[key], weights))
        self._changed = [name for updater in self._updaters for name in updater.arrays]
        self._call = self._tf.function(self._apply, autograph=False, reduce_retracing=True)

    def apply(self, values: Values, step: int) -> None:
        """Updates weights and slots; `values` holds the gradients, `step` counts from 1."""
        given = [[values[name] for name in updater.reads] for updater in self._updaters]
        self._call(given, self._tf.constant(step, self._plan.precision))
        for name in self._changed:
            self._weights.changed(name)

    def _apply(self, given: list[list[Any]], step: Any) -> None:
        for updater, gradients in zip(self._updaters, given, strict=True):
            updater.apply(gradients, step)

    def slots(self) -> dict[str, Array]:
        """What optimizers keep."""
        return {name: slot for updater in self._updaters for name, slot in updater.slots().items()}

    def load(self, slots: Mapping[str, Array]) -> None:
        """Takes slots of the names and shapes that `slots` gives."""
        for updater in self._updaters:
            updater.load(slots)


class _Optimizer:
    """The model of an optimizer, for dense weights or for rows, called on tensors by name."""

    def __init__(self, plan: Plan, optimizer: Optimizer, rows: bool) -> None:
        self._tf = tensorflow().tf
        graph = optimizer.rows_graph if rows else optimizer.graph
        self._model = load_model(plan.graph_content(graph), plan.graph_path(graph))
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
        self.reads, self.arrays = [update.gradient], update.arrays

    def apply(self, gradients: list[Any], step: Any) -> None:
        tf, optimizer, (gradient,) = self._tf, self._optimizer, gradients
        variables = [self._weights.main[name] for name in self._update.arrays]
        if optimizer.clip_norm is not None:
            gradient = tf.concat([optimizer.clipped(part) for part in tf.split(gradient, self._sizes)], 0)
        weight = tf.concat([tf.reshape(variable, (-1,)) for variable in variables], 0)
        new = optimizer.new({"weight": weight, "gradient": gradient, "step": step, **self._slots})
        for variable, part in zip(variables, tf.split(new["weight"], self._sizes), strict=True):
            variable.assign(tf.reshape(part, variable.shape))
        for name, variable in self._slots.items():
            variable.assign(new[name])

    def slots(self) -> dict[str, Array]:
        found = {}
        for slot, flat in self._slots.items():
            parts = np.split(flat.numpy(), np.cumsum(self._sizes)[:-1])
            for name, part in zip(self._update.arrays, parts, strict=True):
                found[f"{name}/{slot}"] = part.reshape(self._plan.arrays[name].shape)
        return found

    def load(self, slots: Mapping[str, Array]) -> None:
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
        self.reads, self.arrays = [name for pair in update.gradients for name in pair], (update.array,)

    def apply(self, gradients: list[Any], step: Any) -> None:
        """The plans of this backend have one pair of distinct rows and their gradient."""
        rows, gradient = gradients
        tf, optimizer = self._tf, self._optimizer
        parts = {"weight": self._weights.main[self._update.array], **self._slots}
        given = {name: tf.gather(self._table(part), rows) for name, part in parts.items()}
        given["gradient"] = optimizer.clipped(gradient)
        if optimizer.flat:
            given = {name: tf.reshape(value, (-1,)) for name, value in given.items()}
        new = optimizer.new({**given, "step": step})
        for name, part in parts.items():
            table = self._table(part)
            value = tf.reshape(new[name], (-1, table.shape[1]))
            if table is part:
                part.scatter_update(tf.IndexedSlices(value, rows))
            else:
                part.assign(tf.reshape(tf.tensor_scatter_nd_update(table, rows[:, None], value), part.shape))

    def _table(self, part: Any) -> Any:
        """A variable as rows; a table that is read in another way, too, may lie flat in its layer."""
        rows, width = self._plan.arrays[self._update.array].shape
        return part if part.shape[0] == rows else self._tf.reshape(part, (rows, width))

    def slots(self) -> dict[str, Array]:
        return {f"{self._update.array}/{slot}": table.numpy() for slot, table in self._slots.items()}

    def load(self, slots: Mapping[str, Array]) -> None:
        for slot, table in self._slots.items():
            table.assign(slots[f"{self._update.array}/{slot}"])
