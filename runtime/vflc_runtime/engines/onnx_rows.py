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
from vflc_runtime.updates import DistinctRows, clip_tables

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
        self._adder = row_adder(plan.precision, tuple(widths), len(self._ids))
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
        self._clip_norm = optimizer.clip_norm
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
        rows, positions = self._distinct.find([values[name].numpy() for name in self._ids])
        if not len(rows):
            return
        gradient = self._sum(values, rows, positions)
        self._step.fill(step)
        self._binding.bind_ortvalue_input("rows", ort_value(rows))
        self._binding.bind_ortvalue_input("gradient", ort_value(gradient))
        self._updater.run_with_iobinding(self._binding, None)

    def _sum(self, values: Values, rows: NDArray[np.int64], positions: NDArray[np.int64]) -> Array:
        """The gradient of each distinct row of all tables side by side, clipped where that is asked."""
        count, start = np.array([len(rows) + 1]), 0  # the last takes what belongs to no row
        given = {"count": ort_value(count)}
        for part, ids in enumerate(self._ids):
            end = start + values[ids].numpy().size
            given[f"at.{part}"] = ort_value(positions[start:end].reshape(-1, 1))
            start = end
        for name, gradient in self._gradients.items():
            given[name] = values[gradient]
        sums: Array = self._adder.run_with_ort_values(given, ["sums"], None)[0].numpy()[: len(rows)]
        if self._clip_norm is not None:
            for columns, ends in self._ends:
                clip_tables(sums[:, columns], rows, ends, self._clip_norm)
        return sums
