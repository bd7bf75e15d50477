"""A real PostgreSQL: its types, one state of a table, and everything that can go wrong with it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from granting import granted
from sources.reading import read, refused, table
from sources.servers import OWNER, PASSWORD, Running, postgres
from vflc_runtime.data.source import Below

from vflc.cli.main import run


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with postgres() as running:
        running.run("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN price AS numeric(9, 2)")
        running.run('CREATE TABLE rows AS SELECT i AS "ID", i * 0.5 AS half FROM generate_series(1, 40000) i')
        yield running


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


def url(server: Running, rest: str, user: str = OWNER) -> str:
    return f"postgresql://{user}@127.0.0.1:{server.port}/postgres?{rest}"


TYPES = {
    "1::int2": ("string", "1"), "7::oid": ("int", 7), "1.50::numeric": ("string", "1.5"),
    "2.00::price": ("string", "2"), "1e-7::numeric": ("string", "1e-07"), "'NaN'::numeric": ("string", None),
    "12345678901234567890123456789012345678901234567890.5::numeric": (
        "string", "12345678901234567890123456789012345678901234567890.5"),
    "1.5::float4": ("float", 1.5), "'Infinity'::float8": ("float", None), "true": ("string", "true"),
    "'2024-01-31 10:00+02'::timestamptz": ("string", "2024-01-31 08:00:00+00"),
    "'2024-01-31 08:00:00.50'::timestamp": ("string", "2024-01-31 08:00:00.5"),
    "'infinity'::timestamptz": ("string", None), "'-infinity'::date": ("string", None),
    "'2024-01-31'::date": ("string", "2024-01-31"), "'08:00:00.5'::time": ("string", "08:00:00.5"),
    "'ab'::char(5)": ("string", "ab"), "'ok'::mood": ("string", "ok"), "NULL": ("string", None),
    "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid": ("string", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "'\"x\"'::jsonb": ("string", "x"), "'1.0'::json": ("string", "1"),
    "'10.0.0.1'::inet": ("string", "10.0.0.1"),
    "5::money": ("string", "5"), "ARRAY[1, 2]": ("vector(2)", [1.0, 2.0]),
    "ARRAY[1.5, 2]::numeric[]": ("vector(2)", [1.5, 2.0]), "'e\u0301'": ("string", "\u00e9"),
}  # fmt: skip


def test_one_value_has_one_text(server):
    picks = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate(TYPES))
    columns = {f"c{i}": declared for i, (declared, _) in enumerate(TYPES.values())}
    keys, *found = table(url(server, f"query=SELECT 1.0 AS k, {picks}"), "k", **columns)
    assert keys == ["1"]
    assert dict(zip(TYPES, (column[0] for column in found), strict=True)) == {
        sql: value for sql, (_, value) in TYPES.items()
    }


def test_what_has_no_text_is_refused(server):
    for sql in ("'ab'::bytea", "interval '1 day'"):
        with pytest.raises(Exception, match="VFL0603"):
            table(url(server, f"query=SELECT 1 AS k, {sql} AS a"), "k", a="string")


def test_a_table_is_read_in_order_and_only_its_wanted_columns(server):
    types, rows = read(url(server, "table=public.rows"), "half", "ID")
    assert types == ["VARCHAR", "INTEGER"] and len(rows) == 40_000
    assert rows[:2] == [("0.5", 1), ("1", 2)] and [row[1] for row in rows] == [*range(1, 40_001)]
    assert "did you mean ID?" in refused("VFL0602", url(server, "table=rows"), "id").help
    assert "2 columns" in refused("VFL0601", url(server, "query=SELECT 1 AS a, 2 AS a"), "a").message
    refused("VFL0607", url(server, "query=SELECT 1 AS a WHERE false"), "a")
    server.run('CREATE TABLE "odd ""; DROP TABLE rows; --" AS SELECT 1 AS "a"" b", 2 AS "a"')
    odd = "table=" + 'odd "; DROP TABLE rows; --'
    assert read(url(server, odd), 'a" b', "a")[1] == [(1, 2)]


def test_a_query_reads_one_state_and_changes_nothing(server):
    server.run("CREATE TABLE sums (n int); INSERT INTO sums VALUES (1); CREATE SEQUENCE s")
    both = "SELECT count(*) AS n, pg_sleep(0.2) FROM sums UNION ALL SELECT count(*), NULL FROM sums"
    more = threading.Thread(target=lambda: [server.run("INSERT INTO sums VALUES (2)") for _ in range(3)])
    more.start()
    _, rows = read(url(server, f"query={both}"), "n")
    more.join()
    assert rows[0] == rows[1]
    for query in (
        "WITH x AS (INSERT INTO sums VALUES (9) RETURNING n) SELECT n FROM x",
        "SELECT nextval('s') AS n",
        "SELECT 1 AS n; DELETE FROM sums",
        "SELECT 1 AS n) AS q; DELETE FROM sums; SELECT * FROM (SELECT 1 AS n",
        "SELECT 1 AS n INTO made",
        "SELECT set_config('transaction_read_only', 'off', true) AS n",
        "SELECT n FROM nowhere",
        "(SELECT 1 AS n",
    ):
        refused("VFL0698", url(server, f"query={query}"), "n")
    assert server.run("SELECT count(*), count(*) FILTER (WHERE n = 9) FROM sums") == "4|0\n"
    assert read(url(server, "query=SELECT 1 AS n -- to the end"), "n")[1] == [(1,)]


def test_who_cannot_be_reached(server, monkeypatch):
    assert "PGPASSWORD" in refused("VFL0697", url(server, "table=rows", "stranger")).help
    refused("VFL0697", "postgresql://nowhere.invalid/d?table=t")
    refused("VFL0697", "postgresql://127.0.0.1:1/d?table=t")
    monkeypatch.setenv("PGPASSWORD", "wrong secret")
    assert "wrong secret" not in refused("VFL0697", url(server, "table=rows")).message


def test_rows_without_end_and_a_server_without_words(server, monkeypatch):
    monkeypatch.setenv("VFLC_SOURCE_GIB", "0.02")
    endless = "query=SELECT generate_series(1, 100000000) AS a, repeat('x', 10000) AS b"
    assert "0.02 GiB" in refused("VFL0699", url(server, endless), "a", "b").message
    refused("VFL0699", url(server, "query=SELECT repeat('x', 100000000) AS a"), "a")
    monkeypatch.setenv("VFLC_SOURCE_TIMEOUT", "0.5")
    began = time.monotonic()
    failure = refused("VFL0698", url(server, "query=SELECT 1 AS a FROM pg_sleep(20)"), "a")
    assert "no answer for 0.5 seconds" in failure.message and time.monotonic() - began < 10
    monkeypatch.delenv("VFLC_SOURCE_TIMEOUT")
    said = "query=SELECT CAST(E'x\\x1b[31m' || repeat('y', 9999) AS int) AS a"
    assert "invalid input syntax" in refused("VFL0698", url(server, said), "a").message


SPEC = granted("""party alice { key ID  feature half: float }
party bob { key ID  column n: int  label y = n > 20 }
h = dense(alice.half, 1)
logit = dense(h, 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train { optimizer adam(lr = 0.1)  batch 10  epochs 1 }
""")


def test_a_run_reads_from_a_server_and_keeps_no_credentials(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    Path("model.vfl").write_text(SPEC, "utf-8")
    Path("bob.csv").write_text("ID,n\n" + "".join(f"{i},{i}\n" for i in range(1, 41)))
    data = ["--data", f"alice={url(server, 'table=rows')}", "--data", "bob=bob.csv"]
    for command in (
        ["compile", "model.vfl", "-o", "bundle"],
        ["train", "bundle", "--out", "run", *data],
        ["train", "--resume", "--out", "run", "--epochs", "2", *data],
        ["evaluate", "run", *data],
        ["predict", "run", "-o", "out.csv", *data],
        ["align", "--key", "ID", *data],
    ):
        code, said = run(command), "".join(capsys.readouterr())
        assert code == 0 and PASSWORD not in said, said
    assert len(Path("out.csv").read_text().splitlines()) == 41
    assert json.loads(Path("run/metrics.json").read_text())
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    for path in written:
        assert PASSWORD.encode() not in path.read_bytes(), path
    assert not list(Path("temporary").iterdir())


def test_a_deploy_file_may_name_a_table_where_the_operator_allows_it(server, tmp_path, monkeypatch):
    below = Below(tmp_path, url(server, "table=rows"))
    refused("VFL0693", below)
    monkeypatch.setenv("VFLC_SOURCES", f"127.0.0.1:{server.port}")
    assert len(read(below, "ID")[1]) == 40_000
    refused("VFL0693", Below(tmp_path, url(server, 'query=SELECT 1 AS "ID"')))


def test_a_server_that_ends_in_the_middle(server):
    slow = "query=SELECT generate_series(1, 1000000) AS a, repeat('x', 1000) AS b, pg_sleep(0.0005)"
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vflc'"
    threading.Timer(0.5, server.run, [end]).start()
    refused("VFL0698", url(server, slow), "a", "b")
