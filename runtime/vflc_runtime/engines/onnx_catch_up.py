"""Rows of tables catch up with the steps that they missed, on onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from onnxruntime.capi import onnxruntime_pybind11_state as native
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.bundle.plan_rows import CatchUp, ReplaySteps
from vflc_runtime.engines.buffers import TableGroup
from vflc_runtime.engines.missed import History
from vflc_runtime.engines.onnx_replay import RowsReplayer
from vflc_runtime.engines.onnx_rows_graphs import TAKEN, row_reader
from vflc_runtime.engines.onnx_session import CPU, load_series, ort_value

BLOCK_NUMBERS = 1 << 20
"""Numbers of tables that catch up at once where all rows do; what is made on the way takes a multiple."""


def history_of(plan: Plan, optimizer: str) -> History | None:
    """An empty history for an optimizer, where it makes up for steps."""
    more = plan.optimizers[optimizer].catch_up
    if not isinstance(more, CatchUp):
        return None
    return History(more.missed, None if more.series is None else load_series(plan, more.series))


class Reader(Protocol):
    """Lets tables catch up that the same ids read; `block_rows` at once where all rows do."""

    block_rows: int

    def catch_up(self, rows: Indices, step: int) -> Sequence[Any]:
        """Rows [rows] of the tables become what they are after `step` steps.

        Returns:
            The same rows of all tables side by side, and of each slot, [rows, width] each: OrtValues, which
            may be left to be written by an update.
        """
        ...

    def current(self, step: int) -> list[Array]:
        """The tables [rows, width] as they are after `step` steps; they hold until the next update."""
        ...

    def made(self, rows: slice, step: int) -> list[Array]:
        """Some rows of the tables, [rows, width], as they are after `step` steps; these lie as they did."""
        ...

    def lend(self, rows: Indices, step: int) -> list[Array] | None:
        """Rows [rows] of the tables become what they are after `step` steps.

        Returns:
            What they were, to be put back before anything else is done; None where they may stay.
        """
        ...

    def settle(self, step: int) -> None:
        """All rows and all that is kept for them become what they are after `step` steps."""
        ...


def make_reader(
    plan: Plan, group: TableGroup, tables: Sequence[Array], history: History | None
) -> Reader | None:
    """What lets the tables [rows, width] of a group catch up, where they have to."""
    if isinstance(group.optimizer.catch_up, ReplaySteps):
        return RowsReplayer(plan, group, tables)
    return None if history is None else RowsReader(plan, group, tables, history)


class RowsReader:
    """Tables that catch up together.

    Args:
        tables: of the group, [rows, width], in order; their rows are changed in place.
        history: of the group's optimizer.
    """

    def __init__(self, plan: Plan, group: TableGroup, tables: Sequence[Array], history: History) -> None:
        self._precision, self._group, self._tables, self._history = plan.precision, group, tables, history
        widths = [table.shape[1] for table in tables]
        self._session = row_reader(plan, group.optimizer, widths, group.slot_widths)
        self._taken = [TAKEN + name for name in ("weight", *group.slot_widths)]
        self._binding = self._bound(tables, group.kept)
        self.block_rows = max(1, BLOCK_NUMBERS // group.width)

    def _bound(self, tables: Sequence[Array], kept: Array) -> Any:
        binding = native.SessionIOBinding(self._session)
        for index, table in enumerate(tables):
            value = ort_value(table)
            binding.bind_ortvalue_input(f"table.{index}", value)
            binding.bind_ortvalue_output(f"new.table.{index}", value)
        if self._group.slot_widths:
            binding.bind_ortvalue_input("kept", ort_value(kept))
        return binding

    def catch_up(self, rows: Indices, step: int) -> Sequence[Any]:
        """See `Reader`."""
        assert self._group.last is not None
        return self._run(self._binding, rows, self._group.last[rows], step)

    def _run(self, binding: Any, rows: Indices, last: Indices, step: int) -> Sequence[Any]:
        missed = self._history.numbers(last, step, self._precision)
        binding.bind_ortvalue_input("rows", ort_value(rows))
        binding.bind_ortvalue_input("missed", ort_value(missed))
        for name in self._taken:
            binding.bind_output(name, CPU)
        self._session.run_with_iobinding(binding, None)
        outputs: Sequence[Any] = binding.get_outputs()
        return [outputs[index] for index in range(len(self._tables), len(outputs))]

    def current(self, step: int) -> list[Array]:
        """See `Reader`."""
        copies = [table.copy() for table in self._tables]
        for block, _ in self._blocks(copies, step):
            del block
        return copies

    def made(self, rows: slice, step: int) -> list[Array]:
        """See `Reader`."""
        assert self._group.last is not None
        copies = [table[rows].copy() for table in self._tables]
        last = self._group.last[rows]
        self._run(self._bound(copies, self._group.kept[rows]), np.arange(len(last)), last, step)
        return copies

    def lend(self, rows: Indices, step: int) -> list[Array] | None:
        """See `Reader`."""
        before = [table[rows] for table in self._tables]
        self.catch_up(rows, step)
        return before

    def settle(self, step: int) -> None:
        """See `Reader`."""
        assert self._group.last is not None
        for block, (_, *slots) in self._blocks(self._tables, step):
            for name, slot in zip(self._group.slot_widths, slots, strict=True):
                self._group.slot(name)[block] = slot.numpy()
        self._group.last.fill(step)
        self._group.changed.fill(True)

    def _blocks(self, tables: Sequence[Array], step: int) -> Any:
        """Lets `tables` catch up, and gives each block of rows with what `_run` gives."""
        group = self._group
        assert group.last is not None
        for start in range(0, len(group.last), self.block_rows):
            block = slice(start, start + self.block_rows)
            last = group.last[block]
            binding = self._bound([table[block] for table in tables], group.kept[block])
            yield block, self._run(binding, np.arange(len(last)), last, step)
