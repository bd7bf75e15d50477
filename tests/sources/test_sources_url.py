"""URLs of servers: what they name, what is refused in them, and who may name them."""

from __future__ import annotations

import sys
import threading
import time

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources.reading import refused
from vflc_runtime.data.servers.postgres import conninfo
from vflc_runtime.data.servers.said import MOST, plain
from vflc_runtime.data.servers.timed import AHEAD, in_time
from vflc_runtime.data.servers.url import Bucket, ServerTable, identifier, parse, without_password
from vflc_runtime.data.source import Below, describe, open_source
from vflc_runtime.errors import Failure

from vflc.cli.main import run

SERVER = "postgresql://reader@db.example.org:5433/sales"


def parsed(text):
    found = parse(text, "alice")
    assert isinstance(found, ServerTable)
    return found


def test_what_a_url_names():
    assert parsed(f"{SERVER}?table=public.loans") == ServerTable(
        "postgresql", "db.example.org", 5433, "reader", "sales", ("public", "loans"), ""
    )
    query = "SELECT a % 2 AS b, 'x&y=z#?%20' FROM t -- with\nWHERE a > 1"
    assert parsed(f"{SERVER}?query= {query}; ").query == query
    assert parsed(f"{SERVER}?query=SELECT%20a+FROM%20t").query == "SELECT a FROM t"
    assert parsed("postgres:///?table=t").host == "" and parsed("mariadb://h/d?table=t").scheme == "mysql"
    assert parsed("flightsql://[::1]:1/?table=t").scheme == "grpc+tls"
    assert parsed("mysql://o%40x@h/d%2Fe?table=a%2Eb").user == "o@x"
    assert parsed("mysql://h/d?table=a%2Eb").table == ("a.b",)
    assert parse("s3://some-bucket/a b?/*.csv", "alice") == Bucket("some-bucket", "a b?/*.csv")
    assert parse("https://example.org/x.csv", "alice") is None
    local = ("localhost", "127.0.0.9", "[::1]", "")
    assert [parsed(f"mysql://{host}/?table=t").local for host in (*local, "localhost.org", "10.0.0.1")] == [
        *[True] * 4, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SERVER, "names no table"),
        (f"{SERVER}?", "names no table"),
        (f"{SERVER}?query=DELETE FROM t", "not a SELECT"),
        (f"{SERVER}?query=", "not a SELECT"),
        (f"{SERVER}?table=", "no NAME"),
        (f"{SERVER}?table=a..b", "no NAME"),
        (f"{SERVER}?table=t&sslmode=disable", "no NAME"),
        (f"{SERVER}?sslmode=disable&table=t", "table= or query="),
        (f"{SERVER}?password=hunter2&table=t", "table= or query="),
        ("postgresql://a,b/d?table=t", "no HOST"),
        ("postgresql://h:99999/d?table=t", "no HOST"),
        ("postgresql://h:0/d?table=t", "no HOST"),
        ("postgresql://h/d%00?table=t", "NUL"),
        ("s3://KEY:SECRET@bucket/x.csv", "no name of a bucket"),
        ("s3:///x.csv", "no name of a bucket"),
    ],
)
def test_what_is_refused_in_a_url(text, reason):
    failure = refused("VFL0692", text)
    assert reason in failure.message
    for secret in ("hunter2", "SECRET"):
        assert secret not in f"{failure} {failure.help}"


def test_a_password_in_a_url_is_refused_and_never_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for url in (
        "postgresql://u:hunter2@h/d?table=t",
        "mysql://:hunter2@h/d?table=t",
        "http://u:hunter2@h/x.csv",
    ):
        assert "hunter2" not in describe(url) + without_password(f"see {url}")
        with pytest.raises(Failure) as caught, duckdb.connect(":memory:") as connection:
            open_source(connection, url, "alice")
        assert "hunter2" not in f"{caught.value} {caught.value.help}"
        for arguments in (["align", "--key", "ID", "--data", f"alice={url}", "--data", "bob=x.csv"],
                          ["align", "--key", "ID", "--data", url, "--data", "bob=x.csv"]):  # fmt: skip
            assert run(arguments)
            assert "hunter2" not in "".join(capsys.readouterr())


