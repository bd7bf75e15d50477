"""Flight SQL, from a server of pyarrow's in this process, which ADBC's client understands, too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal

import pyarrow as pa
import pytest
from sources.flight_sql import FlightSql, fields
from sources.reading import read, refused, table
from sources.servers import OWNER, PASSWORD
from vflc_runtime.data.servers.flight import STATEMENT, command

ROWS = pa.table(
    {
        "ID": [f"k{i}" for i in range(300)],
        "n": pa.array(range(300), pa.int32()).dictionary_encode(),
        "d": pa.array([Decimal("1.50")] * 300, pa.decimal128(10, 2)),
    }
)


@pytest.fixture(scope="module")
def server() -> Iterator[FlightSql]:
    with FlightSql(rows=ROWS) as running:
        yield running


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFLC_FLIGHT_PASSWORD", PASSWORD)


def url(server: FlightSql, rest: str, user: str = f"{OWNER}@") -> str:
    return f"grpc://{user}127.0.0.1:{server.port}/?{rest}"


def test_a_table_and_a_query(server):
    keys, number, decimal = table(url(server, "table=main.rows"), "ID", n="int", d="string")
    assert dict(zip(keys, number, strict=True)) == {f"k{i}": i for i in range(300)} and set(decimal) == {
        "1.5"
    }
    assert read(url(server, "query=SELECT 1 + n AS m FROM rows WHERE n < 2 ORDER BY n"), "m")[1] == [
        (1,),
        (2,),
    ]
    assert server.seen[-1].startswith('SELECT "m" FROM (\nSELECT 1 + n')
    refused("VFL0602", url(server, "table=rows"), "N")
    refused("VFL0607", url(server, "query=SELECT 1 AS a WHERE 1 = 0"), "a")
    refused("VFL0698", url(server, "query=SELECT * FROM nowhere"))


def test_who_cannot_be_reached(server, monkeypatch):
    refused("VFL0697", "grpc://127.0.0.1:1/?table=t")
    assert PASSWORD not in refused("VFL0697", url(server, "table=rows", "stranger@")).message
    refused("VFL0697", url(server, "table=rows", ""))
    monkeypatch.setenv("VFLC_FLIGHT_TOKEN", "a token")
    assert len(read(url(server, "table=rows", ""), "ID")[1]) == 300
    monkeypatch.setenv("VFLC_FLIGHT_TOKEN", "another secret")
    assert "another secret" not in refused("VFL0697", url(server, "table=rows", "")).message


def test_a_server_that_sends_its_reader_elsewhere():
    with FlightSql(elsewhere="grpc://127.0.0.1:9", rows=ROWS) as running:
        assert "elsewhere" in refused("VFL0698", url(running, "table=rows")).message
    with FlightSql(elsewhere="arrow-flight-reuse-connection://?", rows=ROWS) as running:
        assert len(read(url(running, "table=rows"), "ID")[1]) == 300


def test_a_server_that_never_ends(monkeypatch):
    monkeypatch.setenv("VFLC_SOURCE_GIB", "0.01")
    began = time.monotonic()
    with FlightSql(endless=True, rows=ROWS) as running:
        refused("VFL0699", url(running, "table=rows"))
    assert time.monotonic() - began < 30


def test_a_statement_is_what_the_protocol_says():
    for query in ("", "SELECT 1", "x" * 127, "é" * 20_000):
        (_, kind), (_, inner) = fields(command(query))
        assert kind.decode() == STATEMENT and [*fields(inner)] == [(1, query.encode())]
