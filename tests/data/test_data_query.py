"""A party's own SQL: one SELECT over files that may be read, whatever it tries."""

import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vflc_runtime.data.align import open_tables
from vflc_runtime.data.source import Below
from vflc_runtime.errors import Failure

SECRET = "key,x\nroot,hunter2\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with tables to work in, and a secret beside it."""
    inside = tmp_path / "work"
    (inside / "deep").mkdir(parents=True)
    (inside / "rows.csv").write_text("key,x\na,1\nb,2\n")
    (inside / "deep" / "more.csv").write_text("key,x\nc,3\n")
    (inside / "rows.json").write_text('[{"key":"a","x":"1"},{"key":"b","x":"2"}]')
    pq.write_table(pa.table({"key": ["a", "b"], "x": ["1", "2"]}), inside / "rows.parquet")
    (tmp_path / "secret.csv").write_text(SECRET)
    (inside / "link.csv").symlink_to(tmp_path / "secret.csv")
    (inside / "away").symlink_to(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(inside)
    return inside


def read(source):
    parties = {"p": {"key": "key", "columns": [{"name": "x", "type": "string"}]}}
    aligned = open_tables(parties, {"p": source})
    try:
        return list(zip(aligned.keys.to_pylist(), aligned.column("p", "x").to_pylist(), strict=True))
    finally:
        aligned.close()


def refused(source, *codes):
    with pytest.raises(Failure) as caught:
        print(read(source))
    assert caught.value.code in codes, str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value.help}"
    return caught.value


ROWS = [("a", "1"), ("b", "2")]
ALLOWED = [
    "sql:SELECT * FROM 'rows.csv'",
    "SELECT key, x FROM 'rows.csv' ;; -- and a word; of comment",
    "from \"rows.csv\" select * /* ; COPY */",
    "WITH r AS (FROM read_csv(['rows.csv'], all_varchar = true)), s AS (FROM R) SELECT * FROM s",
    "SELECT * FROM (VALUES ('a', 1), ('b', 2)) t(key, x)",
    "SELECT key, x FROM read_parquet('rows.parquet') UNION ALL BY NAME FROM 'rows.parquet' WHERE false",
    "SELECT a.key, b.x FROM 'rows.csv' a JOIN read_json('rows.json') b USING (key)",
    "SELECT chr((97 + i)::INT) AS key, i + 1 AS x FROM range(2) t(i)",
    "SELECT key, sum(x) AS x FROM 'rows*.csv' GROUP BY ALL HAVING count(*) > 0",
    "SELECT 'a' AS key, unnest(['1']) AS x UNION ALL SELECT $$b$$, '2'",
    "SELECT key, first(x) OVER (PARTITION BY key) AS x FROM './deep/../rows.csv' QUALIFY true",
    "SELECT '; COPY (SELECT 1) TO ''pwn.csv''' AS note, key, x FROM 'rows.csv'",
    "FROM (PIVOT 'rows.csv' ON x IN ('1') USING count(*) GROUP BY key) SELECT key, CASE WHEN \"1\" = 1 "
    "THEN 1 ELSE 2 END AS x",
]  # fmt: skip


@pytest.mark.parametrize("text", ALLOWED)
def test_a_select_over_files_is_run(home, text):
    assert read(text) == ROWS
    assert read(Below(home, text)) == ROWS


def test_paths_of_a_query_in_a_file_are_relative_to_that_file(home, monkeypatch):
    monkeypatch.chdir("/")
    assert read(Below(home, "FROM 'rows.csv'")) == ROWS
    assert read(Below(home, "rows.csv")) == ROWS
    assert read(Below(home, "FROM 'deep/*.csv'")) == [("c", "3")]
    refused("FROM 'rows.csv'", "VFL0601")


