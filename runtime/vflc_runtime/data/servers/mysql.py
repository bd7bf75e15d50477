"""MySQL and MariaDB, through PyMySQL: rows as they come, turned into Arrow some thousand at a time."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vflc_runtime.data.servers.receive import DECIMAL, JSON, MEANT, ChooseColumns
from vflc_runtime.data.servers.said import broken, no_driver, unreached
from vflc_runtime.data.servers.url import ServerTable, identifier
from vflc_runtime.errors import Failure

CONNECT = 30
"""Seconds that connecting may take."""
ROWS, BYTES = 16_384, 16 << 20
"""Of a batch, whichever is reached first."""
_INTEGERS, _LONG = (1, 2, 3, 9, 13), 8
_REALS, _DECIMALS, _JSON = (4, 5), (0, 246), 245
_MOMENT, _DAY, _DAYTIME, _TIME = 7, (10, 14), 12, 11
_BYTES = (16, 242, 255)
"""Bits, vectors and shapes."""
_BINARY = 63
"""The character set of what is no text."""
_UNSIGNED = 32
_NO_DAY = "^0000|-00"
"""A day that is none, as MySQL writes it where one is missing."""
MakeArray = Callable[[Sequence[Any]], pa.Array]
"""Makes an array of a column's values [rows]: texts as the server wrote them, or bytes."""


def read(
    server: ServerTable, party: str, shown: str, choose: ChooseColumns, limit: int | None
) -> Iterator[pa.RecordBatch]:
    """See `receive.DRIVERS`."""
    try:
        import pymysql
    except ImportError:
        raise no_driver(party, "PyMySQL", "mysql") from None
    try:
        connection = pymysql.connect(**_settings(server, os.environ))
    except Exception as error:  # what is no server of MySQL makes the driver fail in many ways
        raise unreached(party, shown, _said(error), "MYSQL_PWD") from None
    try:
        yield from _rows(connection, server, choose, limit)
    except Failure:
        raise
    except Exception as error:
        raise broken(party, shown, _said(error)) from None
    finally:
        with suppress(Exception):
            connection.close()


def _settings(server: ServerTable, environment: Mapping[str, str]) -> dict[str, Any]:
    """How to connect: encrypted, to who can prove its name, unless the server is on this machine.

    VFLC_MYSQL_CA names a file of authorities; VFLC_MYSQL_TLS=off does without.
    """
    from pymysql.converters import encoders
    from pymysql.cursors import SSCursor

    told: dict[str, Any] = {
        "host": server.host.strip("[]") or "localhost",
        "port": server.port or 3306,
        "user": server.user,
        "password": environment.get("MYSQL_PWD", ""),
        "database": server.database or None,
        "charset": "utf8mb4",
        "connect_timeout": CONNECT,
        "cursorclass": SSCursor,
        "conv": encoders,  # values stay as they are written
        "local_infile": False,
        "program_name": "vflc",
    }
    if not server.host:
        told["unix_socket"] = environment.get("MYSQL_UNIX_PORT") or "/run/mysqld/mysqld.sock"
    authorities = environment.get("VFLC_MYSQL_CA")
    if authorities or not (server.local or environment.get("VFLC_MYSQL_TLS") == "off"):
        told["ssl"] = ssl.create_default_context(cafile=authorities or None)
    return told


def _rows(
    connection: Any, server: ServerTable, choose: ChooseColumns, limit: int | None
) -> Iterator[pa.RecordBatch]:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00'")
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        cursor.execute(server.select("*", "`", 0))
        names = [column[0] for column in cursor.description]
        cursor.fetchall()
    chosen = choose(names)
    if server.query and limit is None:  # within another SELECT it would lose its ORDER BY
        statement, places = server.query, [names.index(name) for name in chosen]
    else:
        picks = ", ".join(identifier(name, "`") for name in chosen)
        statement, places = server.select(picks, "`", limit), [*range(len(chosen))]
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        # What tells text from bytes is not in the description that Python's standard asks for.
        described = [column(cursor._result.fields[at]) for at in places]
        schema = pa.schema([field.with_name(f"c{i}") for i, (field, _) in enumerate(described)])
        yield pa.RecordBatch.from_pylist([], schema=schema)
        for rows in _batches(cursor):
            values = [*zip(*rows, strict=True)]
            arrays = [make(values[at]) for at, (_, make) in zip(places, described, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
    finally:  # the cursor would read all rows that are still to come
        if cursor._result is not None:
            cursor._result.unbuffered_active = False
        cursor.connection = None


def _batches(cursor: Any) -> Iterator[list[Sequence[Any]]]:
    rows, size = list[Sequence[Any]](), 0
    while (row := cursor.fetchone()) is not None:
        rows.append(row)
        size += sum(len(value) for value in row if value is not None)
        if len(rows) == ROWS or size > BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def column(described: Any) -> tuple[pa.Field, MakeArray]:
    """The type of a column, as the server described it, and what makes it of values."""
    code = described.type_code
    binary = described.charsetnr == _BINARY
    if code in _INTEGERS or code == _LONG:
        unsigned = code == _LONG and described.flags & _UNSIGNED
        return _cast(pa.uint64() if unsigned else pa.int64())
    if code in _REALS:
        return _cast(pa.float64())
    if code in _DECIMALS:
        return pa.field("", pa.string(), metadata={MEANT: DECIMAL}), _texts
    if code == _JSON:
        return pa.field("", pa.string(), metadata={MEANT: JSON}), _texts
    if code in _DAY:
        return _cast(pa.date32())
    if code == _DAYTIME:
        return _cast(pa.timestamp("us"))
    if code == _MOMENT:
        moment = pa.timestamp("us", "UTC")
        return pa.field("", moment), lambda values: _cast(pa.timestamp("us"))[1](values).view(moment)
    if code == _TIME:  # up to 838 hours, so no time of a day
        return pa.field("", pa.string()), _times
    if code in _BYTES or (binary and code >= 247) or (binary and code == 15):
        return pa.field("", pa.binary()), lambda values: pa.array(values, pa.binary())
    return pa.field("", pa.string()), _texts


def _texts(values: Sequence[Any]) -> pa.Array:
    return pa.array(values, pa.string())


def _times(values: Sequence[Any]) -> pa.Array:
    """Without zeros at the end of a fraction: a time has one text."""
    return pc.replace_substring_regex(_texts(values), r"\.0+$|(\.[0-9]*[1-9])0+$", r"\1")


def _cast(type: pa.DataType) -> tuple[pa.Field, MakeArray]:
    def make(values: Sequence[Any]) -> pa.Array:
        texts = _texts(values)
        if pa.types.is_temporal(type):
            none = pc.match_substring_regex(texts, _NO_DAY)
            texts = pc.if_else(none, pa.scalar(None, pa.string()), texts)
        return texts.cast(type)

    return pa.field("", type), make


def _said(error: Exception) -> object:
    return error.args[1] if len(error.args) > 1 else error
