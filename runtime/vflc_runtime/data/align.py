"""Brings the parties' tables to the same rows in the same order: an inner join by key.

Keys are compared as text and sorted by their bytes, so every party finds the same order from the
keys alone. DuckDB sorts and joins, and spills where memory ends; what comes out streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
from vflc_common.keys import has_many, key_columns, key_part, may_lack

from vflc_runtime.data.aligned import Aligned, part_name
from vflc_runtime.data.keys import key_part as part_of
from vflc_runtime.data.keys import key_text, readable, wanted_keys
from vflc_runtime.data.read import connect, counted, look, open_sources
from vflc_runtime.data.source import TableSource, unreadable
from vflc_runtime.data.table import (
    WIDTH,
    in_parts,
    raw_name,
    read_table,
    shown,
    typed_column,
    wanted_of,
)
from vflc_runtime.data.values import Expression
from vflc_runtime.errors import Failure
from vflc_runtime.memory import for_tables, half_of_memory
from vflc_runtime.scratch import ScratchFolder, scratch_folder


def open_tables(
    parties: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, TableSource],
    memory_limit: int | None = None,
) -> Aligned:
    """Reads and aligns the tables of all `parties`.

    Args:
        parties: of each party its `key`, `where` and the `columns` to read, as in encoders.json:
            `name`, `type` ("string", "int" or "float") and `where`. The table of a `population`
            has many rows a key, which keep their order.
        given: of each party its source.
        memory_limit: bytes DuckDB may hold before it spills; None is what is due to so many columns, and
            half of the machine's memory where that does not do.

    Raises:
        Failure: VFL0601, 0602, 0603, 0605, 0606, 0607, 0612, 0616.
    """
    due = memory_limit or for_tables(sum(len(info["columns"]) + 1 for info in parties.values()))
    try:
        return _opened(parties, given, due)
    except Failure as failure:  # long texts take more than columns of numbers
        if failure.code != "VFL0612" or memory_limit is not None or due >= half_of_memory():
            raise
    return _opened(parties, given, half_of_memory())


def _opened(
    parties: Mapping[str, Mapping[str, Any]], given: Mapping[str, TableSource], memory_limit: int
) -> Aligned:
    temporary = ScratchFolder()
    connection = connect(memory_limit, str(temporary.path))
    try:
        opened = open_sources(connection, {party: given[party] for party in parties})
        read = {party: read_table(connection, info, opened[party]) for party, info in parties.items()}
        join_keys(connection, list(parties), parties)
        for party, info in parties.items():
            joined = _joined_by(info) if len(parties) > 1 else ""
            _sort(connection, party, read[party].columns, joined, _repeats(info))
    except duckdb.Error as error:
        connection.close()
        temporary.close()
        raise unreadable(", ".join(parties), "the tables", error) from None
    except BaseException:
        connection.close()
        temporary.close()
        raise
    names = {p: [c["name"] for c in info["columns"]] for p, info in parties.items()}
    types = {p: table.key_types for p, table in read.items()}
    many = next((party for party, info in parties.items() if has_many(info)), None)
    missing = tuple(sorted(party for party, info in parties.items() if may_lack(info)))
    parts = {party: part for party, info in parties.items() if (part := key_part(info)) is not None}
    parts = parts if len(parties) > 1 else {}
    rows = {party: table.rows for party, table in read.items()}
    return Aligned(rows, many, missing, parts, names, types, connection, temporary)


def _repeats(info: Mapping[str, Any]) -> bool:
    """Whether a party's table may have a key in several rows."""
    return bool(info.get("population")) or has_many(info)


def look_at_tables(parties: Mapping[str, Mapping[str, Any]], given: Mapping[str, TableSource]) -> None:
    """Whether the tables are there, with the columns and the types of columns that `open_tables` reads.

    Reads no more than their first rows: what is in the others only reading tells.

    Raises:
        Failure: VFL0601, 0602, 0603, 0607, and those of a key that cannot be compared.
    """
    with scratch_folder() as folder:
        connection = connect(half_of_memory(), str(folder))
        try:
            opened = open_sources(connection, {party: given[party] for party in parties}, sample=True)
            for party, info in parties.items():
                types, keys = look(connection, opened[party], wanted_of(info)), wanted_keys(info)
                key_text(types[-len(keys) :], ["c"] * len(keys), opened[party], keys)
                for column, type in zip(info["columns"], types, strict=False):
                    typed_column(column, type, "c", opened[party])
        finally:
            connection.close()