WRITES = [
    "SELECT 1) ; COPY (SELECT 42 AS x) TO 'pwn.csv' ; CREATE TABLE z AS (SELECT 1",
    "SELECT 1 AS key, 2 AS x; COPY (SELECT 42 AS x) TO 'pwn.csv'",
    "COPY (SELECT 42 AS x) TO 'pwn.csv'",
    "WITH c AS (COPY (SELECT 42) TO 'pwn.csv') SELECT 'a' AS key, '1' AS x",
    "WITH c AS (COPY (SELECT 42) TO 'pwn.csv') SELECT key, x FROM 'rows.csv'",
    "SELECT key, x FROM 'rows.csv' WHERE (WITH c AS (COPY (SELECT 1) TO 'pwn.csv') SELECT true)",
    "WITH i AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT 'a' AS key, '1' AS x",
    "EXPORT DATABASE 'pwn'",
    "ATTACH 'pwn.db'; SELECT 1",
    "CREATE TABLE z AS SELECT 1",
    "SELECT key, x INTO z FROM 'rows.csv'",
    "FROM query('COPY (SELECT 1) TO ''pwn.csv''')",
    "FROM query('SELECT key, x FROM ''rows.csv''')",
    "FROM query_table('rows.csv')",
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1 AS key, 2 AS x'))",
    "SELECT * FROM (COPY (SELECT 1) TO 'pwn.csv')",
    "FROM enable_logging(storage = 'file', storage_path = 'pwn.log')",
    "FROM enable_profiling('json')",
    "FROM duckdb_settings() SELECT name AS key, value AS x",
    "FROM pragma_version() SELECT library_version AS key, source_id AS x",
    "FROM checkpoint() SELECT 1 AS key, 2 AS x",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA version",
    "SET threads = 1",
    "SET lock_configuration = false; SELECT 1",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CALL duckdb_settings()",
    "EXPLAIN ANALYZE SELECT 1",
    "DESCRIBE SELECT 1 AS key, 2 AS x",
    "SHOW TABLES",
    "SELECT key, x FROM (DESCRIBE SELECT 1)",
    "SELECT column_name AS key, column_type AS x FROM (SUMMARIZE 'rows.csv')",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "USE memory",
    "VACUUM",
    "DETACH memory",
    "",
    "-- nothing",
    "SELECT 1 /* no end",
    "SELECT 'no end",
    "SELECT 1 AS key, 2 AS x \0) ; COPY (SELECT 1) TO 'pwn.csv' --",
    "SELECT key, x FROM information_schema.tables",
    "SELECT key, x FROM memory.main.\"raw p\"",
    "SELECT key, x FROM \"given p\"",
    "SELECT $1 AS key, 2 AS x",
    "SELECT getenv('HOME') AS key, 2 AS x",
    "SELECT " + "-" .join("1" * 3000) + " AS key, 2 AS x",
]  # fmt: skip


def test_what_is_nested_too_deep_is_refused_or_read():
    """How deep is DuckDB's choice."""
    text = "SELECT " + "(" * 3000 + "1" + ")" * 3000 + " AS key, 2 AS x"
    try:
        assert read(f"sql:{text}") == [("1", "2")]
    except Failure as failure:
        assert failure.code in ("VFL0601", "VFL0630")


@pytest.mark.parametrize("text", WRITES)
def test_what_is_more_than_a_select_is_refused_and_writes_nothing(home, text):
    before = sorted(home.rglob("*"))
    refused(f"sql:{text}", "VFL0601", "VFL0630")
    refused(Below(home, f"sql:{text}"), "VFL0601", "VFL0630", "VFL0631")
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'a' AS key, 1 AS x; SELECT 'b' AS key, 2 AS x",
        "WITH c AS (COPY (SELECT 42) TO 'pwn.csv') SELECT 'a' AS key, '1' AS x",
        "WITH i AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT 'a' AS key, '1' AS x",
        "SELECT key, x FROM memory.main.rows",
        'SELECT key, x FROM main."rows.csv"',
    ],
)
def test_the_check_itself_refuses_and_not_only_the_lock_behind_it(home, text):
    refused(f"sql:{text}", "VFL0630")


OUTSIDE = [
    "FROM '../secret.csv'",
    "FROM read_csv('../secret.csv')",
    "FROM read_csv(['rows.csv', '../secret.csv'])",
    "FROM read_csv(ARRAY['../secret.csv'])",
    "FROM read_csv($$../secret.csv$$)",
    "FROM read_csv(E'..\\x2fsecret.csv')",
    "FROM \"../secret.csv\"",
    "FROM '~/secret.csv'",
    "FROM '{outside}/secret.csv'",
    "FROM '{outside}/*.csv'",
    "FROM '{outside}/**/secret.csv'",
    "FROM '../*.csv'",
    "FROM 'deep/../../secret.csv'",
    "FROM 'link.csv'",
    "FROM 'lin*.csv'",
    "FROM 'away/secret.csv'",
    "FROM 'away/*.csv'",
    "FROM 'rows.csv' WHERE key IN (SELECT key FROM '../secret.csv')",
    "SELECT (SELECT first(x) FROM '../secret.csv') AS x, key FROM 'rows.csv'",
    "WITH s AS (FROM '../secret.csv') FROM s",
    "WITH RECURSIVE s AS (FROM '../secret.csv' UNION FROM s) FROM s",
    "FROM 'rows.csv' UNION FROM '../secret.csv'",
    "FROM 'rows.csv' r, LATERAL (FROM '../secret.csv') s SELECT r.key, s.x",
    "FROM (PIVOT '../secret.csv' ON x USING count(*)) SELECT key, 1 AS x",
    "WITH \"../secret.csv\" AS (SELECT 1 AS key, 2 AS x) FROM \"../secret.csv\"",
    "FROM (WITH \"../secret.csv\" AS (SELECT 1) SELECT 1), \"../secret.csv\"",
    "FROM read_csv('..' || '/secret.csv')",
    "FROM read_csv(concat('..', '/secret.csv'))",
    "FROM read_csv(['../secret' || '.csv'])",
    "FROM read_csv((SELECT '../secret.csv'))",
    "FROM read_csv(getvariable('f'))",
    "FROM read_text('../secret.csv') SELECT content AS key, content AS x",
    "FROM read_text('/etc/passwd') SELECT content AS key, content AS x",
    "FROM read_blob('../secret.csv') SELECT content::VARCHAR AS key, 1 AS x",
    "FROM glob('../*') SELECT file AS key, file AS x",
    "FROM sniff_csv('../secret.csv') SELECT Columns::VARCHAR AS key, 1 AS x",
    "FROM parquet_metadata('../secret.csv') SELECT file_name AS key, 1 AS x",
    "FROM read_duckdb('../secret.csv')",
    "FROM 'file://{outside}/secret.csv'",
    "FROM 'https://example.org/rows.csv'",
    "FROM 's3://bucket/rows.csv'",
    "FROM '/dev/stdin'",
    "FROM read_csv('/proc/self/environ')",
]  # fmt: skip


