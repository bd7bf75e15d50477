"""Updates of the rows that a batch touched, on onnxruntime."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from vflc_runtime.buffers import Buffers, Rows
from vflc_runtime.engines.onnx_session import load, ort_value, session
from vflc_runtime.plan import Optimizer, Plan, RowsUpdate
from vflc_runtime.updates import DistinctRows, Scratch, clip_tables

Array = NDArray[Any]
Values = dict[str, Any]


class UpdateSession:
    """The session of an optimizer's graph and the step it is told."""

    def __init__(self, plan: Plan, optimizer: Optimizer, rows: bool, threads: int = 1) -> None:
        graph = optimizer.rows_graph if rows else optimizer.graph
        self.session = load(plan, graph, threads)
        self.flat = graph == optimizer.graph
        slots = optimizer.slots if self.flat else (*optimizer.slots, *optimizer.row_slots)
        self.slots = [slot.name for slot in slots]
        self.outputs = [f"new.{name}" for name in ("weight", *self.slots)]
        self.step = np.zeros((), plan.precision)
        self.step_value = ort_value(self.step)
        self.wants_step = "step" in plan.graphs[graph].inputs
        self.clip_norm = optimizer.clip_norm


class _Table:
    """One table of a group: its rows, the sums of their gradients, and where its columns are."""

    def __init__(self, plan: Plan, update: RowsUpdate, group: Rows, table: Array) -> None:
        self.gradients = [gradient for _, gradient in update.gradients]
        self.table = table
        self.columns = group.columns[update.array]
        self.width = table.shape[1]
        self.sums = Scratch(plan.precision, self.width)
        stacked = [weight for weight in plan.weights.values() if weight.array == update.array]
        self.ends = np.sort([weight.offset + weight.shape[0] for weight in stacked])


class RowsUpdater:
    """Sums the gradients of each row touched, updates these rows, writes them back.

    Serves all tables of a group at once: called for the first of them, it is done for the others.
    """

    def __init__(self, plan: Plan, group: Rows, optimizer: UpdateSession, buffers: Buffers) -> None:
        self._tables = [_Table(plan, u, group, buffers.array(u.array)) for u in group.updates]
        self._optimizer = optimizer
        self._slots = {name: (group.wide | group.narrow)[name] for name in optimizer.slots}
        self._ids = [ids for ids, _ in group.updates[0].gradients]
        self._distinct = DistinctRows(len(self._tables[0].table))
        self._width = sum(table.width for table in self._tables)
        self._weight, self._gradient = (Scratch(plan.precision, self._width) for _ in range(2))
        self._taken = {name: Scratch(plan.precision, slot.shape[1]) for name, slot in self._slots.items()}
        self._add = row_adder(plan.precision)
        self._batch = 0

    def apply(self, values: Values, step: int, batch: int) -> None:
        if batch == self._batch:
            return
        self._batch = batch
        rows, positions = self._distinct.find([values[name].numpy() for name in self._ids])
        if not len(rows):
            return
        optimizer = self._optimizer
        feeds = {"gradient": self._sum(values, rows, positions.reshape(-1, 1)), "weight": self._weights(rows)}
        for name, slot in self._slots.items():
            feeds[name] = self._taken[name].rows(len(rows))
            slot.take(rows, axis=0, out=feeds[name], mode="clip")  # other modes copy once more
        given = {k: ort_value(v.reshape(-1) if optimizer.flat else v) for k, v in feeds.items()}
        if optimizer.wants_step:
            optimizer.step.fill(step)
            given["step"] = optimizer.step_value
        made = optimizer.session.run_with_ort_values(given, optimizer.outputs, None)
        weight = made[0].numpy().reshape(len(rows), self._width)
        for table in self._tables:
            table.table[rows] = weight[:, table.columns]
        for index, slot in enumerate(self._slots.values(), start=1):
            slot[rows] = made[index].numpy().reshape(len(rows), slot.shape[1])

    def _weights(self, rows: NDArray[np.int64]) -> Array:
        """The rows of all tables side by side."""
        if len(self._tables) == 1:
            taken = self._weight.rows(len(rows))
            self._tables[0].table.take(rows, axis=0, out=taken, mode="clip")
            return taken
        return np.concatenate(
            [table.table.take(rows, axis=0) for table in self._tables],
            axis=1,
            out=self._weight.rows(len(rows)),
        )

    def _sum(self, values: Values, rows: NDArray[np.int64], positions: NDArray[np.int64]) -> Array:
        """The gradient of each distinct row [count, k], clipped by table where that is asked."""
        sums = [self._sum_of(table, values, len(rows), positions) for table in self._tables]
        if self._optimizer.clip_norm is not None:
            for table, summed in zip(self._tables, sums, strict=True):
                clip_tables(summed, rows, table.ends, self._optimizer.clip_norm)
        if len(sums) == 1:
            return sums[0]
        return np.concatenate(sums, axis=1, out=self._gradient.rows(len(rows)))

    def _sum_of(self, table: _Table, values: Values, count: int, positions: NDArray[np.int64]) -> Array:
        """Duplicates are added in order of occurrence."""
        sums = table.sums.rows(count + 1)  # the last row takes what belongs to no row
        sums.fill(0)
        target = ort_value(sums)
        binding = native.SessionIOBinding(self._add)
        binding.bind_ortvalue_input("sums", target)
        binding.bind_ortvalue_output("new.sums", target)
        start = 0
        for name in table.gradients:
            gradient = values[name].numpy().reshape(-1, table.width)
            part = positions[start : start + len(gradient)]
            start += len(gradient)
            binding.bind_ortvalue_input("rows", ort_value(part))
            binding.bind_ortvalue_input("gradient", ort_value(gradient))
            self._add.run_with_iobinding(binding, None)
        return sums[:count]


@cache
def row_adder(precision: str) -> Any:
    """Adds rows of `gradient` to the rows of `sums` that `rows` [n, 1] names, in order.

    `np.add.at` and `np.add.reduceat` take over ten times as long. The session must have one
    thread: with two, onnxruntime 1.31 adds to one row from both at once and loses summands.
    """
    from onnx import TensorProto, helper

    element = TensorProto.FLOAT if precision == "float32" else TensorProto.DOUBLE
    info = helper.make_tensor_value_info
    node = helper.make_node("ScatterND", ["sums", "rows", "gradient"], ["new.sums"], reduction="add")
    graph = helper.make_graph(
        [node],
        "add_rows",
        [
            info("sums", element, ["u", "k"]),
            info("rows", TensorProto.INT64, ["n", 1]),
            info("gradient", element, ["n", "k"]),
        ],
        [info("new.sums", element, ["u", "k"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return session(model.SerializeToString(), threads=1)