def join_keys(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], parties: Mapping[str, Mapping[str, Any]]
) -> int:
    """Makes the table of common keys; gives their number. VFL0606 where there is none."""
    if len(names) == 1:
        return counted(connection, f"SELECT count(DISTINCT key) FROM {raw_name(names[0])}")
    parts = {name: key_part(parties[name]) for name in names}
    whole = [name for name in names if not may_lack(parties[name])]
    first = next(name for name in whole if parts[name] is None)
    has = {name: f"{_own_key('key', parts[name])} IN (SELECT key FROM {raw_name(name)})" for name in names}
    others = " AND ".join(has[name] for name in whole if name != first) or "true"
    missing = sorted(name for name in names if may_lack(parties[name]))
    lacks = " + ".join(
        f"CASE WHEN {has[name]} THEN 0 ELSE {1 << bit} END" for bit, name in enumerate(missing)
    )
    query = (
        f"SELECT key, {lacks or 0} AS lacks FROM (SELECT DISTINCT key FROM {raw_name(first)}) WHERE {others}"
    )
    connection.execute(f"CREATE TABLE common AS {query}")
    rows = counted(connection, "SELECT count(*) FROM common")
    for bit, name in enumerate(missing):
        if rows and not counted(connection, f"SELECT count(*) FROM common WHERE lacks & {1 << bit} = 0"):
            names, rows = [first, name], 0
    if not rows:
        examples = []
        for name in names:
            ((key,),) = connection.execute(f"SELECT min(key) FROM {raw_name(name)}").fetchall()
            examples.append(f"{name}.{', '.join(key_columns(parties[name]))} has {shown(readable(key))}")
        raise Failure(
            "VFL0606",
            f"the tables have no key in common: {', '.join(examples)}",
            "use the same keys for the same rows at every party; keys are compared as text",
            parties[names[0]].get("where"),
        )
    return rows


_COMMON = "JOIN common USING (key)"


def _joined_by(info: Mapping[str, Any]) -> str:
    """SQL that leaves of a party's rows those that joined rows have."""
    part = key_part(info)
    if part is None:
        return _COMMON
    return f"SEMI JOIN (SELECT {part_of('key', part)} AS key FROM common) USING (key)"


def _own_key(key: str, part: Sequence[int] | None) -> str:
    """SQL for a party's key, from the text of the joined rows'."""
    return key if part is None else part_of(key, part)


def _sort(
    connection: duckdb.DuckDBPyConnection,
    party: str,
    columns: Sequence[Expression],
    joined: str,
    repeated: bool,
) -> None:
    """Makes the tables of a party's aligned rows, some columns at a time: thousands in one query take
    gigabytes, however few the rows."""
    raw = raw_name(party)
    whole = joined == _COMMON
    order = ("lacks, " if whole else "") + ("key, number" if repeated else "key")
    for number, part in enumerate(in_parts(columns)):
        picks = "".join(f", {expr.value} AS c{number * WIDTH + i}" for i, expr in enumerate(part))
        if number == 0:
            gone = " EXCLUDE (lacks)" if whole else ""
            read = f"(SELECT key{picks}, rowid AS number FROM {raw})"
            query = f"SELECT *{gone} FROM {read} {joined} ORDER BY {order}"
        else:
            query = (
                f"SELECT * EXCLUDE (place) FROM (SELECT s.rowid AS place{picks} FROM {part_name(party, 0)} s "
                f"JOIN {raw} r ON r.rowid = s.number) ORDER BY place"
            )
        connection.execute(f"CREATE TABLE {part_name(party, number)} AS {query}")
    connection.execute(f"DROP TABLE {raw}")
