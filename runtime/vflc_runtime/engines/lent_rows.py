"""Rows of large tables that a batch reads stand as they are after all steps, for that batch alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.buffers import Buffers, TableGroup
from vflc_runtime.engines.onnx_catch_up import Reader
from vflc_runtime.engines.table_rows import TableRows
from vflc_runtime.memory import large_bytes


class LentRows:
    """Instead of a copy of whole tables, where rows that missed steps are read outside of training.

    Args:
        groups: tables that catch up, and by what.
    """

    def __init__(self, buffers: Buffers, groups: Sequence[tuple[TableGroup, Reader]]) -> None:
        self._groups = [
            (group.updates[0].reads or (), reader, [buffers.array(update.array) for update in group.updates])
            for group, reader in groups
        ]
        self._lent: list[tuple[list[Array], Indices, list[Array]]] = []

    def lend(self, values: Mapping[str, Any], step: int) -> None:
        """Rows that ids among the `values` name become what they are after `step` steps."""
        for reads, reader, tables in self._groups:
            ids = np.unique(np.concatenate([values[name].numpy().reshape(-1) for name in reads]))
            rows: Indices = ids[ids >= 0].astype(np.int64)
            if len(rows) and rows[-1] >= len(tables[0]):
                raise damaged(f"an id is outside its table of {len(tables[0])} rows")
            before = reader.lend(rows, step) if len(rows) else None
            if before is not None:
                self._lent.append((tables, rows, before))

    def take_back(self) -> None:
        """They are as they were."""
        for tables, rows, before in self._lent:
            for table, numbers in zip(tables, before, strict=True):
                table[rows] = numbers
        self._lent.clear()


def lent_rows(
    plan: Plan, buffers: Buffers, tables: TableRows, groups: Sequence[tuple[TableGroup, Reader]]
) -> LentRows | None:
    """What lends rows, where tables are large, and inputs say which rows a batch reads; None elsewhere."""
    reads = [group.updates[0].reads for group, _ in groups]
    known = all(names is not None and all(name in plan.inputs for name in names) for names in reads)
    return LentRows(buffers, groups) if groups and known and tables.nbytes >= large_bytes() else None
