"""Places whose tables are so large that nothing is done with all rows where a few will do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.engines.engine import Engine
from vflc_runtime.engines.onnx import OnnxEngine
from vflc_runtime.engines.table_rows import TableRows
from vflc_runtime.finite import check_kept
from vflc_runtime.memory import large_bytes
from vflc_runtime.run.row_changes import owner
from vflc_runtime.tensors import AnyTensor, AnyTensors, MadeRows, Tensors, taken


def large_tables(engines: Mapping[str, Engine]) -> dict[str, LargeTables]:
    """Those of the places here whose tables, with what is kept for their rows, take `memory.large_bytes`."""
    limit = large_bytes()
    return {
        place: LargeTables(place, engine)
        for place, engine in engines.items()
        if isinstance(engine, OnnxEngine) and engine.tables.names and engine.tables.nbytes >= limit
    }


class LargeTables:
    """A place whose checkpoints have rows as they lie, and of these what changed."""

    def __init__(self, place: str, engine: OnnxEngine) -> None:
        self._place, self._engine = place, engine
        self.tables: TableRows = engine.tables

    def load(self, weights: AnyTensors, slots: AnyTensors, step: int) -> None:
        """Takes what a checkpoint holds, as `Engine.load`; made tensors need be nowhere as a whole."""
        self._engine.load(weights, slots, step)

    def state(self, step: int) -> dict[str, Tensors]:
        """What a checkpoint holds; VFL0611 where a number that changed since the last one is not finite."""
        names, lying, slots = self.tables.names, self.tables.lying(), self._engine.slots()
        model = {name: array for name, array in self._engine.resting_weights().items() if name not in names}
        rest = {name: array for name, array in slots.items() if owner("slots", name) not in names}
        check_kept(self._place, {"model": model, "slots": rest}, step)
        for name, rows in self.tables.changed().items():
            of = {n: array for n, array in slots.items() if owner("slots", n) == name} | {name: lying[name]}
            for each, array in of.items():
                self._check(each, taken(array, rows).make(), step)
        return {"model": model, "stored": lying, "slots": slots}

    def model(self, step: int) -> dict[str, AnyTensor]:
        """The weights after all steps; VFL0611 as they are read, where a number is not finite."""
        return {
            name: MadeRows(tensor.shape, tensor.dtype, self._checked(name, tensor, step))
            if isinstance(tensor, MadeRows)
            else tensor
            for name, tensor in self._engine.made_weights().items()
        }

    def _checked(self, name: str, tensor: MadeRows, step: int) -> Any:
        def make() -> Iterator[NDArray[Any]]:
            for block in tensor.make():
                self._check(name, iter([block]), step)
                yield block

        return make

    def _check(self, name: str, blocks: Iterator[NDArray[Any]], step: int) -> None:
        for block in blocks:
            check_kept(self._place, {"": {name: np.ascontiguousarray(block)}}, step)