@pytest.mark.parametrize("text", OUTSIDE)
def test_a_query_out_of_a_file_reads_at_or_below_its_folder_only(home, text):
    refused(Below(home, text.replace("{outside}", str(home.parent))), "VFL0601", "VFL0630", "VFL0631")


@pytest.mark.parametrize(
    "path", ["../secret.csv", "~/secret.csv", "link.csv", "away/secret.csv", "../*.csv", ".."]
)
def test_so_does_a_path_out_of_a_file(home, path):
    pq.write_table(pa.table({"key": ["a"], "x": ["hunter2"]}), home.parent / "secret.parquet")
    failure = refused(Below(home, path), "VFL0631")
    assert "--data" in failure.help


def test_what_the_party_names_itself_may_lie_anywhere(home):
    for text in (
        "../secret.csv",
        "FROM '../secret.csv'",
        "FROM '~/secret.csv'",
        "link.csv",
        "FROM 'link.csv'",
    ):
        assert read(text) == [("root", "hunter2")]
    # But only what it names: a path that is computed, or a function that reads anything, is refused.
    for text in OUTSIDE:
        if "||" in text or "read_text" in text or "glob(" in text or "getvariable" in text:
            refused(text, "VFL0630")


def test_the_second_lock_holds_where_the_first_is_passed(home):
    """DuckDB itself opens no file but those that were named, should a query ever get by the check."""
    from vflc_runtime.data.read import connect, open_sources

    connection = connect(1 << 28, str(home / "spill"))
    open_sources(connection, {"p": "rows.csv"})
    assert connection.execute("FROM read_csv('rows.csv')").fetchall()
    for statement in (
        "FROM read_csv('../secret.csv')",
        "FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO 'pwn.csv'",
        "ATTACH 'pwn.db'",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/etc/passwd']",
        "SET TimeZone = 'Asia/Shanghai'",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)
    assert not list(home.glob("pwn*"))


def test_devices_and_pipes_are_no_tables(home):
    os.mkfifo(home / "pipe.csv")
    for source in ("pipe.csv", "FROM 'pipe.csv'", Below(home, "pipe.csv")):
        assert "pipe" in refused(source, "VFL0601").message


PIECES = st.sampled_from([
    "SELECT", "FROM", "WITH", "c", "AS", "(", ")", ";", "COPY", "TO", "'pwn.csv'", "'rows.csv'",
    "'../secret.csv'",
    "read_csv", "read_text", ",", "1", "key", "x", "--", "/*", "*/", "\n", "'", '"', "$$", "UNION ALL",
    "INSERT INTO",
    "ATTACH", "SET", "*", "query", "[", "]", "E'..\\x2fsecret.csv'", "\\", "0",
])  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, min_size=1, max_size=14))
def test_whatever_is_written_nothing_is_and_no_secret_is_read(home, pieces):
    before = sorted(home.rglob("*"))
    try:
        rows = read(Below(Path.cwd(), "sql:" + " ".join(pieces)))
        assert "hunter2" not in str(rows)
    except Failure as failure:
        assert failure.code in {"VFL0601", "VFL0602", "VFL0605", "VFL0607", "VFL0616", "VFL0630", "VFL0631"}
        assert "hunter2" not in str(failure)
    assert sorted(home.rglob("*")) == before
