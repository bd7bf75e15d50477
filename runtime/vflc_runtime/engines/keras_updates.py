"""Updates on TensorFlow: the optimizer's model over flat weights, and over the rows touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.plan import DenseUpdate, Plan, RowsUpdate
from vflc_runtime.bundle.plan_rows import ReplaySteps
from vflc_runtime.engines.buffers import LAST
from vflc_runtime.engines.keras_models import KerasValues, PlaceWeights
from vflc_runtime.engines.keras_optimizer import KerasOptimizer
from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.engines.replay import TableSweep

BLOCK_NUMBERS = 1 << 20
"""Weights that go through steps together beside those that are read: many, as a call costs much."""


class Updates:
    """All updates of a place in one call, as each of them alone is little work.

    Slots are known as `WEIGHT/SLOT`, in the weights' shapes.
    """

    def __init__(self, plan: Plan, weights: PlaceWeights) -> None:
        self._tf = tensorflow().tf
        self._plan, self._weights = plan, weights
        optimizers = {
            name: KerasOptimizer(plan, plan.optimizers[name])
            for name in dict.fromkeys(update.optimizer for update in plan.updates.values())
        }
        self._updaters: list[_DenseUpdater | _RowsUpdater] = []
        self._late: dict[str, _RowsUpdater] = {}
        for update in plan.updates.values():
            optimizer = optimizers[update.optimizer]
            if isinstance(update, DenseUpdate):
                self._updaters.append(_DenseUpdater(plan, update, optimizer, weights))
            else:
                self._updaters.append(rows := _RowsUpdater(plan, update, optimizer, weights))
                if rows.last is not None:
                    self._late[update.id] = rows
        self._changed = [name for updater in self._updaters for name in updater.arrays]
        given = [updater.signature() for updater in self._updaters]
        step = self._tf.TensorSpec((), plan.precision)
        self._call = self._tf.function(self._apply, autograph=False, input_signature=[given, step])

    def apply(self, values: KerasValues, step: int) -> None:
        """Updates weights and slots; `values` holds the gradients, `step` counts from 1."""
        given = [updater.given(values) for updater in self._updaters]
        self._call(given, self._tf.constant(step, self._plan.precision))
        for rows in self._late.values():
            rows.done(step)
        for name in self._changed:
            self._weights.changed(name)

    def catch_up(self, update: str, values: KerasValues, step: int) -> None:
        """Makes up for what the rows that the batch reads missed before `step`."""
        rows = self._late[update]
        rows.catch_up(values, step - 1)
        for name in rows.arrays:
            self._weights.changed(name)

    def current(self, step: int) -> dict[str, Any]:
        """The tables whose rows may have missed steps, as they are after `step` steps."""
        found = {name: rows.current(step) for rows in self._late.values() for name in rows.arrays}
        for name in found:  # some are made current where they lie
            self._weights.changed(name)
        return found

    def settle(self, step: int) -> None:
        """All rows and all that is kept for them become what they are after `step` steps."""
        for rows in self._late.values():
            rows.catch_up_all(step)

    def stored(self) -> list[str]:
        """The weights whose rows may have missed steps."""
        return [name for rows in self._late.values() for name in rows.arrays]

    def _apply(self, given: list[list[Any]], step: Any) -> None:
        for updater, gradients in zip(self._updaters, given, strict=True):
            updater.apply(gradients, step)

    def slots(self) -> dict[str, Array]:
        """What optimizers keep, [rows, …]."""
        return {name: slot for updater in self._updaters for name, slot in updater.slots().items()}

    def load(self, slots: Mapping[str, Array]) -> None:
        """Takes slots [rows, …] of the names and shapes that `slots` gives."""
        for updater in self._updaters:
            updater.load(slots)


def _positions(rows: Any, some: Any) -> Any:
    """Where in `rows`, which ascend, each of some stands: [n, 1], without 20 nodes of `tf.searchsorted`."""
    tf = tensorflow().tf
    found = tf.raw_ops.LowerBound(sorted_inputs=tf.expand_dims(rows, 0), values=tf.expand_dims(some, 0))
    return tf.reshape(found, (-1, 1))


class _DenseUpdater:
    """The weights of an update one after another; each slot is one flat variable of them all."""

    def __init__(
        self, plan: Plan, update: DenseUpdate, optimizer: KerasOptimizer, weights: PlaceWeights
    ) -> None:
        self._tf = tf = tensorflow().tf
        self._plan, self._update, self._weights = plan, update, weights
        self._optimizer = optimizer.of_size(update.size)
        self._sizes = [plan.arrays[name].size for name in update.arrays]
        self._slots = {
            slot.name: tf.Variable(np.full(update.size, slot.init, plan.precision))
            for slot in optimizer.slots
        }
        self.arrays = update.arrays

    def given(self, values: KerasValues) -> list[Any]:
        """What `apply` takes."""
        return [values[self._update.gradient]]

    def signature(self) -> list[Any]:
        """Types and shapes of that, whatever the batch."""
        return [self._tf.TensorSpec((self._update.size,), self._plan.precision)]

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

    def __init__(
        self, plan: Plan, update: RowsUpdate, optimizer: KerasOptimizer, weights: PlaceWeights
    ) -> None:
        self._tf = tf = tensorflow().tf
        self._plan, self._update, self._optimizer, self._weights = plan, update, optimizer, weights
        self._shape = shape = plan.arrays[update.array].shape
        self._slots = {
            slot.name: tf.Variable(np.full(shape, slot.init, plan.precision)) for slot in optimizer.slots
        }
        self.last = None if optimizer.late is None else np.zeros(shape[0], np.int64)
        self._rounds = None
        if isinstance(optimizer.late, ReplaySteps):
            self._rounds = TableSweep(shape[0], max(1, BLOCK_NUMBERS // shape[1]))
        self._read = np.empty(0, np.int64)
        self.arrays = (update.array,)

    def given(self, values: KerasValues) -> list[Any]:
        """What `apply` takes."""
        rows, gradient = self._update.gradients[0]
        read = [] if self.last is None else [self._tf.constant(self._read)]
        return [values[rows], values[gradient], *read]

    def signature(self) -> list[Any]:
        """Types and shapes of that, whatever rows are touched."""
        tf, width = self._tf, self._shape[1]
        read = [] if self.last is None else [tf.TensorSpec((None,), tf.int64)]
        return [tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, width), self._plan.precision), *read]

    def apply(self, gradients: list[Any], step: Any) -> None:
        """The plans of this backend have one pair of distinct rows and their gradient.

        Rows that were read without a gradient have one of 0.
        """
        tf, optimizer = self._tf, self._optimizer
        rows, gradient, *read = gradients
        if read:
            at = _positions(read[0], tf.cast(rows, tf.int64))
            rows, shape = read[0], (tf.size(read[0]), self._shape[1])
            gradient = tf.scatter_nd(at, gradient, shape)
        parts = self._parts()
        given = {name: tf.gather(self._table(part), rows) for name, part in parts.items()}
        given["gradient"] = optimizer.clipped(gradient)
        given = {name: tf.reshape(value, (-1,)) for name, value in given.items()}
        new = optimizer.new({**given, "step": step})
        self._put(parts, rows, {name: tf.reshape(new[name], (-1, self._shape[1])) for name in parts})

    def done(self, step: int) -> None:
        """Notes that `step` has updated the rows that were read for it."""
        assert self.last is not None
        self.last[self._read] = step

    def catch_up(self, values: KerasValues, step: int) -> None:
        """Makes up for what the rows that are about to be read missed up to `step`."""
        assert self.last is not None
        if self._update.reads is None:
            self._read = np.arange(self._shape[0])
        else:
            read = np.concatenate([values[name].numpy().reshape(-1) for name in self._update.reads])
            self._read = np.unique(read[read >= 0]).astype(np.int64)
        calls = self._catch_up(self._read, step)
        if self._rounds is not None:
            self._rounds.go(calls, lambda part: self._catch_up(part, step))

    def catch_up_all(self, step: int) -> None:
        """The same for all rows."""
        self._catch_up(np.arange(self._shape[0]), step)

    def _catch_up(self, rows: Indices, step: int) -> int:
        """Lets rows catch up, and says how many steps the oldest of them had missed."""
        assert self.last is not None
        missed = step - int(self.last[rows].min(initial=step))
        parts = self._parts()
        given = {name: self._tf.gather(self._table(part), rows) for name, part in parts.items()}
        self._put(parts, rows, self._optimizer.caught_up(given, self.last[rows], step))
        self.last[rows] = step
        return missed

    def current(self, step: int) -> Any:
        """The table as it is after `step` steps: a copy, unless its rows go through each step but once."""
        assert self.last is not None
        if isinstance(self._optimizer.late, ReplaySteps):
            self.catch_up_all(step)
            return self._table(self._parts()["weight"])
        given = {name: self._table(part) for name, part in self._parts().items()}
        return self._optimizer.caught_up(given, self.last, step)["weight"]

    def _parts(self) -> dict[str, Any]:
        return {"weight": self._weights.main[self._update.array], **self._slots}

    def _put(self, parts: dict[str, Any], rows: Any, values: dict[str, Any]) -> None:
        tf = self._tf
        for name, part in parts.items():
            table, value = self._table(part), values[name]
            if table is part:
                part.scatter_update(tf.IndexedSlices(value, rows))
            else:
                part.assign(tf.reshape(tf.tensor_scatter_nd_update(table, rows[:, None], value), part.shape))

    def _table(self, part: Any) -> Any:
        """A variable as rows; a table that is read in another way, too, may lie flat in its layer."""
        return part if part.shape[0] == self._shape[0] else self._tf.reshape(part, self._shape)

    def slots(self) -> dict[str, Array]:
        slots = {name: table.numpy() for name, table in self._slots.items()}
        slots |= {} if self.last is None else {LAST: self.last}
        return {f"{self._update.array}/{name}": value for name, value in slots.items()}

    def load(self, slots: Mapping[str, Array]) -> None:
        for slot, table in self._slots.items():
            table.assign(slots[f"{self._update.array}/{slot}"])
        if self.last is not None:
            self.last[...] = slots[f"{self._update.array}/{LAST}"]
