"""Arrow Flight SQL, through pyarrow's own client: a statement is sent, its streams are read in order.

Of the protocol a SELECT needs two messages: Any { type_url = 1, value = 2 } around
CommandStatementQuery { query = 1 }.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vflc_runtime.data.servers.receive import DECIMAL, JSON, MEANT, ChooseColumns
from vflc_runtime.data.servers.said import broken, no_driver, unreached
from vflc_runtime.data.servers.url import ServerTable, identifier, wrong

LARGEST = 256 << 20
"""Bytes that one message of a server may have."""
STATEMENT = "type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
SAME = ("arrow-flight-reuse-connection://?", "arrow-flight-reuse-connection://")
"""Where a server says that the rows are: where it is itself."""


def read(
    server: ServerTable, party: str, shown: str, choose: ChooseColumns, limit: int | None
) -> Iterator[pa.RecordBatch]:
    """See `receive.DRIVERS`."""
    try:
        from pyarrow import flight
    except ImportError:
        raise no_driver(party, "pyarrow with Flight", "all") from None
    if server.scheme == "grpc" and not server.local:
        raise wrong(party, "grpc:// is not encrypted", "use grpc+tls://; grpc:// is for this machine alone")
    failures = (flight.FlightError, pa.ArrowException, OSError)
    try:
        client, options = _connect(flight, server, os.environ)
    except failures as error:
        raise unreached(party, shown, error, "VFLC_FLIGHT_PASSWORD or VFLC_FLIGHT_TOKEN") from None
    try:
        yield from _rows(flight, client, options, server, choose, limit)
    except (
        flight.FlightUnauthenticatedError,
        flight.FlightUnauthorizedError,
        flight.FlightUnavailableError,
    ) as error:
        raise unreached(party, shown, error, "VFLC_FLIGHT_PASSWORD or VFLC_FLIGHT_TOKEN") from None
    except failures as error:
        raise broken(party, shown, error) from None
    finally:
        with suppress(Exception):
            client.close()


def _connect(flight: Any, server: ServerTable, environment: Mapping[str, str]) -> tuple[Any, Any]:
    """A client, and options with the credentials: a token, or one that a user and password are good for."""
    told: dict[str, Any] = {"generic_options": [("grpc.max_receive_message_length", LARGEST)]}
    if authorities := environment.get("VFLC_FLIGHT_CA"):
        with open(authorities, "rb") as stream:  # noqa: PTH123
            told["tls_root_certs"] = stream.read()
    tls = server.scheme == "grpc+tls"
    location = f"grpc+{'tls' if tls else 'tcp'}://{server.host}:{server.port or (443 if tls else 31337)}"
    client = flight.FlightClient(location, **told)
    token, header = environment.get("VFLC_FLIGHT_TOKEN"), None
    if token:
        header = (b"authorization", b"Bearer " + token.encode())
    elif server.user is not None:
        header = client.authenticate_basic_token(server.user, environment.get("VFLC_FLIGHT_PASSWORD", ""))
    headers = [each for each in (header, (b"database", server.database.encode())) if each and each[1]]
    return client, flight.FlightCallOptions(headers=headers)


def _rows(
    flight: Any, client: Any, options: Any, server: ServerTable, choose: ChooseColumns, limit: int | None
) -> Iterator[pa.RecordBatch]:
    _, names, _ = _stream(flight, client, options, server.select("*", '"', 0))
    picks = choose(names)
    query = server.select(", ".join(identifier(name, '"') for name in picks), '"', limit)
    schema, found, batches = _stream(flight, client, options, query)
    if len(found) != len(picks):
        raise pa.ArrowInvalid(f"asked for {len(picks)} columns, the server gives {len(found)}")
    fields = [_field(f"c{i}", field) for i, field in enumerate(schema)]
    plain = pa.schema(fields)
    yield pa.RecordBatch.from_pylist([], schema=plain)
    for batch in batches:
        if batch.schema.types != schema.types:
            raise pa.ArrowInvalid("the server changes the types of columns")
        arrays = [_array(each, field) for each, field in zip(batch.columns, fields, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=plain)


def _stream(
    flight: Any, client: Any, options: Any, query: str
) -> tuple[pa.Schema, list[str], Iterator[pa.RecordBatch]]:
    """The answer to a query: its schema, names of columns, and batches, of all endpoints in turn."""
    info = client.get_flight_info(flight.FlightDescriptor.for_command(command(query)), options)
    if not info.endpoints:
        raise pa.ArrowInvalid("the server names no place where the rows are")
    for endpoint in info.endpoints:
        elsewhere = [each.uri.decode() for each in endpoint.locations if each.uri.decode() not in SAME]
        if elsewhere:  # credentials go to the server that was named, and to no other
            raise pa.ArrowInvalid(f"the server sends the reader elsewhere: {elsewhere[0]}")
    readers = (client.do_get(endpoint.ticket, options) for endpoint in info.endpoints)
    first = next(readers)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from (chunk.data for chunk in first)
        for reader in readers:
            yield from (chunk.data for chunk in reader)

    return first.schema, first.schema.names, batches()


def command(query: str) -> bytes:
    """A SELECT as Flight SQL asks for it."""
    return _text(1, STATEMENT.encode()) + _text(2, _text(1, query.encode()))


def _text(number: int, value: bytes) -> bytes:
    """A field of Protocol Buffers whose value is a text, bytes or a message."""
    length, size = b"", len(value)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def _field(name: str, field: pa.Field) -> pa.Field:
    """A column's type without what extends Arrow's own, and without decimals that only Arrow has."""
    json = (field.metadata or {}).get(b"ARROW:extension:name") == b"arrow.json"
    type = field.type
    if isinstance(type, pa.BaseExtensionType):
        json, type = json or type.extension_name == "arrow.json", type.storage_type
    if pa.types.is_decimal256(type):
        return pa.field(name, pa.string(), metadata={MEANT: DECIMAL})
    if pa.types.is_float16(type):
        return pa.field(name, pa.float32())
    return pa.field(name, type, metadata={MEANT: JSON} if json else None)


def _array(array: pa.Array, field: pa.Field) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array if array.type == field.type else pc.cast(array, field.type)
