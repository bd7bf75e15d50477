"""Updates on onnxruntime: the optimizer's graph over flat buffers, and over the rows touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from onnxruntime.capi import onnxruntime_pybind11_state as native

from vflc_runtime.bundle.plan import DenseUpdate, Plan
from vflc_runtime.engines.buffers import Buffers, TableGroup
from vflc_runtime.engines.onnx_catch_up import Reader, history_of
from vflc_runtime.engines.onnx_replay import in_place
from vflc_runtime.engines.onnx_rows import RowsUpdater
from vflc_runtime.engines.onnx_session import OrtValues, ort_value
from vflc_runtime.engines.updates import clip_parts


class Updater(Protocol):
    """Changes weights and slots in place."""

    def catch_up(self, values: OrtValues, step: int, batch: int) -> None:
        """Makes up for the steps that rows missed which are about to be read."""
        ...

    def apply(self, values: OrtValues, step: int, batch: int) -> None:
        """`values` holds the gradients; `step` counts from 1; `batch` is another for every batch."""
        ...


PARALLEL_ELEMENTS = 1 << 16
"""Elements of a flat buffer from which on its update uses several threads: below, waking them costs more."""


def make_updaters(plan: Plan, buffers: Buffers, threads: int) -> dict[str, Updater]:
    """An updater for every update of the plan."""
    sessions: dict[tuple[str, int], Any] = {}
    updaters: dict[str, Updater] = {}
    for update in plan.updates.values():
        if isinstance(update, DenseUpdate):
            key = update.optimizer, threads if update.size >= PARALLEL_ELEMENTS else 1
            if key not in sessions:
                sessions[key] = in_place(plan, *key)
            updaters[update.id] = _DenseUpdater(plan, update, sessions[key], buffers)
    histories = {name: history_of(plan, name) for name in plan.optimizers}
    for group in buffers.rows:
        updater = RowsUpdater(plan, group, buffers, histories[group.optimizer.id], threads)
        updaters.update({update.id: updater for update in group.updates})
    return updaters


def reader_of(updaters: Mapping[str, Updater], group: TableGroup) -> Reader | None:
    """What lets the tables of a group catch up, where they have to."""
    updater = updaters.get(group.updates[0].id)
    return updater.reader if isinstance(updater, RowsUpdater) else None


class _DenseUpdater:
    """Runs the optimizer's graph on flat buffers, in place: all is bound once."""

    def __init__(self, plan: Plan, update: DenseUpdate, session: Any, buffers: Buffers) -> None:
        self._session, self._buffer = session, buffers.dense[update.id]
        self._gradient, self._home = update.gradient, ort_value(self._buffer.flat["gradient"])
        self._clip_norm = plan.optimizers[update.optimizer].clip_norm
        self._step = np.zeros((), plan.precision)
        self._binding = native.SessionIOBinding(session)
        for kind, flat in self._buffer.flat.items():
            self._binding.bind_ortvalue_input(kind, ort_value(flat))
            if kind != "gradient":
                self._binding.bind_ortvalue_output(f"new.{kind}", ort_value(flat))
        if any(given.name == "step" for given in session.inputs_meta):
            self._binding.bind_ortvalue_input("step", ort_value(self._step))

    def catch_up(self, values: OrtValues, step: int, batch: int) -> None:
        """Dense weights miss no step."""

    def apply(self, values: OrtValues, step: int, batch: int) -> None:
        buffer, gradient = self._buffer, values[self._gradient]
        if gradient.data_ptr() != self._home.data_ptr():
            np.copyto(buffer.flat["gradient"], gradient.numpy())
        if self._clip_norm is not None:
            clip_parts(buffer.flat["gradient"], buffer.ranges.values(), self._clip_norm)
        self._step.fill(step)
        self._session.run_with_iobinding(self._binding, None)
