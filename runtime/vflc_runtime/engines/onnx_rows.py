"""Updates of the rows that a batch touched, on onnxruntime."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from onnxruntime.capi import onnxruntime_pybind11_state as native
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.engines.buffers import Buffers, TableGroup
from vflc_runtime.engines.missed import History
from vflc_runtime.engines.onnx_catch_up import RowsReader, make_reader
from vflc_runtime.engines.onnx_rows_graphs import TAKEN, row_adder, row_updater
from vflc_runtime.engines.onnx_session import OrtValues, ort_value
from vflc_runtime.engines.updates import DistinctRows, clip_tables
from vflc_runtime.memory import ask_for, far_file

MANY_IDS = 2
"""Ids of a batch for a row of a table, from which on it takes less time to update all rows in every step than
to look for those that are read and let them catch up."""


class RowsUpdater:
    """Sums the gradients of each row touched, and updates these rows where they lie.

    Serves all tables of a group at once: called for the first of them, it is done for the others. Where rows
    would have to catch up, and a batch has many ids, all rows are updated. The number of ids alone decides.

    Args:
        history: of the group's optimizer, where rows catch up by what follows from it.
        all_threads: threads that an update of all rows may use.
    """

    def __init__(
        self, plan: Plan, group: TableGroup, buffers: Buffers, history: History | None, all_threads: int = 1
    ) -> None:
        first, optimizer = group.updates[0], group.optimizer
        self._group, tables = group, [buffers.array(update.array) for update in group.updates]
        self._distinct = DistinctRows(len(tables[0]))
        self._reads = first.reads
        self._ids = [ids for ids, _ in first.gradients]
        self._gradients = {
            f"gradient.{table}.{part}": name
            for table, update in enumerate(group.updates)
            for part, (_, name) in enumerate(update.gradients)
        }
        self.reader = make_reader(plan, group, tables, history)
        widths = [table.shape[1] for table in tables]
        self._clip_norm = optimizer.clip_norm
        parts, taken = len(self._ids), self.reader is not None
        self._taken = [TAKEN + name for name in ("weight", *group.slot_widths)]
        threads = all_threads if self._reads is None else 1
        if self._clip_norm is None:
            self._updater = row_updater(plan, optimizer, widths, group.slot_widths, parts, taken, threads)
        else:
            self._adder = row_adder(plan.precision, tuple(widths), parts)
            self._updater = row_updater(plan, optimizer, widths, group.slot_widths, 0, taken)
        self._binding = native.SessionIOBinding(self._updater)
        self._step = np.zeros((), plan.precision)
        self._binding.bind_ortvalue_input("step", ort_value(self._step))
        stored = {f"table.{index}": table for index, table in enumerate(tables)}
        if group.slot_widths:
            stored["kept"] = group.kept
        for name, array in stored.items():
            self._binding.bind_ortvalue_input(name, ort_value(array))
            self._binding.bind_ortvalue_output(f"new.{name}", ort_value(array))
        self._far = [array for array in stored.values() if far_file(array) is not None]
        self._count = np.zeros(1, np.int64)
        if self._clip_norm is None:
            self._binding.bind_ortvalue_input("count", ort_value(self._count))
        self._sizes: list[int] = []
        self._placed, self._at = False, dict[str, slice]()
        self._given: dict[str, Any] = {}
        weights = plan.weights.values()
        self._ends = [
            (columns, np.sort([w.offset + w.shape[0] for w in weights if w.array == array]))
            for array, columns in group.columns.items()
        ]
        skips = isinstance(self.reader, RowsReader) and self._clip_norm is None and self._reads is not None
        self._make_whole: Callable[[], RowsUpdater] = lambda: RowsUpdater(
            plan, _whole(group), buffers, None, all_threads
        )
        self._whole: RowsUpdater | None = None
        self._fewest = MANY_IDS * len(tables[0]) if skips else math.inf
        self._read, self._batch, self._many = 0, 0, False
        self._rows = self._positions = np.empty(0, np.int64)
        self._held: list[Any] = []
        self._views: list[Array] = []

    def catch_up(self, values: OrtValues, step: int, batch: int) -> None:
        """The rows that the batch is about to read become what they are after the steps before `step`."""
        if batch == self._read or self.reader is None:
            return
        self._read = batch
        parts = self._parts(values)
        self._many = self._are_many(parts)
        if self._many:
            assert self._group.last is not None
            if (self._group.last != step - 1).any():
                self.reader.settle(step - 1)
            return
        self._find(parts)
        if len(self._rows):
            taken = self.reader.catch_up(self._rows, step - 1)
            self._group.changed[self._rows] = True
            for name, value in zip(self._taken, taken, strict=True):
                self._binding.bind_ortvalue_input(name, value)

    def _parts(self, values: OrtValues) -> Sequence[Array]:
        """The ids that the batch reads, as they came."""
        given = [values[name] for name in self._reads or ()]
        if given != self._held:  # the same values lie in the same memory
            self._held, self._views = given, [value.numpy() for value in given]
        return self._views

    def _are_many(self, parts: Sequence[Array]) -> bool:
        """Whether all rows are updated; -1, of which there may be any number, is no id."""
        size = 0
        for part in parts:
            size += part.size
        return size >= self._fewest and sum(int(np.count_nonzero(p >= 0)) for p in parts) >= self._fewest

    def _find(self, parts: Sequence[Array]) -> None:
        """The distinct rows that the batch reads, and where among them each id's is."""
        if self._reads is None:
            if len(self._rows) != self._distinct.rows:
                self._rows = np.arange(self._distinct.rows)
            return
        self._rows, self._positions = self._distinct.find(parts)
        for array in self._far:
            ask_for(array, self._rows)
        sizes = [part.size for part in parts]
        if sizes != self._sizes:  # positions of as many ids lie in the same memory
            self._sizes, self._placed = sizes, False
            ends = np.cumsum(sizes).tolist()
            self._at = {n: slice(e - s, e) for n, s, e in zip(self._reads, sizes, ends, strict=True)}

    def _places(self, values: OrtValues) -> dict[str, Any]:
        """Of each part of the gradients, which of the sums its rows are added to."""
        if self._reads is None:
            self._all = [values[name].numpy().reshape(-1).astype(np.int64) for name in self._ids]
            for part in self._all:
                if part.min(initial=0) < 0:
                    part[part < 0] = self._distinct.rows
        else:
            self._all = [self._positions[self._at[name]] for name in self._ids]
        return {f"at.{index}": ort_value(part.reshape(-1, 1)) for index, part in enumerate(self._all)}

    def apply(self, values: OrtValues, step: int, batch: int) -> None:
        if batch == self._batch:
            return
        self._batch = batch
        if self._many:
            self._whole = self._whole or self._make_whole()
            self._whole.apply(values, step, batch)
            return
        if self.reader is None:
            self._find(self._parts(values))
        rows = self._rows
        if not len(rows):
            self._sizes = []  # where positions lie may have changed, and nobody was told
            return
        self._count.fill(len(rows) + 1)  # the last takes what belongs to no row
        self._step.fill(step)
        bind = self._binding.bind_ortvalue_input
        bind("rows", ort_value(rows))
        if self._clip_norm is None:
            self._bind_sums(values)
        else:
            clipped = self._clipped(values, self._clip_norm)
            bind("gradient", ort_value(clipped))
        self._updater.run_with_iobinding(self._binding, None)
        if self.reader is None:  # where there is one, `catch_up` has marked them
            self._group.changed[rows] = True
        if self._group.last is not None:
            self._group.last[rows] = step

    def _bind_sums(self, values: OrtValues) -> None:
        """Hands over what is to be added up, as far as it is not where it was in the last batch."""
        bind = self._binding.bind_ortvalue_input
        if not self._placed or self._reads is None:
            self._placed = True
            for name, value in self._places(values).items():
                bind(name, value)
        for name, gradient in self._gradients.items():
            value = values[gradient]
            if self._given.get(name) is not value:
                self._given[name] = value
                bind(name, value)

    def _clipped(self, values: OrtValues, limit: float) -> Array:
        """The gradient of each distinct row of all tables side by side, no longer than is allowed."""
        rows, given = self._rows, {name: values[gradient] for name, gradient in self._gradients.items()}
        given |= {"count": ort_value(self._count), **self._places(values)}
        sums: Array = self._adder.run_with_ort_values(given, ["sums"], None)[0].numpy()[: len(rows)]
        for columns, ends in self._ends:
            clip_tables(sums[:, columns], rows, ends, limit)
        return sums


def _whole(group: TableGroup) -> TableGroup:
    """The same tables, in the same memory, as if every batch read all rows."""
    whole = copy(group)
    whole.updates = [replace(update, reads=None) for update in group.updates]
    return whole