@settings(max_examples=30)
@given(st.lists(st.text(max_size=9), min_size=1, max_size=3), st.text(max_size=20), st.sampled_from('"`'))
def test_a_name_cannot_leave_its_quotes(parts, column, quote):
    """By a reading of its own: a quote within quotes is doubled, and nothing stands outside."""
    server = ServerTable("mysql", "h", None, None, "", tuple(parts), "")
    text = server.select(identifier(column, quote), quote)
    rest, names = text.removeprefix("SELECT "), []
    while rest:
        if rest.startswith(" FROM "):
            rest = rest.removeprefix(" FROM ")
            continue
        rest, name = rest.removeprefix("."), ""
        assert rest.startswith(quote)
        rest = rest[1:]
        while not rest.startswith(quote) or rest.startswith(quote * 2):
            name, rest = name + rest[0], rest[2 if rest.startswith(quote) else 1 :]
        names, rest = [*names, name], rest[1:]
    assert names == [column, *parts]


def test_a_file_names_only_what_the_environment_allows(tmp_path, monkeypatch):
    monkeypatch.delenv("VFLC_SOURCES", raising=False)
    url = "postgresql://u@127.0.0.1:1/d?table=t"
    assert "export VFLC_SOURCES=127.0.0.1:1" in refused("VFL0693", Below(tmp_path, url)).help
    assert "s3://data" in refused("VFL0693", Below(tmp_path, "s3://data/x.csv")).message
    assert "localhost" in refused("VFL0693", Below(tmp_path, "mysql:///d?table=t")).message
    for allowed in ("127.0.0.1:2", "127.0.0", "s3://127.0.0.1", "127.0.0.1.example.org", "*"):
        monkeypatch.setenv("VFLC_SOURCES", allowed)
        refused("VFL0693", Below(tmp_path, url))
    for allowed in ("127.0.0.1:1", "other, 127.0.0.1"):
        monkeypatch.setenv("VFLC_SOURCES", allowed)
        refused("VFL0697", Below(tmp_path, url))
        query = Below(tmp_path, url.replace("table=t", "query=SELECT 1"))
        assert "a query" in refused("VFL0693", query).message


def test_links_to_other_machines_are_encrypted_unless_the_environment_says_otherwise():
    far, near = parsed(f"{SERVER}?table=t"), parsed("postgresql://localhost/it's\\?table=t")
    assert "sslmode='verify-full'" in conninfo(far, {}) and "sslrootcert=" in conninfo(far, {})
    assert "sslrootcert" not in conninfo(far, {"PGSSLROOTCERT": "ca.pem"})
    assert "sslmode" not in conninfo(far, {"PGSSLMODE": "require"}) and "sslmode" not in conninfo(near, {})
    assert r"dbname='it\'s\\'" in conninfo(near, {})
    from vflc_runtime.data.servers.mysql import _settings

    far = parsed("mysql://db.example.org/d?table=t")
    assert _settings(far, {})["ssl"].check_hostname and "ssl" not in _settings(far, {"VFLC_MYSQL_TLS": "off"})
    assert refused("VFL0692", "grpc://db.example.org/?table=t").message.endswith("not encrypted")


def test_what_a_server_says_is_one_plain_line_without_credentials(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    said = plain("no\x1b[2J\r\nhunter2 \u202e" + "x" * 10_000)
    assert said.isprintable() and said.startswith("no [2J … xxx") and len(said) == MOST


def test_a_limit_that_is_no_number_is_refused(monkeypatch):
    for value in ("much", "-1", "nan", "0"):
        monkeypatch.setenv("VFLC_SOURCE_GIB", value)
        assert "VFLC_SOURCE_GIB" in refused("VFL0692", "mysql://127.0.0.1:1/d?table=t").message


def test_waiting_ends():
    stop = threading.Event()

    def stuck():
        yield 1
        stop.wait()

    began = time.monotonic()
    values = in_time(stuck, 0.1)
    assert next(values) == 1
    with pytest.raises(TimeoutError, match="no answer"):
        next(values)
    stop.set()
    assert time.monotonic() - began < 30


def test_a_reader_that_is_left_is_closed_and_holds_little():
    made, closed = [], threading.Event()

    def numbers():
        try:
            for i in range(1000):
                made.append(i)
                yield i
        finally:
            closed.set()

    values = in_time(numbers, 10)
    assert next(values) == 0
    values.close()
    assert closed.wait(10) and len(made) <= AHEAD + 3

    def broken():
        yield 1
        raise Failure("VFL0698", "it broke")

    with pytest.raises(Failure, match="it broke"):
        list(in_time(broken, 10))
    assert list(in_time(lambda: iter(range(50)), 10)) == [*range(50)]


def test_a_driver_that_is_missing_is_named(monkeypatch):
    drivers = {"postgresql": ("adbc_driver_postgresql", "postgres"), "mysql": ("pymysql", "mysql")}
    for scheme, (module, extra) in drivers.items():
        monkeypatch.setitem(sys.modules, module, None)
        assert f"vflc[{extra}]" in refused("VFL0694", f"{scheme}://127.0.0.1:1/d?table=t").help
