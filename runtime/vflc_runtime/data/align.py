"""Brings the parties' tables to the same rows in the same order: an inner join by key.

Keys are compared as text and sorted by their bytes, so every party finds the same order from the
keys alone. DuckDB sorts and joins, and spills where memory ends; what comes out streams.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vflc_runtime.data import values
from vflc_runtime.data.read import Wanted, connect, counted, load, look, open_sources
from vflc_runtime.data.source import Opened, Source, literal, quote, unreadable
from vflc_runtime.data.values import Expression
from vflc_runtime.errors import Failure

Column = Mapping[str, Any]
"""A column of encoders.json."""
T = TypeVar("T")

WIDTH = 50
"""Columns that one query computes."""


def half_of_memory() -> int:
    """Half of this machine's memory, in bytes: what DuckDB may hold unless told otherwise."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass
class Aligned:
    """The aligned tables of one or several parties.

    Attributes:
        rows: how many rows all parties have in common.
        report: of each party, `rows` read, `kept` and `dropped`.
        parties: of each party, the names of its columns, in the order of its batches.
        key_types: of each party, the type of its key column, as DuckDB calls it.
    """

    rows: int
    report: dict[str, dict[str, int]]
    parties: dict[str, list[str]]
    key_types: dict[str, str]
    _connection: duckdb.DuckDBPyConnection
    _temporary: tempfile.TemporaryDirectory[str] = field(repr=False)

    @property
    def keys(self) -> pa.Array:
        """The keys as text, in the order of the rows."""
        first = next(iter(self.parties))
        return self._table(f"SELECT key FROM {_part(first, 0)}").column(0).combine_chunks()

    def column(self, party: str, name: str) -> pa.ChunkedArray:
        """One column: string, int64 or double, null where a value is missing."""
        at = self.parties[party].index(name)
        return self._table(f"SELECT c{at} FROM {_part(party, at // WIDTH)}").column(0)

    def batches(
        self, party: str, size: int, names: Collection[str] | None = None
    ) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
        """The keys and columns of a party, at most `size` rows at a time, in key order.

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
                    f"SELECT {', '.join(picks)} FROM {_part(party, part)} WHERE {rows}"
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
        for number, _ in enumerate(_parts(self.parties[party])):
            name = _part(party, number)
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


def open_tables(
    parties: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Source],
    memory_limit: int | None = None,
) -> Aligned:
    """Reads and aligns the tables of all `parties`.

    Args:
        parties: of each party its `key`, `where` and the `columns` to read, as in encoders.json:
            `name`, `type` ("string", "int" or "float") and `where`. The table of a `population`
            has many rows a key, which keep their order.
        given: of each party its source.
        memory_limit: bytes DuckDB may hold before it spills; None is half of the machine's memory.

    Raises:
        Failure: VFL0601, 0602, 0603, 0605, 0606, 0607, 0612, 0616.
    """
    temporary = tempfile.TemporaryDirectory(prefix="vflc-", ignore_cleanup_errors=True)
    connection = connect(memory_limit or half_of_memory(), temporary.name)
    try:
        connection.execute(values.MACROS)
        opened = open_sources(connection, {party: given[party] for party in parties})
        read = {party: _read(connection, info, opened[party]) for party, info in parties.items()}
        rows = join_keys(connection, list(parties), parties)
        for party, info in parties.items():
            _sort(connection, party, read[party].columns, len(parties) > 1, bool(info.get("population")))
    except duckdb.Error as error:
        connection.close()
        temporary.cleanup()
        raise unreadable(", ".join(parties), "the tables", error) from None
    except Failure:
        connection.close()
        temporary.cleanup()
        raise
    report = {p: {"rows": t.rows, "kept": rows, "dropped": t.rows - rows} for p, t in read.items()}
    names = {p: [c["name"] for c in info["columns"]] for p, info in parties.items()}
    types = {p: table.key_type for p, table in read.items()}
    return Aligned(rows, report, names, types, connection, temporary)


def look_at_tables(parties: Mapping[str, Mapping[str, Any]], given: Mapping[str, Source]) -> None:
    """Whether the tables are there, with the columns and the types of columns that `open_tables` reads.

    Reads no more than their first rows: what is in the others only reading tells.

    Raises:
        Failure: VFL0601, 0602, 0603, 0607, and those of a key that cannot be compared.
    """
    with tempfile.TemporaryDirectory(prefix="vflc-", ignore_cleanup_errors=True) as folder:
        connection = connect(half_of_memory(), folder)
        try:
            connection.execute(values.MACROS)
            opened = open_sources(connection, {party: given[party] for party in parties})
            for party, info in parties.items():
                *types, key = look(connection, opened[party], _wanted(info))
                key_text(key, "c", party, _wanted(info)[-1])
                for column, type in zip(info["columns"], types, strict=True):
                    _typed(column, type, "c", party)
        finally:
            connection.close()


def _wanted(info: Mapping[str, Any]) -> list[Wanted]:
    """What is read of a table: its columns, and at last its key."""
    key = Wanted(info["key"], info.get("where"))
    return [*(Wanted(c["name"], c.get("where")) for c in info["columns"]), key]


def raw_name(party: str) -> str:
    """The table of a party as it was read; its column `key` is text."""
    return quote(f"raw {party}")


def _part(party: str, number: int) -> str:
    """The table of some of a party's aligned columns; the first has `key`, too."""
    return quote(f"sorted {party} {number}")


