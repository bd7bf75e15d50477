"""The aligned tables of parties: their rows stream out of DuckDB, which spills where memory ends."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vflc_runtime.data.source import quote
from vflc_runtime.data.table import WIDTH, in_parts


@dataclass
class Aligned:
    """The aligned tables of one or several parties.

    Attributes:
        rows: how many rows all parties have in common.
        report: of each party, `rows` read, `kept` and `dropped`.
        parties: of each party, the names of its columns, in the order of its batches.
        key_types: of each party, the types of its key columns, as DuckDB calls them.
    """

    rows: int
    report: dict[str, dict[str, int]]
    parties: dict[str, list[str]]
    key_types: dict[str, tuple[str, ...]]
    _connection: duckdb.DuckDBPyConnection
    _temporary: tempfile.TemporaryDirectory[str] = field(repr=False)

    @property
    def keys(self) -> pa.Array:
        """The keys as text [rows], in the order of the rows."""
        first = next(iter(self.parties))
        return self._table(f"SELECT key FROM {part_name(first, 0)}").column(0).combine_chunks()

    def column(self, party: str, name: str) -> pa.ChunkedArray:
        """One column: string, int64 or double, null where a value is missing."""
        at = self.parties[party].index(name)
        return self._table(f"SELECT c{at} FROM {part_name(party, at // WIDTH)}").column(0)

    def batches(
        self, party: str, size: int, names: Collection[str] | None = None
    ) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
        """The keys [size] and columns of a party, at most `size` rows at a time, in key order.

        Args:
            party: its name.
            size: rows.
            names: of the columns; None gives all.
        """
        chosen = [i for i, name in enumerate(self.parties[party]) if names is None or name in names]
        wanted: dict[int, list[str]] = {0: ["key"]}
        for i in chosen:
            wanted.setdefault(i // WIDTH, []).append(f"c{i}")
        for start in range(0, self.rows, size):
            rows = f"rowid >= {start} AND rowid < {start + size}"
            keys, *columns = (
                column.combine_chunks()
                for part, picks in wanted.items()
                for column in self._table(
                    f"SELECT {', '.join(picks)} FROM {part_name(party, part)} WHERE {rows}"
                ).columns
            )
            yield keys, pa.RecordBatch.from_arrays(columns, names=[self.parties[party][i] for i in chosen])

    def keep(self, party: str, positions: NDArray[np.int64]) -> None:
        """Keeps these rows of the only party that was opened, in this order, as all parties agreed.

        Args:
            party: its name.
            positions: int64, rows as `keys` has them.
        """
        chosen = quote(f"chosen {party}")
        self._connection.register("agreed", pa.table({"at": positions, "number": np.arange(len(positions))}))
        for number, _ in enumerate(in_parts(self.parties[party])):
            name = part_name(party, number)
            self._connection.execute(
                f"CREATE TABLE {chosen} AS SELECT s.* FROM {name} s JOIN agreed a ON s.rowid = a.at "
                "ORDER BY a.number"
            )
            self._connection.execute(f"DROP TABLE {name}")
            self._connection.execute(f"ALTER TABLE {chosen} RENAME TO {name}")
        self._connection.unregister("agreed")
        self.rows, read = len(positions), self.report[party]["rows"]
        self.report[party] = {"rows": read, "kept": self.rows, "dropped": read - self.rows}

    def close(self) -> None:
        """Frees the tables and what was spilled to disk."""
        self._connection.close()
        self._temporary.cleanup()

    def _table(self, query: str) -> pa.Table:
        return self._connection.sql(query).to_arrow_table()


def part_name(party: str, number: int) -> str:
    """The table of some of a party's aligned columns; the first has `key`, too."""
    return quote(f"sorted {party} {number}")
