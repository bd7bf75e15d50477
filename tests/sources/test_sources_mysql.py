"""A real MariaDB: its types, one state of a table, and everything that can go wrong with it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from ports import free_ports
from sources.reading import read, refused, table
from sources.servers import OWNER, PASSWORD, Running, mariadb
from transport.wiring import certificates

COLUMNS = {
    "a": ("tinyint", "-1", "string", "-1"),
    "b": ("bigint unsigned", "18446744073709551615", "string", "18446744073709551615"),
    "c": ("decimal(20, 4)", "1.5", "string", "1.5"),
    "d": (
        "decimal(65, 30)",
        "12345678901234567890123456789012345",
        "string",
        "12345678901234567890123456789012345",
    ),
    "e": ("double", "1e300", "float", 1e300),
    "f": ("float", "1.5", "string", "1.5"),
    "g": ("date", "'2024-01-31'", "string", "2024-01-31"),
    "h": ("datetime(3)", "'2024-01-31 08:00:00.5'", "string", "2024-01-31 08:00:00.5"),
    "i": ("timestamp NULL", "'2024-01-31 08:00:00'", "string", "2024-01-31 08:00:00+00"),
    "u": ("time", "'08:00:00'", "string", "08:00:00"),
    "v": ("time(3)", "'08:10:00.000'", "string", "08:10:00"),
    "j": ("time(2)", "'-100:00:00.50'", "string", "-100:00:00.5"),
    "k": ("year", "2024", "int", 2024),
    "l": ("text", "'e\u0301 😀'", "string", "\u00e9 😀"),
    "m": ("enum('x', 'y')", "'x'", "string", "x"),
    "n": ("set('p', 'q')", "'p,q'", "string", "p,q"),
    "o": ("bool", "true", "int", 1),
    "p": ("json", "'[1, 2]'", "vector(2)", [1.0, 2.0]),
    "q": ("date", "'0000-00-00'", "string", None),
    "r": ("datetime", "'2024-00-00 00:00:00'", "string", None),
    "s": ("char(5)", "'ab'", "string", "ab"),
    "t": ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "string", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
}
"""By name: the type, a value, how it is declared, what it becomes. In another row all are missing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with mariadb() as running:
        columns = ", ".join(f"{name} {type} NULL" for name, (type, *_) in COLUMNS.items())
        values = ", ".join(value for _, value, *_ in COLUMNS.values())
        nulls = ", ".join(["NULL"] * len(COLUMNS))
        running.run(
            f"USE shop; SET sql_mode = '', time_zone = '+00:00'; CREATE TABLE kinds (id int, {columns});"
            f"INSERT INTO kinds VALUES (1, {values}), (2, {nulls});"
            "CREATE TABLE bytes (k int, b blob, c binary(2), d bit(3));"
            "INSERT INTO bytes VALUES (1, 'a', 'a', 1);"
            'CREATE TABLE `odd ``x` (k int, `a`` "b` int); INSERT INTO `odd ``x` VALUES (1, 2);'
            "CREATE TABLE rows_ AS SELECT seq AS ID, seq / 2 AS half FROM seq_1_to_40000"
        )
        yield running


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_PWD", PASSWORD)


def url(server: Running, rest: str, user: str = OWNER) -> str:
    return f"mysql://{user}@127.0.0.1:{server.port}/shop?{rest}"


def test_one_value_has_one_text(server):
    columns = {name: declared for name, (*_, declared, _) in COLUMNS.items()}
    keys, *found = table(url(server, "table=kinds"), "id", **columns)
    assert keys == ["1", "2"]
    assert {name: tuple(each) for name, each in zip(COLUMNS, found, strict=True)} == {
        name: (value, None) for name, (*_, value) in COLUMNS.items()
    }


def test_bytes_have_no_text(server):
    for name in "bcd":
        with pytest.raises(Exception, match="VFL0603"):
            table(url(server, "table=bytes"), "k", **{name: "string"})


def test_a_table_is_read_in_order_and_only_its_wanted_columns(server):
    _, rows = read(url(server, "table=shop.rows_"), "half", "ID")
    assert len(rows) == 40_000 and rows[:2] == [("0.5", 1), ("1", 2)]
    assert [row[1] for row in rows] == [*range(1, 40_001)]
    assert read(url(server, "table=odd `x"), 'a` "b')[1] == [(2,)]
    refused("VFL0607", url(server, "query=SELECT 1 AS a FROM kinds WHERE id = 9"), "a")
    refused("VFL0602", url(server, "table=kinds"), "ID")


def test_a_query_reads_and_changes_nothing(server, tmp_path):
    assert read(url(server, "query=SELECT id AS a FROM kinds ORDER BY id DESC -- so"), "a")[1] == [(2,), (1,)]
    out = tmp_path / "out"
    for query in (
        "SELECT 1 AS a; DELETE FROM kinds",
        f"SELECT 1 AS a INTO OUTFILE '{out}'",
        "SELECT 1 AS a) AS q; DELETE FROM kinds; SELECT * FROM (SELECT 1 AS a",
        "SELECT 1 AS a /*",
        "SELECT nextval(nowhere) AS a",
        "SELECT a FROM nowhere",
        "SELECT 1 AS a, 2 AS a",
    ):
        refused("VFL0698", url(server, f"query={query}"), "a")
    assert not out.exists() and server.run("SELECT count(*) FROM shop.kinds") == "2\n"


def test_who_cannot_be_reached(server, monkeypatch):
    assert "MYSQL_PWD" in refused("VFL0697", url(server, "table=kinds", "stranger")).help
    refused("VFL0697", "mysql://nowhere.invalid/d?table=t")
    refused("VFL0697", "mysql://127.0.0.1:1/d?table=t")
    refused("VFL0697", f"mysql://{OWNER}@127.0.0.1:{server.port}/nowhere?table=t")
    monkeypatch.setenv("VFLC_MYSQL_CA", "/nowhere.pem")
    refused("VFL0697", url(server, "table=kinds"))


def test_a_link_that_must_be_encrypted_is_never_plain(server, monkeypatch, tmp_path):
    monkeypatch.setenv("VFLC_MYSQL_CA", str(certificates(tmp_path, "server")["server"].authority))
    assert "SSL" in refused("VFL0697", url(server, "table=kinds")).message


def test_rows_without_end_and_a_server_that_ends(server, monkeypatch):
    monkeypatch.setenv("VFLC_SOURCE_GIB", "0.02")
    endless = "query=SELECT a.ID AS a, repeat('x', 1000) AS b FROM rows_ a, rows_ b"
    refused("VFL0699", url(server, endless), "a", "b")
    monkeypatch.delenv("VFLC_SOURCE_GIB")
    slow = "query=SELECT a.ID AS a, repeat('x', 5000) AS b, sleep(0.0001) FROM rows_ a, rows_ b"

    def end() -> None:
        with suppress(AssertionError):  # who ends all links of a user ends its own
            server.run(f"KILL USER {OWNER}")

    threading.Timer(0.5, end).start()
    refused("VFL0698", url(server, slow), "a", "b")


@pytest.mark.parametrize("greeting", [b"", b"\0" * 400, b"\xff" * 70_000, b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_is_none(greeting):
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)) as listening:

        def answer() -> None:
            link, _ = listening.accept()
            with link, suppress(OSError):
                link.sendall(greeting)
                link.shutdown(socket.SHUT_WR)
                link.recv(1000)

        threading.Thread(target=answer, daemon=True).start()
        refused("VFL0697", f"mysql://{OWNER}@127.0.0.1:{port}/d?table=t")