def _parts(columns: Sequence[T]) -> list[Sequence[T]]:
    """Columns in groups of `WIDTH`; at least one group."""
    return [columns[i : i + WIDTH] for i in range(0, len(columns), WIDTH)] or [columns]


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of a party: its rows, the type of its key, and SQL for its columns."""

    rows: int
    key_type: str
    columns: Sequence[Expression]


def _read(connection: duckdb.DuckDBPyConnection, info: Mapping[str, Any], source: Opened) -> _Read:
    """Reads one party's table and checks keys and numbers."""
    party, columns = source.party, info["columns"]
    *_, key = wanted = _wanted(info)
    read = f"read {party}"
    types = load(connection, read, source, wanted)
    exprs = [_typed(c, type, f"c{i}", party) for i, (c, type) in enumerate(zip(columns, types, strict=False))]
    kept = "".join(f", c{i}" for i in range(len(columns)))
    text_key = key_text(types[-1], f"c{len(columns)}", party, key)
    connection.execute(f"CREATE TABLE {raw_name(party)} AS SELECT {text_key} AS key{kept} FROM {quote(read)}")
    connection.execute(f"DROP TABLE {quote(read)}")
    check_keys(connection, party, key, repeated=bool(info.get("population")))
    return _Read(_check_values(connection, party, columns, exprs), types[-1], exprs)


def key_text(type: str, name: str, party: str, key: Wanted) -> str:
    """SQL for the text by which keys are compared; VFL0634 where a key of this type has none."""
    found = values.as_text(type, name)
    if found is None:
        raise Failure(
            "VFL0634",
            f"{party}'s key column {key.name} holds {type}, whose values have no unique text to compare",
            values.what_to_do(key.name, "string", type),
            key.where,
        )
    return found.value


def _typed(column: Column, type: str, name: str, party: str) -> Expression:
    found = values.typed(column["type"], type, name)
    if found is None:
        raise Failure(
            "VFL0603",
            f"column {column['name']} of {party} is declared {column['type']}, but the table holds {type}",
            values.what_to_do(column["name"], column["type"], type),
            column.get("where"),
        )
    return found


def check_keys(connection: duckdb.DuckDBPyConnection, party: str, key: Wanted, repeated: bool) -> None:
    """VFL0616 where a key is missing or blank, VFL0605 where one is there twice and may not."""
    blank = connection.execute(
        f"SELECT rowid + 1, count(*) OVER () FROM {raw_name(party)} "
        "WHERE key IS NULL OR regexp_full_match(key, '\\s*') ORDER BY rowid LIMIT 1"
    ).fetchone()
    if blank:
        raise Failure(
            "VFL0616",
            f"{party}'s key column {key.name} is blank in {_rows(blank[1])}, first in row {blank[0]}",
            "leave such rows out of the source: every row needs a key",
            key.where,
        )
    if repeated:
        return
    doubled = connection.execute(
        f"SELECT key, count(*) FROM {raw_name(party)} GROUP BY key HAVING count(*) > 1 ORDER BY key LIMIT 3"
    ).fetchall()
    if doubled:
        examples = ", ".join(f"{_shown(value)} ({times} times)" for value, times in doubled)
        raise Failure(
            "VFL0605",
            f"{party}'s key column {key.name} has the same key in several rows: {examples}",
            "choose a key column that identifies a row, or leave the other rows out",
            key.where,
        )


