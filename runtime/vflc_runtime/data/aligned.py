"""The aligned tables of parties: their rows stream out of DuckDB, which spills where memory ends."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from vflc_common.arrays import Indices

from vflc_runtime.data.column_buffer import Room
from vflc_runtime.data.kept_keys import kept_keys
from vflc_runtime.data.keys import key_part
from vflc_runtime.data.read import counted
from vflc_runtime.data.source import quote
from vflc_runtime.data.spread import ABSENT, standing
from vflc_runtime.data.table import WIDTH, in_parts
from vflc_runtime.scratch import ScratchFolder

KEYS = 1 << 17
"""Keys that are read at a time."""
KEYS_IN_MEMORY = 64 << 20
"""Bytes of keys that are kept in memory."""


@dataclass
class Aligned:
    """The aligned tables of one or several parties.

    Attributes:
        read: of each party, how many rows its table has.
        many: the party that has many rows a key, where one has.
        missing: the parties that may lack rows, sorted. Keys come in the order of who lacks them, a bit a
            party, those that all have first.
        parties: of each party, the names of its columns, in the order of its batches.
        parts: of parties whose key is a part of the others', which columns it is.
        key_types: of each party, the types of its key columns, as DuckDB calls them.
    """

    read: dict[str, int]
    many: str | None
    missing: tuple[str, ...]
    parts: dict[str, tuple[int, ...]]
    parties: dict[str, list[str]]
    key_types: dict[str, tuple[str, ...]]
    _connection: duckdb.DuckDBPyConnection
    _temporary: ScratchFolder = field(repr=False)
    own: dict[str, int] = field(init=False)
    at: dict[str, Indices] = field(init=False)

    def __post_init__(self) -> None:
        self.own = {
            party: counted(self._connection, f"SELECT count(*) FROM {part_name(party, 0)}")
            for party in self.parties
        }
        self.at = {}
        if len(self.parties) > 1:
            others = [p for p in self.parties if p != self.many and p not in self.parts]
            counts = None if self.many is None else self.counts
            if self.many is not None or self.missing:
                lacks = self._table("SELECT lacks FROM common ORDER BY lacks, key").column(0).to_numpy()
                self.at = standing(others, self.missing, lacks, counts)
            self.at |= {party: self._of_part(party, part) for party, part in self.parts.items()}

    def _of_part(self, party: str, part: Sequence[int]) -> Indices:
        """Of each joined row the row of a party whose key is a part of the others', [rows]."""
        found = self._table(
            f"SELECT coalesce(p.at, {ABSENT}) AS at FROM (SELECT {key_part('key', part)} AS part, rowid AS n "
            f"FROM {part_name(self._first, 0)}) f LEFT JOIN (SELECT key, rowid AS at "
            f"FROM {part_name(party, 0)}) p ON f.part = p.key ORDER BY f.n"
        )
        rows: Indices = found.column(0).to_numpy()
        return rows

    @property
    def _first(self) -> str:
        """The party whose rows are the joined ones."""
        whole = (p for p in self.parties if p not in self.missing and p not in self.parts)
        return self.many or next(whole, next(iter(self.parties)))

    @property
    def rows(self) -> int:
        """How many rows the parties have together: those of the party with many a key, where there is one."""
        return next((len(rows) for rows in self.at.values()), self.own[self._first])

    @property
    def report(self) -> dict[str, dict[str, int]]:
        """Of each party, `rows` read, `kept` and `dropped`."""
        return {
            party: {"rows": read, "kept": self.own[party], "dropped": read - self.own[party]}
            for party, read in self.read.items()
        } | self._lacking()

    def _lacking(self) -> dict[str, dict[str, int]]:
        """Of parties that may lack rows also how many are `missing`."""
        counted = {}
        for party in self.missing:
            if party in self.at and party in self.read:
                read, own = self.read[party], self.own[party]
                lacking = int(np.count_nonzero(self.at[party] == ABSENT))
                counted[party] = {"rows": read, "kept": own, "dropped": read - own, "missing": lacking}
        return counted

    @property
    def counts(self) -> Indices:
        """How many rows each key has, [keys], at the party with many."""
        assert self.many is not None
        query = f"SELECT count(*) AS n FROM {part_name(self.many, 0)} GROUP BY key ORDER BY min(rowid)"
        counts: Indices = self._table(query).column(0).to_numpy()
        return counts

    @property
    def keys(self) -> pa.Array:
        """The keys as text [rows], in the order of the rows; many of them are in a file."""
        folder = Path(tempfile.mkdtemp(dir=self._temporary.path))
        return kept_keys(self.blocks_of_keys(KEYS), folder, Room(KEYS_IN_MEMORY))[0]

    def blocks_of_keys(self, size: int) -> Iterator[pa.Array]:
        """The same, at most `size` rows at a time, [size]."""
        return (keys for keys, _ in self.batches(self._first, size, ()))

    def column(self, party: str, name: str) -> pa.ChunkedArray:
        """One column: string, int64 or double, null where a value is missing."""
        at = self.parties[party].index(name)
        return self._table(f"SELECT c{at} FROM {part_name(party, at // WIDTH)}").column(0)

    def joined(self, party: str, name: str, rows: Indices) -> pa.ChunkedArray:
        """One column in some joined rows, [rows]; the party's first where it has none, as in batches."""
        column, at = self.column(party, name), self.at.get(party)
        return column.take(pa.array(rows if at is None else np.maximum(at[rows], 0)))

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
        for start in range(0, self.own[party], size):
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
        self.own[party] = len(positions)

    def close(self) -> None:
        """Frees the tables and what was spilled to disk."""
        self._connection.close()
        self._temporary.close()

    def _table(self, query: str) -> pa.Table:
        return self._connection.sql(query).to_arrow_table()


def part_name(party: str, number: int) -> str:
    """The table of some of a party's aligned columns; the first has `key`, too."""
    return quote(f"sorted {party} {number}")
