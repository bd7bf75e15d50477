"""From a source to a table that is read: files and globs, queries, headings, types, each by itself."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from vflc_runtime.data import read as reading
from vflc_runtime.data import source as sources
from vflc_runtime.data.query import MAKERS, READERS
from vflc_runtime.data.query import check as checked
from vflc_runtime.data.read import HEADING, Wanted, _heading, connect, load, look, open_sources
from vflc_runtime.data.source import Below, describe, failed, open_source, unreadable
from vflc_runtime.errors import Failure

WHERE = {"line": 3}


def refused(code, function, *arguments, **options):
    with pytest.raises(Failure) as caught:
        function(*arguments, **options)
    assert caught.value.code == code, str(caught.value)
    return caught.value


# --- sources ----------------------------------------------------------------------------------------------


def shown(error):
    return unreadable("p", "x.csv", duckdb.InvalidInputException(error))


def test_what_is_to_do_about_a_source():
    plain = "check the path, and that the file is CSV, TSV, Parquet or JSON"
    for args, help in (
        (("p", "x.csv", "it broke"), plain),
        (("p", "SELECT 1", "it broke"), "check the query, for instance in the duckdb command line"),
        (("p", "x.csv", "Invalid UTF-8"), "save the file as UTF-8"),
        (("p", "x.csv", "invalid unicode"), "save the file as UTF-8"),
        (("p", "x.csv", "a state machine"), "give all lines the same ending, for instance with dos2unix"),
        (("p", "x.csv", "it broke", "mend it"), "mend it"),
    ):
        made = failed(*args)
        assert (made.code, made.help) == ("VFL0601", help) and made.message.startswith(
            "p's data cannot be read"
        )
    for error in ("Maximum line size of 1", "Parallel CSV Reader", "maximum_object_size of 2"):
        assert shown(error).code == "VFL0632" and "16 MiB" in shown(error).message
    assert shown("else").code == "VFL0601"
    with pytest.raises(KeyboardInterrupt):
        unreadable("p", "x.csv", duckdb.InterruptException("stopped"))


def opened(source, party="p"):
    with duckdb.connect(":memory:") as connection:
        return open_source(connection, source, party)


def test_which_files_a_source_stands_for(tmp_path, monkeypatch):
    names = ["b.parquet", "a.pq", "deep/c.parquet", ".hidden/d.parquet", "e.part", "deep/.f.parquet"]
    for name in [*names, "x.csv", "y.CSV", "z.tsv.gz", "u.json.gz.zst"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"PAR1")
    found = opened(tmp_path)
    assert [str(Path(f).relative_to(tmp_path)) for f in found.files] == [
        "a.pq",
        "b.parquet",
        "deep/c.parquet",
    ]
    assert found.format == "parquet" and found.shown == str(tmp_path) and not found.globs
    monkeypatch.chdir(tmp_path)
    for text, format in (("x.csv", "csv"), ("y.CSV", "csv"), ("z.tsv.gz", "csv"), ("u.json.gz.zst", "json")):
        assert (opened(text).format, opened(text).files) == (format, [text])
    assert opened("[xy].*").files == ["x.csv", "y.CSV"] and opened("e.part").format == "parquet"
    several = refused("VFL0601", opened, "*.*")
    assert "files of several kinds: csv, json, parquet" in several.message
    assert several.message.count("a.pq") == 1 and several.message.count(",") <= 5, "three of them are shown"
    assert "there is no such file" in refused("VFL0601", opened, "deep/none.csv").message
    (tmp_path / "empty").mkdir()
    assert "holds no Parquet files" in refused("VFL0601", opened, "empty").message
    (tmp_path / "bare").write_text("a,b\n")
    assert "use one of .csv, .tsv" in refused("VFL0601", opened, "bare").message


def test_a_source_out_of_a_file_is_shown_where_it_lies(tmp_path):
    assert describe(Below(tmp_path, "x.csv")) == str(tmp_path / "x.csv")
    assert describe(Below(tmp_path, "FROM 'x.csv'")) == "FROM 'x.csv'" == str(Below(tmp_path, "FROM 'x.csv'"))
    assert describe(Path("x.csv")) == "x.csv"
    (tmp_path / "x.csv").write_text("a\n1\n")
    assert opened(Below(tmp_path, "x.csv")).files == [str(tmp_path / "x.csv")]


@pytest.mark.parametrize(
    "text", ["sql:x", "SELECT 1", " with a as", "from'x'", "FROM\n'x'", 'select"a"', "select(1)"]
)
def test_what_is_a_query(text):
    assert sources.SQL.match(text) and not sources.SQL.match("x" + text)
    assert not sources.SQL.match("selection.csv") and not sources.SQL.match("from.csv")


def test_names_that_look_like_globs_are_literal():
    assert sources.escaped("a[b]*?.csv") == "a[[]b][*][?].csv"
    assert sources.quote('a"b') == '"a""b"' and sources.literal("it's") == "'it''s'"


# --- queries ----------------------------------------------------------------------------------------------


def query(text, place=lambda path: f"/at/{path}"):
    with duckdb.connect(":memory:") as connection:
        return checked(connection, text, "alice", place)


def test_what_a_query_reads_in_the_order_it_stands():
    made = query(
        "FROM read_csv(['a.csv', 'b.csv']) x JOIN 'c.csv' USING (k) JOIN read_parquet('d.pq') USING (k)"
    )
    assert sorted(made.paths) == [f"/at/{name}" for name in ("a.csv", "b.csv", "c.csv", "d.pq")]
    assert made.paths.index("/at/a.csv") < made.paths.index("/at/b.csv")
    assert all(path in made.sql for path in made.paths) and not made.sql.endswith(";")
    assert (
        query("FROM range(3)").paths
        == query("SELECT 1").paths
        == query("WITH c AS (SELECT 1) FROM C").paths
        == []
    )
    assert query("FROM read_csv('a.csv', header = true, sep = 'b.csv')").paths == ["/at/a.csv"]
    assert query("FROM read_csv(['a.csv'], all_varchar = true)").paths == ["/at/a.csv"]


@pytest.mark.parametrize("name", ["a.b", "a/b", "a\\b", "a*b", "a?b", "a[b"])
def test_a_name_after_with_does_not_look_like_a_file(name):
    text = f'WITH "{name}" AS (SELECT 1 AS k) FROM "{name}"'
    assert "looks like a file" in refused("VFL0630", query, text).message
    assert query('WITH "a b-c" AS (SELECT 1 AS k) FROM "a b-c"').paths == []


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("SELECT 1; SELECT 2", "VFL0630", "it has 2 statements"),
        ("SELECT FROM WHERE", "VFL0601", "query is not SQL"),
        ("COPY (SELECT 1) TO 'x'", "VFL0630", "it is not a SELECT"),
        ("SELECT 1\0", "VFL06", ""),
        ("FROM a.b", "VFL0630", "b is named with a schema"),
        ("FROM a.b.c", "VFL0630", "c is named with a schema"),
        ("FROM read_csv()", "VFL0630", "must be literal names, as in read_csv('rows.csv')"),
        ("FROM read_csv([])", "VFL0630", "must be literal names"),
        ("FROM read_csv(['a.csv', 'b' || '.csv'])", "VFL0630", "must be literal names"),
        ("FROM read_csv(3)", "VFL0630", "must be literal names"),
        ("FROM read_text('a.csv')", "VFL0630", "read_text is not allowed after FROM; allowed are range, "),
        ("FROM (SHOW TABLES)", "VFL06", ""),
    ],
)  # fmt: skip
def test_why_a_query_is_not_run(text, code, says):
    with pytest.raises(Failure) as caught:
        query(text)
    assert caught.value.code.startswith(code) and says in caught.value.message and caught.value.help
    if "what may" in says:
        listed = caught.value.message.split("allowed are ")[1].split(", ")
        assert listed == sorted({*READERS - {"parquet_scan"}, "range", "unnest"})


def test_functions_that_read_and_those_that_make():
    for name in sorted(READERS):
        assert query(f"FROM {name}('x.data')").paths == ["/at/x.data"]
        assert query(f"FROM {name.upper()}('x.data')").paths == ["/at/x.data"]
    for text in ("range(2)", "generate_series(1, 2)", "unnest([1])", "repeat(1, 2)"):
        assert query(f"FROM {text}").paths == []
    assert not READERS & MAKERS


# --- reading ----------------------------------------------------------------------------------------------


def loaded(table, wanted, tmp_path, party="p", how=load):
    with connect(1 << 28, str(tmp_path)) as connection:
        source = open_sources(connection, {party: table})[party]
        names = [Wanted(name) for name in wanted]
        if how is look:
            return look(connection, source, names)
        types = load(connection, "t", source, names)
        return types, connection.execute("SELECT * FROM t").fetchall()


def test_types_and_rows_of_a_table_in_memory(tmp_path):
    half = pa.array([np.float16(1.5), None], pa.float16())
    table = pa.table({"a": [1, 2], "h": half, "s": ["x", "y"]})
    assert loaded(table, ["s", "h", "a"], tmp_path) == (
        ["VARCHAR", "FLOAT", "BIGINT"], [("x", 1.5, 1), ("y", None, 2)],
    )  # fmt: skip
    assert loaded(table, ["a"], tmp_path, how=look) == ["BIGINT"]


@pytest.mark.parametrize("how", [load, look])
def test_a_table_without_rows(how, tmp_path):
    (tmp_path / "a.json").write_text("")
    (tmp_path / "b.json").write_text('{"a": 1}')
    empty = pa.table({"a": pa.array([], pa.int64())})
    assert refused("VFL0607", loaded, empty, ["a"], tmp_path, how=how).message.startswith(
        "p's table has no rows"
    )
    refused("VFL0607", loaded, str(tmp_path / "a.json"), ["a"], tmp_path, how=how)
    (tmp_path / "list.jsonl").write_text("[]")
    refused("VFL0607", loaded, str(tmp_path / "list.jsonl"), ["a"], tmp_path, how=how)
    (tmp_path / "bare.jsonl").write_text("[{}]")
    bare = refused("VFL0602", loaded, str(tmp_path / "bare.jsonl"), ["a"], tmp_path, how=how)
    assert bare.help == "it has no columns"
    found = loaded(str(tmp_path / "*.json"), ["a"], tmp_path, how=how)
    assert found == (["JSON"] if how is look else (["JSON"], [("1",)])), "one of them has rows"
    asked = "SELECT 1 AS a WHERE false"
    if how is look:
        assert loaded(asked, ["a"], tmp_path, how=how) == ["INTEGER"], "of a query its form alone"
    else:
        refused("VFL0607", loaded, asked, ["a"], tmp_path, how=how)


def test_the_delimiter_is_that_which_finds_most_columns(tmp_path):
    def heading(text, wanted, name="x.csv"):
        (tmp_path / name).write_text(text, "utf-8")
        return _heading(str(tmp_path / name), set(wanted), "p")

    assert heading("a,b;c\n", ["a"]) == (",", ("a", "b;c"))
    assert heading("a;b,c;d\n", ["b,c"]) == (";", ("a", "b,c", "d"))
    assert heading("a|b|c,d\n", ["x"]) == ("|", ("a", "b", "c,d")), "none is found: the most names"
    assert heading("a,b\tc\n", ["x"]) == (",", ("a", "b\tc")), "as many: the first"
    for name in ("x.tsv", "X.TAB", "x.tsv.txt"):
        assert heading("a,b\tc\n", ["x"], name) == ("\t", ("a,b", "c"))
    assert heading("\ufeffa,b\n", ["a"]) == (",", ("a", "b"))
    assert heading("\n", ["a"]) is None and heading(" \t", ["a"]) is None
    assert heading('"a\nb",c\n', ["c"]) == (",", ("a\nb", "c"))


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_marks_of_utf_16(mark, tmp_path):
    (tmp_path / "x.csv").write_bytes(mark + b"a,b\n")
    assert "it is UTF-16" in refused("VFL0601", _heading, str(tmp_path / "x.csv"), {"a"}, "p").message


@pytest.mark.parametrize(("size", "fits"), [(HEADING, True), (HEADING + (1 << 17), False)])
def test_a_first_line_has_a_most(size, fits, tmp_path):
    """It is read in blocks until it ends, or is too long."""
    (tmp_path / "x.csv").write_bytes(b"a,b" + b",c" * (size // 2 - 2) + b"\n1")
    if fits:
        delimiter, names = _heading(str(tmp_path / "x.csv"), {"a"}, "p")
        assert delimiter == "," and len(names) == size // 2
    else:
        refused("VFL0632", _heading, str(tmp_path / "x.csv"), {"a"}, "p")


@pytest.mark.parametrize("name", ["a\u2028b", "a\x0bb", "a\x0cb", "a\x1cb", "a\x85b"])
def test_a_name_may_have_what_python_takes_for_the_end_of_a_line(name, tmp_path):
    (tmp_path / "x.csv").write_text(f"k,{name},c\nx,1,2\n", "utf-8")
    assert loaded(str(tmp_path / "x.csv"), [name, "c"], tmp_path) == (["VARCHAR"] * 2, [("1", "2")])


def test_names_of_json_that_are_pointers_to_others(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a/b": 1, "A/b": 2, "c~d": 3, "k": "x"}\n')
    types, rows = loaded(str(tmp_path / "x.jsonl"), ["A/b", "a/b", "c~d"], tmp_path)
    assert types == ["JSON"] * 3 and rows == [("2", "1", "3")]


def test_names_are_alike_where_they_differ_in_case_alone():
    assert reading._alike(["a", "b", "A"]) and not reading._alike(["a", "b"]) and not reading._alike([])
