"""Runs a place's graphs on a device: weights, slots and what a batch computes stay there.

What comes to this machine is what somebody reads: a message that leaves, a loss, a prediction. A place of
the same process takes a message where it lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.cores import cores
from vflc_runtime.engines.cuda import cuda
from vflc_runtime.engines.device import Device, DeviceArray
from vflc_runtime.engines.device_buffers import DeviceBuffers
from vflc_runtime.engines.device_feeds import INDICES, DeviceColumns, Feeds, FiniteChecks
from vflc_runtime.engines.device_graphs import DeviceGraph
from vflc_runtime.engines.device_merge import merged, runs
from vflc_runtime.engines.device_updates import STEP, make_updates, part_name
from vflc_runtime.engines.outside import OutsideRuns
from vflc_runtime.engines.randoms import uniform
from vflc_runtime.engines.ungathered import Rows

_DTYPES = {"int": "int32"}


def cuda_engine(plan: Plan, programs: tuple[str, ...], seed: int, threads: int | None = None) -> DeviceEngine:
    """One place on the GPU of this process; VFL0785 to VFL0787 where that cannot be."""
    return DeviceEngine(plan, programs, seed, threads, cuda())


class DeviceEngine:
    """One place on onnxruntime, on a device; see `Engine` for what the methods mean.

    Args:
        programs: those that will be run; only their graphs are loaded.
        threads: of what runs on the processor, models of other tools.
        device: where all else runs.
    """

    def __init__(
        self, plan: Plan, programs: tuple[str, ...], seed: int, threads: int | None, device: Device
    ) -> None:
        self.plan, self._seed, self._device = plan, seed, device
        threads = threads or cores()
        self._buffers = DeviceBuffers(plan, device, seed, threads)
        self._values: dict[str, DeviceArray] = dict(self._buffers.arrays)
        steps = {name: plan.programs.get(name, ()) for name in programs}
        graphs = dict.fromkeys(step.target for run in steps.values() for step in run if step.do == "run")
        outside = OutsideRuns(plan, threads)
        self._outside = {name: run for name in graphs if (run := outside.of(name)) is not None}
        self._graphs: dict[tuple[str, str], DeviceGraph | None] = {}
        homes, double = self._buffers.gradients(), plan.precision == "float64"
        for program, chain in steps.items():
            for names in runs(chain, graphs.keys() - self._outside):
                model, what = merged(plan, names), f"graph {' and '.join(map(repr, names))} of {plan.place!r}"
                wanted = {n: home for n, home in homes.items() if n in {o.name for o in model.graph.output}}
                made = DeviceGraph(device, model, what, wanted, double=double)
                self._graphs.update({(program, name): None for name in names} | {(program, names[0]): made})
        self._updates = make_updates(plan, device, self._buffers) if "train" in programs else {}
        for flat in self._buffers.flats:
            self._values.update({part_name(flat.optimizer.id, k): part for k, part in flat.parts.items()})
        self._kept = frozenset(self._values)
        self._randoms = {name: self._read(run) for name, run in steps.items()}
        self._dtypes = {i.id: np.dtype(_DTYPES.get(i.dtype, plan.precision)) for i in plan.inputs.values()}
        self._columns = DeviceColumns(device)
        self._rows_of: Rows | None = None
        self._feeds, self._checks = Feeds(device), FiniteChecks(device, double)
        self._homes: dict[str, DeviceArray] = {}
        self._here: dict[str, Array] = {}
        self._program, self._updated, self._mark = "", set[str](), device.mark()
        self._step = self._done = self._rows = 0
        self._weights_of, self._slots_of = -1, -1

    def _read(self, run: Sequence[Any]) -> list[str]:
        """The random values that a program reads."""
        graphs = (self.plan.graphs[step.target] for step in run if step.do == "run")
        read = dict.fromkeys(value for graph in graphs for value in graph.inputs)
        return [value for value in read if value in self.plan.randoms]

    gathers = True
    """Whether it takes `Rows`, which it gathers where they lie."""

    def begin(self, program: str, inputs: Mapping[str, Array], rows: int, step: int) -> None:
        plan = self.plan
        self._program, self._step, self._rows, self._updated = program, step, rows, set()
        rows_of = inputs if isinstance(inputs, Rows) and self._columns.take(inputs, self._dtypes) else None
        given: dict[str, tuple[Array, np.dtype[Any]]] = {}
        if rows_of is None:
            given = {name: (array, self._dtypes[name]) for name, array in inputs.items()}
        else:
            given[INDICES] = rows_of.indices, np.dtype(np.int64)
        for name in self._randoms[program]:
            shape = tuple(rows if size is None else size for size in plan.randoms[name].shape)
            given[name] = uniform(self._seed, name, step, shape, plan.precision), np.dtype(plan.precision)
        if program == "train":
            given[STEP] = np.asarray(step), np.dtype(plan.precision)
        self._values.update(self._feeds.load(given))
        self._here = {name: np.asarray(array, dtype) for name, (array, dtype) in given.items()}
        self._rows_of = rows_of
        if rows_of is not None:
            self._columns.gather(rows_of, self._values)

    def run(self, graph: str) -> None:
        found = self._outside.get(graph)
        if found is not None:
            self.put(found.output, found([self.get(name) for name in found.inputs], self._rows))
        elif (merged := self._graphs[self._program, graph]) is not None:
            merged.run(self._values)
            self._mark = self._device.mark(self._mark)

    def catch_up(self, update: str) -> None:
        """Every row moves in every step: none is late."""

    def update(self, update: str) -> None:
        """The first update by an optimizer makes all of its: none comes before all gradients are there."""
        self._done = self._step
        optimizer = self.plan.updates[update].optimizer
        if optimizer not in self._updated:
            self._updated.add(optimizer)
            self._updates[optimizer].run(self._values)
        self._weights_of = self._slots_of = -1

    def assign(self, array: str) -> None:
        self._device.copy(self._buffers.arrays[array], self._values[self.plan.assigns[array]])
        self._weights_of = -1

    def put(self, value: str, tensor: Array | DeviceArray) -> None:
        self._here.pop(value, None)
        if isinstance(tensor, DeviceArray):
            self._values[value] = tensor
            return
        tensor = np.ascontiguousarray(tensor)
        home = self._homes.get(value)
        if home is None or (home.shape, home.dtype) != (tensor.shape, tensor.dtype):
            home = self._homes[value] = self._device.empty(tensor.shape, tensor.dtype)
        self._device.write(home, tensor)
        self._mark = self._device.mark(self._mark)
        self._device.wait(self._mark)
        self._values[value] = home

    def get(self, value: str) -> Array:
        if value in self.plan.arrays:
            return self._values[value].numpy()
        if value not in self._here and self._rows_of is not None and value in self._dtypes:
            self._here[value] = np.asarray(self._rows_of[value], self._dtypes[value])
        elif value not in self._here:
            # what its graph made can be read while updates are under way
            self._here[value] = self._device.read(self._values[value], self._mark)
        return self._here[value]

    def lend(self, values: Sequence[str]) -> list[DeviceArray]:
        """Values of the batch where they lie, for an engine of this process; all are looked at."""
        lent = [self._values[value] for value in values]
        self._checks.look(lent)
        return lent

    def values(self) -> list[str]:
        return [name for name in self._values if name not in self._kept and name not in (STEP, INDICES)]

    def _fetch(self, slots: bool) -> None:
        """What is here becomes what the device has, unless it is."""
        if self._weights_of != self._done or (slots and self._slots_of != self._done):
            self._buffers.download(self._done, slots)
            self._weights_of = self._done
            self._slots_of = self._done if slots else self._slots_of

    def weights(self) -> dict[str, Array]:
        self._fetch(slots=False)
        return self._buffers.host.weights()

    def stored(self) -> dict[str, Array]:
        weights, host = self.weights(), self._buffers.host
        late = {update.array for group in host.rows if group.last is not None for update in group.updates}
        return {w.name: weights[w.name] for w in self.plan.weights.values() if w.array in late}

    def slots(self) -> dict[str, Array]:
        self._fetch(slots=True)
        return self._buffers.host.slots()

    def load(
        self, weights: Mapping[str, Array], slots: Mapping[str, Array] | None = None, step: int | None = None
    ) -> None:
        self._fetch(slots=True)
        self._done = self._done if step is None else step
        self._buffers.load(weights, slots, self._done)
        self._weights_of = self._slots_of = self._done
