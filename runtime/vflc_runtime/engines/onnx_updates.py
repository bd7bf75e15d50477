"""Updates on onnxruntime: the optimizer's graph over flat buffers, and over the rows touched."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from vflc_runtime.buffers import Buffers
from vflc_runtime.engines.onnx_rows import RowsUpdater, UpdateSession
from vflc_runtime.engines.onnx_session import ort_value
from vflc_runtime.plan import DenseUpdate, Plan
from vflc_runtime.updates import clip_parts

Array = NDArray[Any]
Values = dict[str, Any]


class Updater(Protocol):
    """Changes weights and slots in place."""

    def apply(self, values: Values, step: int, batch: int) -> None:
        """`values` holds the gradients; `step` counts from 1; `batch` is another for every batch."""
        ...


PARALLEL_ELEMENTS = 1 << 16
"""Elements of a flat buffer from which on its update uses several threads: below, waking them costs more."""


def make_updaters(plan: Plan, buffers: Buffers, values: Values, threads: int) -> dict[str, Updater]:
    """An updater for every update of the plan.

    `values` are the engine's; a dense update puts its arrays' new places there.
    """
    optimizers: dict[tuple[str, bool, int], UpdateSession] = {}

    def optimizer(name: str, rows: bool, threads: int) -> UpdateSession:
        key = name, rows, threads
        if key not in optimizers:
            optimizers[key] = UpdateSession(plan, plan.optimizers[name], rows, threads)
        return optimizers[key]

    updaters: dict[str, Updater] = {}
    for update in plan.updates.values():
        if isinstance(update, DenseUpdate):
            several = threads if update.size >= PARALLEL_ELEMENTS else 1
            updaters[update.id] = _DenseUpdater(update, optimizer(update.optimizer, False, several), buffers)
    for group in buffers.rows:
        updater = RowsUpdater(plan, group, optimizer(group.updates[0].optimizer, True, 1), buffers)
        updaters.update({update.id: updater for update in group.updates})
    return updaters


class _DenseUpdater:
    """Reads one side of the flat buffers and writes the other; both are bound once."""

    def __init__(self, update: DenseUpdate, optimizer: UpdateSession, buffers: Buffers) -> None:
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
