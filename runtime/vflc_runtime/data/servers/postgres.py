"""PostgreSQL, through ADBC: one read-only transaction that sees one state of the database."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa

from vflc_runtime.data.servers.receive import DECIMAL, JSON, MEANT, ChooseColumns
from vflc_runtime.data.servers.said import broken, no_driver, unreached
from vflc_runtime.data.servers.url import ServerTable, identifier

CONNECT = 30
"""Seconds that connecting may take."""
PLAIN = {
    "bool", "int2", "int4", "int8", "float4", "float8",
    "text", "varchar", "name", "time", "interval", "bytea",
    "_bool", "_int2", "_int4", "_int8", "_float4", "_float8", "_text", "_varchar",
    "_date", "_timestamp", "_timestamptz",
}  # fmt: skip
"""Types whose columns are asked for as they are."""
CASTS = {
    **dict.fromkeys(PLAIN, "{0}"),
    **dict.fromkeys(("date", "timestamp", "timestamptz"), "CASE WHEN isfinite({0}) THEN {0} END"),
    "inet": "abbrev({0})",
    "oid": "CAST({0} AS int8)",
    "money": "CAST(CAST({0} AS numeric) AS text)",
    "_numeric": "CAST({0} AS float8[])",
}
"""How a column of a type is asked for; one of any other type as PostgreSQL's own text of it."""
_TEXT = "CAST({0} AS text)"
_MEANT = {"numeric": DECIMAL, "money": DECIMAL, "json": JSON, "jsonb": JSON}


def read(
    server: ServerTable, party: str, shown: str, choose: ChooseColumns, limit: int | None
) -> Iterator[pa.RecordBatch]:
    """See `receive.DRIVERS`."""
    try:
        import adbc_driver_manager
        from adbc_driver_postgresql import dbapi
    except ImportError:
        raise no_driver(party, "adbc-driver-postgresql", "postgres") from None
    try:
        connection = dbapi.connect(conninfo(server, os.environ))
    except adbc_driver_manager.Error as error:
        raise unreached(party, shown, _said(error), "PGPASSWORD, or a file that PGPASSFILE names") from None
    try:
        with connection.cursor() as cursor:
            yield from _rows(cursor, server, choose, limit)
    except KeyError:
        raise no_driver(party, "adbc-driver-postgresql, 1.13 or later", "postgres") from None
    except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
        raise broken(party, shown, _said(error)) from None
    finally:
        with suppress(Exception):  # what is lost is lost: nothing was written
            connection.close()


def conninfo(server: ServerTable, environment: Mapping[str, str]) -> str:
    """What libpq is told: what the URL says, and an encrypted link to who can prove its name.

    PGSSLMODE and PGSSLROOTCERT say otherwise where they are set; libpq reads PGPASSWORD itself.
    """
    told: dict[str, object] = {
        "host": server.host.strip("[]"),
        "port": server.port,
        "user": server.user,
        "dbname": server.database,
        "connect_timeout": CONNECT,
        "keepalives_idle": 60,
        "application_name": "vflc",
    }
    if not server.local and not environment.get("PGSSLMODE"):
        told["sslmode"] = "verify-full"
        if not environment.get("PGSSLROOTCERT"):
            told["sslrootcert"] = ssl.get_default_verify_paths().cafile or "system"
    return " ".join(f"{name}={_quoted(str(value))}" for name, value in told.items() if value)


def _rows(
    cursor: Any, server: ServerTable, choose: ChooseColumns, limit: int | None
) -> Iterator[pa.RecordBatch]:
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    cursor.execute("SET LOCAL TimeZone = 'UTC'")
    schema = _answer(cursor, server.select("*", '"', 0)).schema
    picks, meant = [], []
    for name in choose(schema.names):
        type = (schema.field(name).metadata or {})[b"POSTGRESQL:type"].decode()
        picks.append(CASTS.get(type, _TEXT).format(identifier(name, '"')))
        meant.append(_MEANT.get(type))
    answer = _answer(cursor, server.select(", ".join(picks), '"', limit))
    fields = [
        pa.field(f"c{i}", field.type, metadata={MEANT: what} if what else None)
        for i, (field, what) in enumerate(zip(answer.schema, meant, strict=True))
    ]
    schema = pa.schema(fields)
    yield pa.RecordBatch.from_pylist([], schema=schema)
    for batch in answer:
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _answer(cursor: Any, query: str) -> pa.RecordBatchReader:
    cursor.execute(query)
    return cursor.fetch_record_batch()


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _said(error: Exception) -> str:
    """The server's words, without ours that ADBC adds to them."""
    return (
        str(error).partition("\nQuery was:")[0].partition("[libpq]")[2] or str(error).partition("\nQuery")[0]
    )
