"""A place's weights and slots in memory, laid out for updates that copy nothing.

Weights of a dense update lie one after another in a flat buffer, and every buffer is there
twice: an update reads one side and writes the other, then the sides change roles. Tables are
there once: an update touches few of their rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.errors import Failure
from vflc_runtime.initial import initial_value
from vflc_runtime.plan import DenseUpdate, Plan, RowsUpdate, Weight
from vflc_runtime.reading import damaged

Array = NDArray[Any]


class Dense:
    """The arrays of one dense update: `weight` and every slot as a pair of flat buffers."""

    def __init__(self, plan: Plan, update: DenseUpdate) -> None:
        self.slots = plan.optimizers[update.optimizer].slots
        self.side = 0
        self.flat: dict[str, tuple[Array, Array]] = {
            kind: (np.empty(update.size, plan.precision), np.empty(update.size, plan.precision))
            for kind in ("weight", *(slot.name for slot in self.slots))
        }
        self.ranges: dict[str, slice] = {}
        start = 0
        for name in update.arrays:
            self.ranges[name] = slice(start, start + plan.arrays[name].size)
            start += plan.arrays[name].size
        for slot in self.slots:
            self.flat[slot.name][0].fill(slot.init)

    def now(self, kind: str) -> Array:
        """The current side of `weight` or of a slot."""
        return self.flat[kind][self.side]


class Rows:
    """Tables whose rows are updated together, because the same ids read them.

    What the optimizer keeps for them lies side by side in one array a slot, so that one gather, one
    update and one scatter serve them all. `columns` are each table's.
    """

    def __init__(self, plan: Plan, updates: list[RowsUpdate]) -> None:
        self.updates = updates
        self.columns: dict[str, slice] = {}
        width = 0
        for update in updates:
            rows, own = plan.arrays[update.array].shape
            self.columns[update.array] = slice(width, width + own)
            width += own
        optimizer = plan.optimizers[updates[0].optimizer]
        self.wide = {slot.name: np.full((rows, width), slot.init, plan.precision) for slot in optimizer.slots}
        self.narrow = {
            slot.name: np.full((rows, 1), slot.init, plan.precision) for slot in optimizer.row_slots
        }

    def slots(self, array: str) -> dict[str, Array]:
        """Views of one table's slots; those with one number a row are shared."""
        columns = self.columns[array]
        return {**{name: base[:, columns] for name, base in self.wide.items()}, **self.narrow}


def row_groups(plan: Plan) -> list[list[RowsUpdate]]:
    """Updates of rows that have optimizer, number of rows and ids in common, in the plan's order."""
    groups: dict[tuple[object, ...], list[RowsUpdate]] = {}
    for update in plan.updates.values():
        if isinstance(update, RowsUpdate):
            ids = tuple(name for name, _ in update.gradients)
            key = update.optimizer, plan.arrays[update.array].shape[0], ids
            groups.setdefault(key, []).append(update)
    return list(groups.values())


class Buffers:
    """All arrays of a place, initialised from the seed."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        try:
            self._allocate()
        except MemoryError:
            raise damaged(f"the weights of {plan.place!r} do not fit in memory") from None
        for weight in plan.weights.values():
            self._part(self.array(weight.array), weight)[...] = initial_value(
                seed, weight.name, weight.shape, weight.init, plan.precision
            )

    def _allocate(self) -> None:
        plan = self.plan
        self.dense: dict[str, Dense] = {}
        self.rows: list[Rows] = []
        self._single: dict[str, Array] = {}
        self._home: dict[str, Dense] = {}
        self._row_home: dict[str, Rows] = {}
        for update in plan.updates.values():
            if isinstance(update, DenseUpdate):
                self.dense[update.id] = home = Dense(plan, update)
                self._home.update(dict.fromkeys(update.arrays, home))
        for group in row_groups(plan):
            self.rows.append(Rows(plan, group))
            self._row_home.update({update.array: self.rows[-1] for update in group})
        for name, array in plan.arrays.items():
            if name not in self._home:
                self._single[name] = np.empty(array.shape, plan.precision)

    def array(self, name: str) -> Array:
        """The array as it is now; a view that the next update of its flat buffer leaves behind."""
        home = self._home.get(name)
        return self._single[name] if home is None else self.view(home, "weight", home.side, name)

    def view(self, home: Dense, kind: str, side: int, name: str) -> Array:
        """An array's part of one side of a flat buffer, in the array's shape."""
        return home.flat[kind][side][home.ranges[name]].reshape(self.plan.arrays[name].shape)

    def _part(self, array: Array, weight: Weight) -> Array:
        if not self.plan.arrays[weight.array].table:
            return array
        return array[weight.offset : weight.offset + weight.shape[0]]

    def weights(self) -> dict[str, Array]:
        """Views of every weight by its user's name."""
        return {w.name: self._part(self.array(w.array), w) for w in self.plan.weights.values()}

    def slots(self) -> dict[str, Array]:
        """Views of what optimizers keep, as `WEIGHT/SLOT`."""
        found: dict[str, Array] = {}
        for weight in self.plan.weights.values():
            home, rows = self._home.get(weight.array), self._row_home.get(weight.array)
            if home is not None:
                for slot in home.slots:
                    view = self.view(home, slot.name, home.side, weight.array)
                    found[f"{weight.name}/{slot.name}"] = self._part(view, weight)
            elif rows is not None:
                for name, table in rows.slots(weight.array).items():
                    found[f"{weight.name}/{name}"] = self._part(table, weight)
        return found

    def load(self, weights: Mapping[str, Array], slots: Mapping[str, Array] | None) -> None:
        """Overwrites weights and slots in place; VFL0614 where one is missing or of another shape."""
        pairs = [(self.weights(), weights, "weight")]
        if slots is not None:
            pairs.append((self.slots(), slots, "optimizer slot"))
        for mine, given, what in pairs:
            for name, view in mine.items():
                if name not in given or given[name].shape != view.shape:
                    raise Failure(
                        "VFL0614", f"{what} {name!r} of shape {list(view.shape)} is not among those saved"
                    )
        for mine, given, _ in pairs:
            for name, view in mine.items():
                view[...] = given[name]
