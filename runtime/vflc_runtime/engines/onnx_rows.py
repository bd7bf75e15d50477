"""Updates of the rows that a batch touched, on onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from vflc_runtime.buffers import Buffers, Rows
from vflc_runtime.engines.onnx_rows_graphs import row_adder, row_updater
from vflc_runtime.engines.onnx_session import ort_value
from vflc_runtime.plan import Plan
from vflc_runtime.updates import DistinctRows, Ids, clip_tables

Array = NDArray[Any]
Values = dict[str, Any]


class RowsUpdater:
    """Sums the gradients of each row touched, and updates these rows where they lie.

    Serves all tables of a group at once: called for the first of them, it is done for the others.
    """

    def __init__(self, plan: Plan, group: Rows, buffers: Buffers) -> None:
        first, optimizer = group.updates[0], plan.optimizers[group.updates[0].optimizer]
        tables = [buffers.array(update.array) for update in group.updates]
        self._distinct = DistinctRows(len(tables[0]))
        self._ids = [ids for ids, _ in first.gradients]
        self._gradients = {
            f"gradient.{table}.{part}": name
            for table, update in enumerate(group.updates)
            for part, (_, name) in enumerate(update.gradients)
        }
        widths = [table.shape[1] for table in tables]
        self._clip_norm = optimizer.clip_norm
        parts = len(self._ids)
        if self._clip_norm is None:
            self._updater = row_updater(plan, optimizer, widths, group.slot_widths, parts)
        else:
            self._adder = row_adder(plan.precision, tuple(widths), parts)
            self._updater = row_updater(plan, optimizer, widths, group.slot_widths)
        self._binding = native.SessionIOBinding(self._updater)
        self._step = np.zeros((), plan.precision)
        self._binding.bind_ortvalue_input("step", ort_value(self._step))
        stored = {f"table.{index}": table for index, table in enumerate(tables)}
        if group.slot_widths:
            stored["kept"] = group.kept
        for name, array in stored.items():
            self._binding.bind_ortvalue_input(name, ort_value(array))
            self._binding.bind_ortvalue_output(f"new.{name}", ort_value(array))
        self._count = np.zeros(1, np.int64)
        if self._clip_norm is None:
            self._binding.bind_ortvalue_input("count", ort_value(self._count))
        self._sizes: list[int] = []
        self._given: dict[str, Any] = {}
        weights = plan.weights.values()
        self._ends = [
            (columns, np.sort([w.offset + w.shape[0] for w in weights if w.array == array]))
            for array, columns in group.columns.items()
        ]
        self._batch = 0

    def apply(self, values: Values, step: int, batch: int) -> None:
        if batch == self._batch:
            return
        self._batch = batch
        parts = [values[name].numpy() for name in self._ids]
        rows, positions = self._distinct.find(parts)
        if not len(rows):
            self._sizes = []  # where positions lie may have changed, and nobody was told
            return
        self._count.fill(len(rows) + 1)  # the last takes what belongs to no row
        self._step.fill(step)
        bind = self._binding.bind_ortvalue_input
        bind("rows", ort_value(rows))
        if self._clip_norm is None:
            self._bind_sums(values, parts, positions)
        else:
            clipped = self._clipped(values, rows, self._places(parts, positions), self._clip_norm)
            bind("gradient", ort_value(clipped))
        self._updater.run_with_iobinding(self._binding, None)

    def _bind_sums(self, values: Values, parts: list[Array], positions: Ids) -> None:
        """Hands over what is to be added up, as far as it is not where it was in the last batch."""
        bind, sizes = self._binding.bind_ortvalue_input, [part.size for part in parts]
        if sizes != self._sizes:  # positions of as many ids lie in the same memory
            self._sizes = sizes
            for name, value in self._places(parts, positions).items():
                bind(name, value)
        for name, gradient in self._gradients.items():
            value = values[gradient]
            if self._given.get(name) is not value:
                self._given[name] = value
                bind(name, value)

    def _places(self, parts: list[Array], positions: Ids) -> dict[str, Any]:
        """Of each part of the ids, which of the sums they are added to."""
        found, start = {}, 0
        for index, part in enumerate(parts):
            found[f"at.{index}"] = ort_value(positions[start : start + part.size].reshape(-1, 1))
            start += part.size
        return found

    def _clipped(self, values: Values, rows: Ids, places: dict[str, Any], limit: float) -> Array:
        """The gradient of each distinct row of all tables side by side, no longer than is allowed."""
        given = {name: values[gradient] for name, gradient in self._gradients.items()}
        given |= {"count": ort_value(self._count), **places}
        sums: Array = self._adder.run_with_ort_values(given, ["sums"], None)[0].numpy()[: len(rows)]
        for columns, ends in self._ends:
            clip_tables(sums[:, columns], rows, ends, limit)
        return sums
