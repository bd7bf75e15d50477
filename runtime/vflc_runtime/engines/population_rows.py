"""Optimizer graphs over arrays, and sums of rows by id."""

from __future__ import annotations

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.population_plan import PopulationOptimizer
from vflc_runtime.engines.onnx_rows_graphs import row_adder
from vflc_runtime.engines.onnx_session import ort_value
from vflc_runtime.engines.population_runners import Runners


class RowsOptimizer:
    """An optimizer's graph, over arrays and over rows of them."""

    def __init__(self, optimizer: PopulationOptimizer, precision: str, runners: Runners) -> None:
        self.optimizer, self.precision = optimizer, precision
        self._flat = runners(optimizer.graph)
        self.slots = [slot.name for slot in optimizer.slots]

    def new_slots(self, shape: tuple[int, ...]) -> dict[str, Array]:
        """What is kept for a weight of this shape before the first step, [*shape] each."""
        return {s.name: np.full(shape, s.init, self.precision) for s in self.optimizer.slots}

    def dense(self, weight: Array, gradient: Array, slots: dict[str, Array], step: int) -> None:
        """Changes a contiguous weight and its slots in place, all in the shape of the gradient, [rows, …]."""
        values = {"weight": weight.reshape(-1), "gradient": np.ascontiguousarray(gradient).reshape(-1)}
        values |= {name: slots[name].reshape(-1) for name in self.slots}
        values["step"] = np.asarray(step, self.precision)
        made = self._flat(values)
        weight[...] = made["new.weight"].reshape(weight.shape)
        for name in self.slots:
            slots[name][...] = made[f"new.{name}"].reshape(weight.shape)

    def rows(self, weight: Array, ids: Array, gradient: Array, slots: dict[str, Array], step: int) -> None:
        """Changes the rows `ids`, all different, of a table [rows, k] and of its slots in place.

        The optimizer must be `sparse`: the other rows are as if they had been updated, too.
        """
        parts = {"weight": weight, **{name: slots[name] for name in self.slots}}
        taken = {name: part.take(ids, axis=0) for name, part in parts.items()}
        self.dense(taken["weight"], gradient, taken, step)
        for name, part in parts.items():
            part[ids] = taken[name]


def sum_rows(positions: Array, rows: Array, count: int) -> Array:
    """The sum [count, k] of the rows [n, k] at each position, added in order."""
    rows, width = np.ascontiguousarray(rows), rows.shape[1]
    if not len(positions):
        return np.zeros((count, width), rows.dtype)
    size, at = np.array([count]), np.ascontiguousarray(positions, np.int64).reshape(-1, 1)  # kept alive
    values = {"count": ort_value(size), "at.0": ort_value(at), "gradient.0.0": ort_value(rows)}
    adder = row_adder(str(rows.dtype), (width,), 1)
    made: Array = adder.run_with_ort_values(values, ["sums"], None)[0].numpy()
    return made
