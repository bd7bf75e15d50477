"""A place's weights and slots on a device: of each optimizer all in one flat buffer, and so each slot.

Tables are among them. A device goes through all of a table at memory's full rate and waits for nobody, so
every row moves in every step, as an optimizer's rule says; no row has to catch up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import DenseUpdate, Optimizer, Plan, RowsUpdate
from vflc_runtime.engines.buffers import LAST, Buffers
from vflc_runtime.engines.device import Device, DeviceArray
from vflc_runtime.engines.onnx_updates import make_updaters, reader_of

ALIGNED = 32
"""Numbers: where an array begins is a multiple of that, as fast products want it."""
SPARE_ROWS = 256
"""Rows after a table, for ids that stand for none: one alone would take all their sums one after another."""


@dataclass(slots=True)
class Section:
    """Where an array lies in the flat buffers: `size` numbers from `start` on, with what fills them up.

    Args:
        rows: of a table, with those that no id names; 0 where it is none.
    """

    start: int
    size: int
    rows: int = 0


@dataclass(slots=True)
class Flat:
    """All that one optimizer updates at once; `parts` by kind: weight, gradient, and every slot, [size].

    The gradients of dense updates come first; those of tables are summed up where the update is made.
    """

    optimizer: Optimizer
    dense: list[DenseUpdate] = field(default_factory=list)
    tables: list[RowsUpdate] = field(default_factory=list)
    sections: dict[str, Section] = field(default_factory=dict)
    parts: dict[str, DeviceArray] = field(default_factory=dict)
    size: int = 0
    dense_size: int = 0


class DeviceBuffers:
    """The same on a device as `host` on this machine, which is where they are read and written by name."""

    def __init__(self, plan: Plan, device: Device, seed: int, threads: int) -> None:
        self.plan, self.device, self._threads = plan, device, threads
        self.host = Buffers(plan, seed)
        self.flats = self._laid_out()
        self.arrays: dict[str, DeviceArray] = {}
        for flat in self.flats:
            kinds = ("weight", *(slot.name for slot in flat.optimizer.slots))
            sizes = dict.fromkeys(kinds, flat.size) | {"gradient": flat.dense_size}
            for kind, size in sizes.items():
                flat.parts[kind] = device.empty((size,), plan.precision)
                device.write(flat.parts[kind], np.zeros(size, plan.precision))
                device.wait()
            for name, section in flat.sections.items():
                self.arrays[name] = flat.parts["weight"].part(section.start, plan.arrays[name].shape)
        for name, array in plan.arrays.items():
            if name not in self.arrays:
                self.arrays[name] = device.empty(array.shape, plan.precision)
        self.upload()

    def _laid_out(self) -> list[Flat]:
        found: dict[str, Flat] = {}
        for update in self.plan.updates.values():
            flat = found.setdefault(update.optimizer, Flat(self.plan.optimizers[update.optimizer]))
            if isinstance(update, DenseUpdate):
                flat.dense.append(update)
            else:
                flat.tables.append(update)
        for flat in found.values():
            for name in (name for update in flat.dense for name in update.arrays):
                size = _filled(self.plan.arrays[name].size)
                flat.sections[name] = Section(flat.size, size)
                flat.size += size
            flat.dense_size = flat.size
            for update in flat.tables:
                rows, width = self.plan.arrays[update.array].shape
                rows += SPARE_ROWS
                while rows * width % ALIGNED:
                    rows += 1
                flat.sections[update.array] = Section(flat.size, rows * width, rows)
                flat.size += rows * width
        return list(found.values())

    def gradients(self) -> Mapping[str, Sequence[DeviceArray]]:
        """Where the gradient of each dense update goes, array by array, by the value's id."""
        return {
            update.gradient: [
                flat.parts["gradient"].part(flat.sections[name].start, (self.plan.arrays[name].size,))
                for name in update.arrays
            ]
            for flat in self.flats
            for update in flat.dense
        }

    def _pairs(self) -> Iterator[tuple[DeviceArray, Array]]:
        """Everything kept, on the device and here."""
        for name, array in self.arrays.items():
            yield array, self.host.array(name)
        for flat in self.flats:
            for kept in (slot.name for slot in flat.optimizer.slots):
                for name, section in flat.sections.items():
                    here = self.host.slot(name, kept)
                    yield flat.parts[kept].part(section.start, here.shape), here

    def upload(self) -> None:
        """The device takes what is here."""
        for there, here in self._pairs():
            self.device.write(there, np.ascontiguousarray(here))
            self.device.wait()

    def download(self, step: int, slots: bool) -> None:
        """What is here becomes what the device has after `step` steps; with `slots` or only weights."""
        for there, here in self._pairs() if slots else self._weights():
            here[...] = there.numpy()
        for group in self.host.rows:
            if group.last is not None:
                group.last.fill(step)

    def _weights(self) -> Iterator[tuple[DeviceArray, Array]]:
        return ((array, self.host.array(name)) for name, array in self.arrays.items())

    def load(self, weights: Mapping[str, Array], slots: Mapping[str, Array] | None, step: int) -> None:
        """Takes weights and slots [rows, …] as they were stored after `step` steps; see `Buffers.load`.

        Rows that another engine left behind catch up here first.
        """
        host = self.host
        host.load(weights, slots, step)
        late = [
            group for group in host.rows if group.last is not None and group.last.min(initial=step) < step
        ]
        if slots is not None and late:
            updaters = make_updaters(self.plan, host, self._threads)
            for group in late:
                reader = reader_of(updaters, group)
                assert reader is not None, f"rows have {LAST!r} where they catch up"
                reader.settle(step)
        self.upload()


def _filled(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED
