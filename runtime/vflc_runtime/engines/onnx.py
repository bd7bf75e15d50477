"""Runs subgraphs with onnxruntime, from value to value without a copy.

Speed here is the absence of work: weights are numpy buffers that sessions read where they lie,
outputs of a graph are handed to the next as they are, and what never changes is bound once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.cores import cores
from vflc_runtime.engines.buffers import Buffers
from vflc_runtime.engines.lent_rows import lent_rows
from vflc_runtime.engines.onnx_session import GraphSession, onnx_errors, ort_value, short
from vflc_runtime.engines.onnx_updates import Updater, make_updaters, reader_of
from vflc_runtime.engines.outside import OutsideRuns
from vflc_runtime.engines.randoms import uniform
from vflc_runtime.engines.table_rows import TableRows
from vflc_runtime.tensors import AnyTensor, AnyTensors

_DTYPES = {"int": "int32"}
NONE: Mapping[str, Array] = {}


class OnnxEngine:
    """One place on onnxruntime; see `Engine` for what the methods mean.

    Args:
        programs: those that will be run; only their graphs are loaded.
        threads: threads an operator may use; by default one a core.
    """

    def __init__(self, plan: Plan, programs: tuple[str, ...], seed: int, threads: int | None = None) -> None:
        self.plan, self._seed = plan, seed
        self.threads = threads or cores()
        self._buffers = Buffers(plan, seed)
        steps = {name: plan.programs.get(name, ()) for name in programs}
        graphs = dict.fromkeys(step.target for run in steps.values() for step in run if step.do == "run")
        homes = self._buffers.gradients()
        outside = OutsideRuns(plan, self.threads)
        self._outside = {name: run for name in graphs if (run := outside.of(name)) is not None}
        own = [name for name in graphs if name not in self._outside]
        self._graphs = {name: GraphSession(plan, name, self.threads, homes) for name in own}
        self._randoms = {
            name: tuple(
                plan.randoms[value]
                for value in dict.fromkeys(
                    value for step in run if step.do == "run" for value in plan.graphs[step.target].inputs
                )
                if value in plan.randoms
            )
            for name, run in steps.items()
        }
        self._dtypes = {i.id: np.dtype(_DTYPES.get(i.dtype, plan.precision)) for i in plan.inputs.values()}
        self._values: dict[str, Any] = {name: ort_value(self._buffers.array(name)) for name in plan.arrays}
        self._held: dict[str, Array] = {}  # an OrtValue does not keep its array alive
        self._views: dict[str, tuple[Any, Array]] = {}
        self._updaters: dict[str, Updater] = {}
        if "train" in programs:
            self._updaters = make_updaters(plan, self._buffers, self.threads)
        groups = [(group, reader_of(self._updaters, group)) for group in self._buffers.rows]
        late = [(group, reader) for group, reader in groups if reader is not None]
        self._readers = {tuple(update.array for update in group.updates): reader for group, reader in late}
        self.tables = TableRows(plan, self._buffers, self._readers)
        self._lent = lent_rows(plan, self._buffers, self.tables, late)
        self._done, self._copies = 0, dict[str, Array]()
        self._shown: Mapping[str, Array] = NONE
        self._step = self._batch = self._rows = 0

    def begin(self, program: str, inputs: Mapping[str, Array], rows: int, step: int) -> None:
        self._step, self._rows = step, rows
        self._batch += 1
        if self._lent is not None:
            self._lent.take_back()
        elif self._readers:
            self._show(program)
        if program == "train":
            self._copies = {}
        held = self._held
        for name, array in inputs.items():
            home = held.get(name)
            if home is not None and home.shape == array.shape:
                np.copyto(home, array, casting="unsafe")  # takes less than a new handle
            else:
                self.put(name, np.array(array, self._dtypes[name]))
        if self._lent is not None and self._done and program != "train":
            self._lent.lend(self._values, self._done)
        for random in self._randoms[program]:
            shape = tuple(rows if size is None else size for size in random.shape)
            self.put(random.id, uniform(self._seed, random.id, step, shape, self.plan.precision))

    def _show(self, program: str) -> None:
        """Training reads tables as they lie here, where rows catch up first; all else, current copies."""
        tables = self._current() if program != "train" else NONE
        if tables is not self._shown:
            self._shown = tables
            for name in (name for names in self._readers for name in names):
                self._values[name] = ort_value(tables.get(name, self._buffers.array(name)))

    def _current(self) -> Mapping[str, Array]:
        """The tables whose rows may have missed steps, as they are after all steps done."""
        if self._done and not self._copies:
            for names, reader in self._readers.items():
                self._copies |= zip(names, reader.current(self._done), strict=True)
        return self._copies or NONE

    def run(self, graph: str) -> None:
        found = self._outside.get(graph)
        if found is None:
            self._graphs[graph].run(self._values, self._rows)
        else:
            self.put(found.output, found([self.get(name) for name in found.inputs], self._rows))

    def catch_up(self, update: str) -> None:
        self._apply(self._updaters[update].catch_up, update)

    def update(self, update: str) -> None:
        self._done = self._step
        self._apply(self._updaters[update].apply, update)

    def _apply(self, change: Callable[[dict[str, Any], int, int], None], update: str) -> None:
        try:
            change(self._values, self._step, self._batch)
        except onnx_errors() as error:
            raise damaged(f"update {update!r} of {self.plan.place!r} cannot run: {short(error)}") from None

    def assign(self, array: str) -> None:
        self._buffers.array(array)[...] = self.get(self.plan.assigns[array])

    def put(self, value: str, tensor: Array) -> None:
        if self._held.get(value) is not tensor:  # the same memory as before needs no new handle
            held = self._held[value] = np.asarray(tensor, order="C")
            self._values[value] = ort_value(held)

    def get(self, value: str) -> Array:
        now = self._values[value]
        if value in self.plan.arrays:  # may change before all who were given it have read it
            return np.array(now.numpy())
        known = self._views.get(value)
        if known is None or known[0] is not now:
            known = self._views[value] = now, now.numpy()
        return known[1]

    def values(self) -> list[str]:
        return [name for name in self._values if name not in self.plan.arrays]

    def _lies(self) -> Buffers:
        """All arrays, with rows of tables as they lie."""
        if self._lent is not None:
            self._lent.take_back()
        return self._buffers

    def weights(self) -> dict[str, Array]:
        return self._lies().weights(self._current())

    def resting_weights(self) -> dict[str, Array]:
        """As `weights`, with rows of tables as they lie."""
        return self._lies().weights()

    def made_weights(self) -> dict[str, AnyTensor]:
        """As `weights`, of tables whose rows must catch up without a copy of all."""
        self._lies()
        return self.tables.weights(self._done)

    def stored(self) -> dict[str, Array]:
        arrays = {name for names in self._readers for name in names}
        weights = self._lies().weights()
        return {w.name: weights[w.name] for w in self.plan.weights.values() if w.array in arrays}

    def slots(self) -> dict[str, Array]:
        return self._lies().slots()

    def load(self, weights: AnyTensors, slots: AnyTensors | None = None, step: int | None = None) -> None:
        self._lies()
        if slots is None and self._done:
            for reader in self._readers.values():
                reader.settle(self._done)
        self._done, self._copies = self._done if step is None else step, {}
        self._buffers.load(weights, slots, self._done)
