"""Updates on onnxruntime: the optimizer's graph over flat buffers, and over the rows touched."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from vflc_runtime.buffers import Buffers
from vflc_runtime.engines.onnx_session import load, ort_value, session
from vflc_runtime.plan import DenseUpdate, Optimizer, Plan, RowsUpdate
from vflc_runtime.updates import DistinctRows, Scratch, clip_parts, clip_tables

Array = NDArray[Any]
Values = dict[str, Any]


class Updater(Protocol):
    """Changes weights and slots in place."""

    def apply(self, values: Values, step: int, batch: int) -> None:
        """`values` holds the gradients; `step` counts from 1; `batch` is another for every batch."""
        ...


class _Optimizer:
    """The session of an optimizer's graph and the step it is told."""

    def __init__(self, plan: Plan, optimizer: Optimizer, rows: bool) -> None:
        graph = optimizer.rows_graph if rows else optimizer.graph
        # One thread: the graph is bound by memory, and a second one costs more than it brings.
        self.session = load(plan, graph, threads=1)
        self.flat = graph == optimizer.graph
        slots = optimizer.slots if self.flat else (*optimizer.slots, *optimizer.row_slots)
        self.slots = [slot.name for slot in slots]
        self.outputs = [f"new.{name}" for name in ("weight", *self.slots)]
        self.step = np.zeros((), plan.precision)
        self.step_value = ort_value(self.step)
        self.wants_step = "step" in plan.graphs[graph].inputs
        self.clip_norm = optimizer.clip_norm


def make_updaters(plan: Plan, buffers: Buffers, values: Values) -> dict[str, Updater]:
    """An updater for every update of the plan.

    `values` are the engine's; a dense update puts its arrays' new places there.
    """
    optimizers: dict[tuple[str, bool], _Optimizer] = {}
    distinct: dict[tuple[str, ...], _Ids] = {}
    updaters: dict[str, Updater] = {}
    for update in plan.updates.values():
        key = update.optimizer, isinstance(update, RowsUpdate)
        if key not in optimizers:
            optimizers[key] = _Optimizer(plan, plan.optimizers[update.optimizer], key[1])
        optimizer = optimizers[key]
        if isinstance(update, DenseUpdate):
            updaters[update.id] = _DenseUpdater(update, optimizer, buffers)
        else:
            names = tuple(ids for ids, _ in update.gradients)
            rows = plan.arrays[update.array].shape[0]
            ids = distinct.setdefault((*names, str(rows)), _Ids(names, rows))
            updaters[update.id] = _RowsUpdater(plan, update, optimizer, buffers, ids)
    return updaters


class _DenseUpdater:
    """Reads one side of the flat buffers and writes the other; both are bound once."""

    def __init__(self, update: DenseUpdate, optimizer: _Optimizer, buffers: Buffers) -> None:
        self._gradient, self._optimizer = update.gradient, optimizer
        self._buffer = buffers.dense[update.id]
        self._sides = [self._bind(side) for side in range(2)]
        self._views = [
            {name: ort_value(buffers.view(self._buffer, "weight", side, name)) for name in update.arrays}
            for side in range(2)
        ]

    def _bind(self, side: int) -> Any:
        binding = native.SessionIOBinding(self._optimizer.session)
        for kind, pair in self._buffer.flat.items():
            binding.bind_ortvalue_input(kind, ort_value(pair[side]))
            binding.bind_ortvalue_output(f"new.{kind}", ort_value(pair[1 - side]))
        if self._optimizer.wants_step:
            binding.bind_ortvalue_input("step", self._optimizer.step_value)
        return binding

    def apply(self, values: Values, step: int, batch: int) -> None:
        optimizer, buffer = self._optimizer, self._buffer
        gradient = values[self._gradient]
        if optimizer.clip_norm is not None:
            flat = clip_parts(gradient.numpy(), buffer.ranges.values(), optimizer.clip_norm)
            gradient = ort_value(flat)
        optimizer.step.fill(step)
        binding = self._sides[buffer.side]
        binding.bind_ortvalue_input("gradient", gradient)
        optimizer.session.run_with_iobinding(binding, None)
        buffer.side = 1 - buffer.side
        values.update(self._views[buffer.side])


class _Ids:
    """The distinct rows of a step, found once for all tables that share the ids."""

    def __init__(self, names: tuple[str, ...], rows: int) -> None:
        self._names = names
        self._distinct = DistinctRows(rows)
        self._batch = 0

    def find(self, values: Values, batch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Distinct rows, and each id's position among them [n, 1]."""
        if batch != self._batch:
            rows, positions = self._distinct.find([values[name].numpy() for name in self._names])
            self._found = rows, positions.reshape(-1, 1)
            self._batch = batch
        return self._found


class _RowsUpdater:
    """Sums the gradients of each row touched, updates these rows, writes them back."""

    def __init__(
        self, plan: Plan, update: RowsUpdate, optimizer: _Optimizer, buffers: Buffers, ids: _Ids
    ) -> None:
        self._gradients = [gradient for _, gradient in update.gradients]
        self._optimizer, self._ids = optimizer, ids
        self._table = buffers.array(update.array)
        slots = buffers.rows[update.id].slots
        self._parts = {"weight": self._table, **{name: slots[name] for name in optimizer.slots}}
        self._width = self._table.shape[1]
        self._sums = Scratch(plan.precision, self._width)
        self._taken = {name: Scratch(plan.precision, part.shape[1]) for name, part in self._parts.items()}
        self._add = _row_adder(plan.precision)
        stacked = [w for w in plan.weights.values() if w.array == update.array]
        self._ends = np.sort([w.offset + w.shape[0] for w in stacked])

    def apply(self, values: Values, step: int, batch: int) -> None:
        rows, positions = self._ids.find(values, batch)
        count = len(rows)
        if not count:
            return
        sums = self._sum(values, positions, count)
        optimizer = self._optimizer
        if optimizer.clip_norm is not None:
            clip_tables(sums, rows, self._ends, optimizer.clip_norm)
        feeds = {}
        for name, part in self._parts.items():
            taken = self._taken[name].rows(count)
            part.take(rows, axis=0, out=taken, mode="clip")  # other modes copy once more
            feeds[name] = ort_value(taken.reshape(-1) if optimizer.flat else taken)
        feeds["gradient"] = ort_value(sums.reshape(-1) if optimizer.flat else sums)
        if optimizer.wants_step:
            optimizer.step.fill(step)
            feeds["step"] = optimizer.step_value
        made = optimizer.session.run_with_ort_values(feeds, optimizer.outputs, None)
        for index, part in enumerate(self._parts.values()):
            part[rows] = made[index].numpy().reshape(count, part.shape[1])

    def _sum(self, values: Values, positions: NDArray[np.int64], count: int) -> Array:
        """The gradient of each distinct row [count, k]: duplicates added in order of occurrence."""
        sums = self._sums.rows(count + 1)  # the last row takes what belongs to no row
        sums.fill(0)
        target = ort_value(sums)
        binding = native.SessionIOBinding(self._add)
        binding.bind_ortvalue_input("sums", target)
        binding.bind_ortvalue_output("new.sums", target)
        start = 0
        for name in self._gradients:
            gradient = values[name].numpy().reshape(-1, self._width)
            part = positions[start : start + len(gradient)]
            start += len(gradient)
            binding.bind_ortvalue_input("rows", ort_value(part))
            binding.bind_ortvalue_input("gradient", ort_value(gradient))
            self._add.run_with_iobinding(binding, None)
        return sums[:count]


@cache
def _row_adder(precision: str) -> Any:
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