def _check_values(
    connection: duckdb.DuckDBPyConnection, party: str, columns: Sequence[Column], typed: Sequence[Expression]
) -> int:
    """Refuses text where numbers are declared; gives the number of rows."""
    doubtful = [i for i, expr in enumerate(typed) if expr.bad != "false"]
    for part in _parts(doubtful):
        asked = ", ".join(["count(*)", *(f"count(*) FILTER ({typed[i].bad})" for i in part)])
        # All is fetched: a result that is not finished would stand in the way of the next table.
        ((rows, *counts),) = connection.execute(f"SELECT {asked} FROM {raw_name(party)}").fetchall()
        for i, bad in zip(part, counts, strict=True):
            if bad:
                _refuse_value(connection, party, columns[i], typed[i], f"c{i}", bad)
    return int(rows)


def _refuse_value(
    connection: duckdb.DuckDBPyConnection, party: str, column: Column, typed: Expression, name: str, bad: int
) -> None:
    ((row, key, value),) = connection.execute(
        f"SELECT rowid + 1, key, CAST({name} AS VARCHAR) FROM {raw_name(party)} "
        f"WHERE {typed.bad} ORDER BY rowid LIMIT 1"
    ).fetchall()
    help = "correct the values, leave missing ones empty, or declare the column string"
    if column["type"] == "int" and values.is_long(value):
        help = "declare the column string: this number does not fit a 64-bit int"
    elif column["type"] == "string":
        help = values.what_to_do(column["name"], "string", "JSON")
    raise Failure(
        "VFL0603",
        f"column {column['name']} of {party} is declared {column['type']}, but row {row} "
        f"(key {_shown(key)}) holds {_shown(value)}; {_rows(bad)} in all",
        help,
        column.get("where"),
    )


def join_keys(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], parties: Mapping[str, Mapping[str, Any]]
) -> int:
    """Makes the table of common keys; gives their number."""
    if len(names) == 1:
        return counted(connection, f"SELECT count(*) FROM {raw_name(names[0])}")
    others = " ".join(f"SEMI JOIN {raw_name(name)} USING (key)" for name in names[1:])
    connection.execute(f"CREATE TABLE common AS SELECT key FROM {raw_name(names[0])} {others}")
    rows = counted(connection, "SELECT count(*) FROM common")
    if not rows:
        examples = []
        for name in names:
            ((key,),) = connection.execute(f"SELECT min(key) FROM {raw_name(name)}").fetchall()
            examples.append(f"{name}.{parties[name]['key']} has {_shown(key)}")
        raise Failure(
            "VFL0606",
            f"the tables have no key in common: {', '.join(examples)}",
            "use the same keys for the same rows at every party; keys are compared as text",
            parties[names[0]].get("where"),
        )
    return rows


def _sort(
    connection: duckdb.DuckDBPyConnection,
    party: str,
    columns: Sequence[Expression],
    joined: bool,
    repeated: bool,
) -> None:
    """Makes the tables of a party's aligned rows, some columns at a time: thousands in one query take
    gigabytes, however few the rows."""
    raw = raw_name(party)
    semi = "SEMI JOIN common USING (key)" if joined else ""
    order = "key, number" if repeated else "key"
    for number, part in enumerate(_parts(columns)):
        picks = "".join(f", {expr.value} AS c{number * WIDTH + i}" for i, expr in enumerate(part))
        if number == 0:
            query = f"FROM (SELECT key{picks}, rowid AS number FROM {raw}) {semi} ORDER BY {order}"
        else:
            query = (
                f"SELECT * EXCLUDE (place) FROM (SELECT s.rowid AS place{picks} FROM {_part(party, 0)} s "
                f"JOIN {raw} r ON r.rowid = s.number) ORDER BY place"
            )
        connection.execute(f"CREATE TABLE {_part(party, number)} AS {query}")
    connection.execute(f"DROP TABLE {raw}")


def _rows(count: int) -> str:
    return "one row" if count == 1 else f"{count} rows"


def _shown(value: object) -> str:
    """A value of the data as messages show it: in quotes, so that blanks are seen, and not too long.

    What does not show is written out: two keys that look alike are not to look the same here.
    """
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))
    return literal(text if len(text) <= 40 else text[:39] + "…")
