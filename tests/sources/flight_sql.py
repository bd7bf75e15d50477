"""A small Flight SQL server: a SELECT is run by DuckDB. And what a hostile one does."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
from pyarrow import flight
from sources.servers import OWNER, PASSWORD


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message of Protocol Buffers, all of which are of the kind that has a length."""
    at = 0

    def number() -> int:
        nonlocal at
        found = shift = 0
        while True:
            byte = message[at]
            at += 1
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
            shift += 7

    while at < len(message):
        tag, size = number(), number()
        assert tag & 7 == 2, "a field with a length"
        yield tag >> 3, message[at : at + size]
        at += size


class Login(flight.ServerMiddlewareFactory):
    """Lets in who has the password, or the token that it is good for."""

    TOKEN = "Bearer a token"

    def start_call(self, info: Any, headers: Any) -> Any:
        given = headers.get("authorization", [""])[0]
        basic = "Basic " + base64.b64encode(f"{OWNER}:{PASSWORD}".encode()).decode()
        if given.rstrip("=") not in (basic.rstrip("="), self.TOKEN):
            raise flight.FlightUnauthenticatedError("who are you?\x1b[31m" + given)
        return Answer()


class Answer(flight.ServerMiddleware):
    def sending_headers(self) -> dict[str, str]:
        return {"authorization": Login.TOKEN}


class NoHandshake(flight.ServerAuthHandler):
    """The header is checked by `Login`."""

    def authenticate(self, outgoing: Any, incoming: Any) -> None: ...

    def is_valid(self, token: Any) -> str:
        return ""


class FlightSql(flight.FlightServerBase):
    """Serves the tables of a DuckDB connection on loopback.

    Args:
        rows: made under these names.
        elsewhere: where it says that the rows are.
        endless: whether it never ends.
    """

    def __init__(self, elsewhere: str | None = None, endless: bool = False, **rows: pa.Table) -> None:
        super().__init__("grpc://127.0.0.1:0", middleware={"login": Login()}, auth_handler=NoHandshake())
        self.connection = duckdb.connect(":memory:")
        for name, table in rows.items():
            self.connection.register(f"given {name}", table)
            self.connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM "given {name}"')
        self.elsewhere, self.endless, self.seen = elsewhere, endless, list[str]()

    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        (_, kind), (_, inner) = fields(descriptor.command)
        assert kind == b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
        ((number, query),) = fields(inner)
        assert number == 1
        schema = self._run(query.decode()).schema
        places = [self.elsewhere] if self.elsewhere else []
        endpoint = flight.FlightEndpoint(query, places)
        return flight.FlightInfo(schema, descriptor, [endpoint], -1, -1)

    def do_get(self, context: Any, ticket: Any) -> Any:
        table = self._run(ticket.ticket.decode())
        if self.endless and table.num_rows:
            batch = table.to_batches()[0]
            return flight.GeneratorStream(table.schema, iter(lambda: batch, None))
        return flight.RecordBatchStream(table)

    def _run(self, query: str) -> pa.Table:
        self.seen.append(query)
        cursor = self.connection.cursor()
        try:
            return cursor.sql(query).to_arrow_table()
        except duckdb.Error as error:
            raise flight.FlightServerError(str(error)) from None
