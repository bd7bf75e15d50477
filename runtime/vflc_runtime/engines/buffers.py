"""A place's weights and slots in memory, laid out for updates that copy nothing.

Weights of a dense update lie one after another in a flat buffer, and so do their gradients and each
slot. Tables that are updated together have their slots side by side.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import DenseUpdate, Plan, RowsUpdate, Weight
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.initial import set_first_value
from vflc_runtime.engines.table_memory import TableMemory
from vflc_runtime.errors import Failure
from vflc_runtime.tensors import AnyTensors, put, whole

LAST = "last"
"""What slots call the step in which each row was last updated; 0 for none."""


class Dense:
    """The arrays of one dense update: `weight`, `gradient` and every slot as a flat buffer."""

    def __init__(self, plan: Plan, update: DenseUpdate) -> None:
        self.slots = plan.optimizers[update.optimizer].slots
        self.flat: dict[str, Array] = {
            kind: np.empty(update.size, plan.precision)
            for kind in ("weight", "gradient", *(slot.name for slot in self.slots))
        }
        self.ranges: dict[str, slice] = {}
        start = 0
        for name in update.arrays:
            self.ranges[name] = slice(start, start + plan.arrays[name].size)
            start += plan.arrays[name].size
        for slot in self.slots:
            self.flat[slot.name].fill(slot.init)


class TableGroup:
    """Tables whose rows are updated together, because the same ids read them.

    All that the optimizer keeps for a row lies side by side in `kept`, so that one gather, one update
    and one scatter serve all tables and slots, and a row is one place in memory. `columns` are each
    table's, and `slot_widths` the slots' widths in order. Rows are as they were after the step in `last`,
    where the optimizer makes up for steps that they missed since. `changed` marks those whose numbers are
    others than when the run was last saved.
    """

    def __init__(self, plan: Plan, updates: list[RowsUpdate], memory: TableMemory) -> None:
        self.updates = updates
        self.columns: dict[str, slice] = {}
        width = 0
        for update in updates:
            rows, own = plan.arrays[update.array].shape
            self.columns[update.array] = slice(width, width + own)
            width += own
        self.width, self.optimizer = width, plan.optimizers[updates[0].optimizer]
        self.slot_widths = {slot.name: width for slot in self.optimizer.slots}
        self.kept = memory.zeros((rows, width * len(self.slot_widths)), plan.precision)
        self.last = np.zeros(rows, np.int64) if self.optimizer.catch_up else None
        self.changed = np.zeros(rows, np.bool_)
        for slot in self.optimizer.slots:
            if slot.init:  # what is not written takes no memory
                self.slot(slot.name)[...] = slot.init

    def slot(self, name: str) -> Array:
        """A view [rows, width of all tables] of a slot."""
        start = self.width * [*self.slot_widths].index(name)
        return self.kept[:, start : start + self.width]

    def slots(self, array: str) -> dict[str, Array]:
        """Views [rows, width] of one table's slots by name; `last` [rows] is the same for all tables."""
        found = {name: self.slot(name)[:, self.columns[array]] for name in self.slot_widths}
        return found if self.last is None else {**found, LAST: self.last}


def row_groups(plan: Plan) -> list[list[RowsUpdate]]:
    """Updates of rows that have optimizer, number of rows and ids in common, in the plan's order."""
    groups: dict[tuple[object, ...], list[RowsUpdate]] = {}
    for update in plan.updates.values():
        if isinstance(update, RowsUpdate):
            ids = tuple(name for name, _ in update.gradients)
            key = update.optimizer, plan.arrays[update.array].shape[0], ids, update.reads
            groups.setdefault(key, []).append(update)
    return list(groups.values())


