"""Rows of tables for whoever saves them: as they lie, which have changed, what they are after all steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.plan import Plan, Weight
from vflc_runtime.engines.buffers import Buffers, TableGroup
from vflc_runtime.engines.onnx_catch_up import Reader
from vflc_runtime.tensors import AnyTensor, MadeRows


class TableRows:
    """The tables of a place whose rows are updated, with all that is kept for them.

    Args:
        readers: what lets tables catch up, by the names of the arrays that it does that for.

    Attributes:
        nbytes: of all tables and what is kept for their rows.
        names: of the weights, as users know them.
    """

    def __init__(self, plan: Plan, buffers: Buffers, readers: Mapping[tuple[str, ...], Reader]) -> None:
        self._plan, self._buffers = plan, buffers
        self._readers = {name: reader for names, reader in readers.items() for name in names}
        self._weights = {w.name: (w, g) for w in plan.weights.values() if (g := buffers.rows_of(w))}
        self.names = frozenset(self._weights)
        self.nbytes = sum(
            group.kept.nbytes + sum(buffers.array(update.array).nbytes for update in group.updates)
            for group in buffers.rows
        )

    def lying(self) -> dict[str, Array]:
        """The weights [rows, width] as they lie: rows as they were when they were last updated."""
        return {name: array for name, array in self._buffers.weights().items() if name in self.names}

    def changed(self) -> dict[str, Indices]:
        """Of each weight the rows [n] that are others than at the last `saved`, ascending."""
        return {name: np.flatnonzero(group.changed[_part(w)]) for name, (w, group) in self._weights.items()}

    def saved(self) -> None:
        """From now on none has changed."""
        for group in self._buffers.rows:
            group.changed.fill(False)

    def weights(self, step: int) -> dict[str, AnyTensor]:
        """All weights of the place as they are after all `step` steps that were done; none is copied."""
        found: dict[str, AnyTensor] = {**self._buffers.weights()}
        for name, (weight, group) in self._weights.items():
            if weight.array in self._readers:
                array = self._buffers.array(weight.array)
                made = self._made(weight, group, step)
                found[name] = MadeRows(weight.shape, array.dtype, made)
        return found

    def _made(self, weight: Weight, group: TableGroup, step: int) -> Callable[[], Iterator[Array]]:
        reader, table = self._readers[weight.array], [*group.columns].index(weight.array)
        part = _part(weight)

        def make() -> Iterator[Array]:
            for start in range(part.start, part.stop, reader.block_rows):
                rows = slice(start, min(start + reader.block_rows, part.stop))
                yield reader.made(rows, step)[table]

        return make


def _part(weight: Weight) -> slice:
    """A weight's rows of its array."""
    return slice(weight.offset, weight.offset + weight.shape[0])
