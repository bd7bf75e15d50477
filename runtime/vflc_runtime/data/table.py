"""One party's table as it is read: its key as text, its columns, and that all its rows can be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import duckdb
from vflc_common.keys import has_many, key_columns, key_part

from vflc_runtime.data import values
from vflc_runtime.data.advice import about_value, what_to_do
from vflc_runtime.data.keys import called, key_text, readable, wanted_keys
from vflc_runtime.data.read import Wanted, load
from vflc_runtime.data.source import OpenedSource, literal, quote
from vflc_runtime.data.values import Expression
from vflc_runtime.errors import Failure

ColumnJson = Mapping[str, Any]
"""A column of encoders.json."""
T = TypeVar("T")

WIDTH = 50
"""Columns that one query computes."""


def wanted_of(info: Mapping[str, Any]) -> list[Wanted]:
    """What is read of a table: its columns, and at last its key's."""
    return [*(Wanted(name_in_table(c), c.get("where")) for c in info["columns"]), *wanted_keys(info)]


def name_in_table(column: ColumnJson) -> str:
    """What the table calls a column, which the spec may have given another name."""
    return str(column.get("table", column["name"]))


def raw_name(party: str) -> str:
    """The table of a party as it was read; its column `key` is text."""
    return quote(f"raw {party}")


def in_parts(columns: Sequence[T]) -> list[Sequence[T]]:
    """Columns in groups of `WIDTH`; at least one group."""
    return [columns[i : i + WIDTH] for i in range(0, len(columns), WIDTH)] or [columns]


@dataclass(frozen=True, slots=True)
class TableRead:
    """What was read of a party: its rows, the types of its key columns, and SQL for its columns."""

    rows: int
    key_types: tuple[str, ...]
    columns: Sequence[Expression]


def read_table(
    connection: duckdb.DuckDBPyConnection, info: Mapping[str, Any], source: OpenedSource
) -> TableRead:
    """Reads one party's table and checks keys and numbers."""
    party, columns = source.party, info["columns"]
    keys, read = wanted_keys(info), f"read {party}"
    types = load(connection, read, source, wanted_of(info))
    exprs = [
        typed_column(c, type, f"c{i}", source)
        for i, (c, type) in enumerate(zip(columns, types, strict=False))
    ]
    kept = "".join(f", c{i}" for i in range(len(columns)))
    key_types = tuple(types[len(columns) :])
    text_key = key_text(key_types, [f"c{i}" for i in range(len(columns), len(types))], source, keys)
    values.define(connection, [text_key, *(sql for each in exprs for sql in (each.value, each.bad))])
    connection.execute(f"CREATE TABLE {raw_name(party)} AS SELECT {text_key} AS key{kept} FROM {quote(read)}")
    connection.execute(f"DROP TABLE {quote(read)}")
    rows = check_keys(connection, party, info, repeated=bool(info.get("population")) or has_many(info))
    _check_values(connection, source, columns, exprs)
    return TableRead(rows, key_types, exprs)


def typed_column(column: ColumnJson, type: str, name: str, source: OpenedSource) -> Expression:
    """A column as an expression of its declared type; VFL0603 where a table's `type` does not become that."""
    found, called = values.typed(column["type"], type, name), name_in_table(column)
    if found is None:
        raise Failure(
            "VFL0603",
            f"column {called} of {source.party} is declared {column['type']}, but the table holds {type}",
            what_to_do(called, column["type"], type, source.server is not None),
            column.get("where"),
        )
    return found


def check_keys(
    connection: duckdb.DuckDBPyConnection, party: str, info: Mapping[str, Any], repeated: bool
) -> int:
    """VFL0616 where a key is missing or blank, VFL0605 where one is there twice and may not; gives the rows.

    One query counts what could be wrong; what is wrong only a second one looks for.
    """
    blank = "FILTER (key IS NULL OR regexp_full_match(key, '\\s*'))"
    unlike = "count(*)" if repeated else "count(DISTINCT key)"
    ((rows, different, blanks, first),) = connection.execute(
        f"SELECT count(*), {unlike}, count(*) {blank}, min(rowid + 1) {blank} FROM {raw_name(party)}"
    ).fetchall()
    if blanks:
        verb = "are" if len(key_columns(info)) > 1 else "is"
        raise Failure(
            "VFL0616",
            f"{party}'s {called(info)} {verb} blank in {in_rows(blanks)}, first in row {first}",
            "leave such rows out of the source: every row needs a key",
            info.get("where"),
        )
    if different == rows:
        return int(rows)
    doubled = connection.execute(
        f"SELECT key, count(*) FROM {raw_name(party)} GROUP BY key HAVING count(*) > 1 ORDER BY key LIMIT 3"
    ).fetchall()
    examples = ", ".join(f"{shown(readable(value))} ({times} times)" for value, times in doubled)
    several = f"has the same key in several rows: {examples}"
    help = "choose a key that identifies a row, leave the other rows out, or say in the spec that it has many"
    help += ": rows per key many"
    if key_part(info) is not None:  # a column may have been forgotten, which no check of the spec can know
        several = f"is a part of another party's key, and {several}"
        help = "name the other columns of that key here, too, or leave the other rows out"
    raise Failure("VFL0605", f"{party}'s {called(info)} {several}", help, info.get("where"))


def _check_values(
    connection: duckdb.DuckDBPyConnection,
    source: OpenedSource,
    columns: Sequence[ColumnJson],
    typed: Sequence[Expression],
) -> None:
    """Refuses text where numbers are declared."""
    doubtful = [i for i, expr in enumerate(typed) if expr.bad != "false"]
    for part in in_parts(doubtful) if doubtful else ():
        asked = ", ".join(f"count(*) FILTER ({typed[i].bad})" for i in part)
        # All is fetched: a result that is not finished would stand in the way of the next table.
        (counts,) = connection.execute(f"SELECT {asked} FROM {raw_name(source.party)}").fetchall()
        for i, bad in zip(part, counts, strict=True):
            if bad:
                _refuse_value(connection, source, columns[i], typed[i], f"c{i}", bad)


def _refuse_value(
    connection: duckdb.DuckDBPyConnection,
    source: OpenedSource,
    column: ColumnJson,
    typed: Expression,
    name: str,
    bad: int,
) -> None:
    party = source.party
    ((row, key, value),) = connection.execute(
        f"SELECT rowid + 1, key, CAST({name} AS VARCHAR) FROM {raw_name(party)} "
        f"WHERE {typed.bad} ORDER BY rowid LIMIT 1"
    ).fetchall()
    raise Failure(
        "VFL0603",
        f"column {name_in_table(column)} of {party} is declared {column['type']}, but row {row} "
        f"(key {shown(readable(key))}) holds {shown(value)}; {in_rows(bad)} in all",
        about_value(column, name_in_table(column), value, source.server is not None),
        column.get("where"),
    )


def in_rows(count: int) -> str:
    return "one row" if count == 1 else f"{count} rows"


def shown(value: object) -> str:
    """A value of the data as messages show it: in quotes, so that blanks are seen, and not too long.

    What does not show is written out: two keys that look alike are not to look the same here.
    """
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))
    return literal(text if len(text) <= 40 else text[:39] + "…")
