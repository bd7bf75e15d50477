"""Rows of tables catch up by going through the steps that they missed, on onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnxruntime.capi import onnxruntime_pybind11_state as native
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.engines.buffers import TableGroup
from vflc_runtime.engines.onnx_memory import read_before_written
from vflc_runtime.engines.onnx_session import load, ort_value, read_model
from vflc_runtime.engines.replay import TableSweep, replay

BLOCK_NUMBERS = 1 << 16
"""Weights that go through steps together: few enough for a cache, and they cost more than the call itself."""


def in_place(plan: Plan, optimizer: str, threads: int) -> Any:
    """The session of an optimizer's graph that may write over what it reads."""
    rule = plan.optimizers[optimizer]
    model = read_model(plan, rule.graph)
    read_before_written(model.graph, {x: f"new.{x}" for x in ("weight", *(slot.name for slot in rule.slots))})
    return load(plan, rule.graph, threads, model)


class RowsReplayer:
    """Tables of a group that catch up together, as `RowsReader` lets others do.

    A step leaves the same bits whether it is gone through now or later, so that all rows may be
    brought up to date at any time, and are wherever all of them are asked for.
    """

    def __init__(self, plan: Plan, group: TableGroup, tables: Sequence[Array]) -> None:
        self._group, self._tables = group, tables
        self._session = in_place(plan, group.optimizer.id, 1)
        self._reads_step = any(given.name == "step" for given in self._session.inputs_meta)
        self._step = np.zeros((), plan.precision)
        self._block = self.block_rows = max(1, BLOCK_NUMBERS // group.width)
        numbers = self._block * group.width
        self._parts = {name: np.empty(numbers, plan.precision) for name in ("weight", *group.slot_widths)}
        self._nothing = np.zeros(numbers, plan.precision)
        self._taken: list[Array] = []
        self._rounds = TableSweep(len(group.kept), self._block)

    def catch_up(self, rows: Indices, step: int) -> Sequence[Any]:
        """See `Reader`."""
        self._rounds.go(self._replay(rows, step), lambda part: self._replay(part, step))
        weight = np.concatenate([table[rows] for table in self._tables], axis=1)
        slots = [self._group.slot(name)[rows] for name in self._group.slot_widths]
        self._taken = [weight, *slots]  # an OrtValue does not keep its array alive
        return [ort_value(each) for each in self._taken]

    def current(self, step: int) -> list[Array]:
        """See `Reader`."""
        self.settle(step)
        return list(self._tables)

    def made(self, rows: slice, step: int) -> list[Array]:
        """See `Reader`."""
        self._replay(np.arange(len(self._group.kept))[rows], step)
        return [table[rows] for table in self._tables]

    def lend(self, rows: Indices, step: int) -> list[Array] | None:
        """See `Reader`."""
        self._replay(rows, step)
        return None

    def settle(self, step: int) -> None:
        """All rows and all that is kept for them become what they are after `step` steps."""
        self._replay(np.arange(len(self._group.kept)), step)

    def _replay(self, rows: Indices, step: int) -> int:
        """Lets rows catch up, and says how many calls that took."""
        group, width, calls = self._group, self._group.width, 0
        last = group.last
        assert last is not None
        for block in replay(rows, last[rows], step, self._block):
            rows, size = block.rows, len(block.rows) * width
            weight = self._parts["weight"][:size].reshape(-1, width)
            for table, columns in zip(self._tables, group.columns.values(), strict=True):
                weight[:, columns] = table[rows]
            for name in group.slot_widths:
                self._parts[name][:size].reshape(-1, width)[...] = group.slot(name)[rows]
            for count, first, end in block.steps:
                self._go(count * width, first, end)
            for table, columns in zip(self._tables, group.columns.values(), strict=True):
                table[rows] = weight[:, columns]
            for name in group.slot_widths:
                group.slot(name)[rows] = self._parts[name][:size].reshape(-1, width)
            last[rows] = step
            group.changed[rows] = True
            calls += block.calls
        return calls

    def _go(self, size: int, first: int, end: int) -> None:
        """Steps `first` to `end` of the first so many numbers."""
        binding = native.SessionIOBinding(self._session)
        for name, part in self._parts.items():
            value = ort_value(part[:size])
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(f"new.{name}", value)
        binding.bind_ortvalue_input("gradient", ort_value(self._nothing[:size]))
        if self._reads_step:
            binding.bind_ortvalue_input("step", ort_value(self._step))
        for step in range(first, end + 1):
            self._step.fill(step)
            self._session.run_with_iobinding(binding, None)