class Buffers:
    """All arrays of a place, initialised from the seed."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        try:
            self._allocate()
            for weight in plan.weights.values():
                set_first_value(self._part(self.array(weight.array), weight), seed, weight)
        except (
            MemoryError
        ):  # also of the whole that a slice is of, whose size the plan of one place only claims
            raise damaged(f"the weights of {plan.place!r} do not fit in memory") from None

    def _allocate(self) -> None:
        plan = self.plan
        self.dense: dict[str, Dense] = {}
        self.rows: list[TableGroup] = []
        self._single: dict[str, Array] = {}
        self._home: dict[str, Dense] = {}
        self._row_home: dict[str, TableGroup] = {}
        for update in plan.updates.values():
            if isinstance(update, DenseUpdate):
                self.dense[update.id] = home = Dense(plan, update)
                self._home.update(dict.fromkeys(update.arrays, home))
        memory = TableMemory(plan)
        for group in row_groups(plan):
            self.rows.append(TableGroup(plan, group, memory))
            self._row_home.update({update.array: self.rows[-1] for update in group})
        for name, array in plan.arrays.items():
            if name not in self._home:
                made = memory.zeros if name in self._row_home else np.empty
                self._single[name] = made(array.shape, plan.precision)

    def gradients(self) -> dict[str, Array]:
        """Where dense updates read their gradients, flat [size], by the values' ids."""
        updates = (update for update in self.plan.updates.values() if isinstance(update, DenseUpdate))
        return {update.gradient: self.dense[update.id].flat["gradient"] for update in updates}

    def array(self, name: str) -> Array:
        """The array in its own shape, [rows, width] for tables; it stays where it is."""
        home = self._home.get(name)
        return self._single[name] if home is None else self._view(home, "weight", name)

    def rows_of(self, weight: Weight) -> TableGroup | None:
        """The tables that a weight is among; None where it is no table, or is not updated by rows."""
        return self._row_home.get(weight.array)

    def slot(self, array: str, kind: str) -> Array:
        """An array's part of a slot, in the array's shape [*]."""
        rows = self._row_home.get(array)
        return self._view(self._home[array], kind, array) if rows is None else rows.slots(array)[kind]

    def _view(self, home: Dense, kind: str, name: str) -> Array:
        """An array's part of a flat buffer, in the array's shape."""
        return home.flat[kind][home.ranges[name]].reshape(self.plan.arrays[name].shape)

    def _part(self, array: Array, weight: Weight) -> Array:
        if not self.plan.arrays[weight.array].table:
            return array
        return array[weight.offset : weight.offset + weight.shape[0]]

    def weights(self, instead: Mapping[str, Array] = {}) -> dict[str, Array]:
        """Views [rows, …] of every weight by its user's name; `instead` has other arrays for some."""
        return {
            w.name: self._part(instead[w.array] if w.array in instead else self.array(w.array), w)
            for w in self.plan.weights.values()
        }

    def slots(self) -> dict[str, Array]:
        """Views of what optimizers keep, as `WEIGHT/SLOT`, in the weights' shapes [*]; `last` is [rows]."""
        found: dict[str, Array] = {}
        for weight in self.plan.weights.values():
            home, rows = self._home.get(weight.array), self._row_home.get(weight.array)
            if home is not None:
                for slot in home.slots:
                    view = self._view(home, slot.name, weight.array)
                    found[f"{weight.name}/{slot.name}"] = self._part(view, weight)
            elif rows is not None:
                for name, table in rows.slots(weight.array).items():
                    found[f"{weight.name}/{name}"] = self._part(table, weight)
        return found

    def load(self, weights: AnyTensors, slots: AnyTensors | None, step: int) -> None:
        """Overwrites weights and slots [rows, …] in place, as they were stored after `step` steps.

        Raises:
            Failure: VFL0621 where one is missing, of another shape, or of a step that is still to come.
        """
        pairs = [(self.weights(), weights, "weight")]
        if slots is not None:
            pairs.append((self.slots(), slots, "optimizer slot"))
        for mine, given, what in pairs:
            for name, view in mine.items():
                if name not in given or given[name].shape != view.shape:
                    raise Failure(
                        "VFL0621", f"{what} {name!r} of shape {list(view.shape)} is not among those saved"
                    )
                if name.endswith(f"/{LAST}"):
                    check_last(name, whole(given[name]), step)
        for mine, given, _ in pairs:
            for name, view in mine.items():
                put(view, given[name])
        for group in self.rows:
            group.changed.fill(True)


def check_last(name: str, last: Array, step: int) -> None:
    """Refuses steps `last` of rows, int64 [rows], that are none of the first `step`.

    Raises:
        Failure: VFL0621.
    """
    if last.dtype != np.int64 or last.min(initial=0) < 0 or last.max(initial=0) > step:
        raise Failure("VFL0621", f"optimizer slot {name!r} has steps that were not done after {step:,}")
