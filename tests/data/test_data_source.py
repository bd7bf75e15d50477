"""Sources: every format gives the same rows; what is wrong with one is said, with a code."""

import gzip
import json
import os
import subprocess
import sys
import tracemalloc

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vflc_runtime.data.align import open_tables
from vflc_runtime.data.read import HEADING, LINE, connect, open_sources
from vflc_runtime.data.source import unreadable
from vflc_runtime.errors import Failure
from vflc_runtime.memory import half_of_memory

WHERE = {"file": "spec.vfl", "line": 3, "column": 3, "end_column": 9, "text": "  feature zip: string"}
KEY_WHERE = {**WHERE, "line": 2}
COLUMNS = [
    {"name": "zip", "type": "string", "where": WHERE},
    {"name": "age", "type": "int", "where": WHERE},
    {"name": "pay", "type": "float", "where": WHERE},
]
NAMES = ["key", "zip", "age", "pay"]
ROWS = [("k1", "007", 3, 1.5), ("k2", None, None, -2.0), ("k3", 'a,"b"|c', -9, None)]
CSV = 'key,other,zip,age,pay\nk3,x,"a,""b""|c",-9,\nk1,y,007,3,1.5\nk2,z,,,-2\n'
TSV = 'key\tother\tzip\tage\tpay\nk3\tx\t"a,""b""|c"\t-9\t\nk1\ty\t007\t3\t1.5\nk2\tz\t\t\t-2\n'


def read(source, columns=COLUMNS, key="key"):
    aligned = open_tables({"p": {"key": key, "columns": columns, "where": KEY_WHERE}}, {"p": source})
    try:
        values = [aligned.column("p", column["name"]).to_pylist() for column in columns]
        return list(zip(aligned.keys.to_pylist(), *values, strict=True))
    finally:
        aligned.close()


def refused(code, source, columns=COLUMNS, key="key"):
    with pytest.raises(Failure) as caught:
        read(source, columns, key)
    assert caught.value.code == code, str(caught.value)
    return caught.value


def table():
    columns = zip(*ROWS, strict=True)
    return pa.table({name: list(column) for name, column in zip(NAMES, columns, strict=True)})


def write(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def packed(path, text):
    path.write_bytes(gzip.compress(text.encode()))
    return str(path)


def test_text_files_of_every_kind_give_the_same_rows(tmp_path):
    records = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    lines = "\n".join(json.dumps(record) for record in records)
    for source in (
        write(tmp_path / "rows.csv", CSV),
        write(tmp_path / "semicolons.csv", TSV.replace("\t", ";")),
        write(tmp_path / "windows.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
        write(tmp_path / "rows.tsv", TSV),
        packed(tmp_path / "rows.csv.gz", CSV),
        write(tmp_path / "rows.json", json.dumps(records)),
        write(tmp_path / "rows.jsonl", lines),
        packed(tmp_path / "rows.jsonl.gz", lines),
    ):
        assert read(source) == ROWS, source


def test_parquet_queries_and_tables_give_the_same_rows(tmp_path):
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    pq.write_table(table().slice(0, 1), tmp_path / "folder" / "a.parquet")
    pq.write_table(table().slice(1), tmp_path / "folder" / "deeper" / "b.parquet")
    pq.write_table(table(), tmp_path / "no_ending")
    for source in (
        str(tmp_path / "folder"),
        tmp_path / "no_ending",
        f"{tmp_path}/**/*.parquet",
        f"sql:FROM read_csv('{write(tmp_path / 'rows.csv', CSV)}', all_varchar = true);",
        f"select * from '{tmp_path}/folder/*.parquet' union all from '{tmp_path}/folder/deeper/b.parquet' --",
        table(),
    ):
        assert read(source) == ROWS, source


def test_files_of_a_glob_may_order_their_columns_differently(tmp_path):
    write(tmp_path / "part1.csv", "key,zip,age,pay\nk1,007,3,1.5\n")
    write(tmp_path / "part2.csv", 'pay;age;zip;key\n-2;;;k2\n;-9;a,""b""|c;k3\n'.replace('""', '"'))
    write(tmp_path / "part3.csv", "")
    assert read(f"{tmp_path}/part*.csv") == ROWS


def test_a_separator_inside_values_does_not_mislead(tmp_path):
    source = write(tmp_path / "genres.csv", "key|Genres\n1|a,b\n2|c,d,e\n")
    assert read(source, [{"name": "Genres", "type": "string"}]) == [("1", "a,b"), ("2", "c,d,e")]
    source = write(tmp_path / "one.csv", "key\n1\n2\n")
    assert read(source, []) == [("1",), ("2",)]


@pytest.mark.parametrize("name", ['we"ird', "a'b", "a,b", "Größe 漢", "select", " x ", "a\nb", "c0", "rowid"])
@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_hostile_column_and_file_names(tmp_path, name, ending):
    file = tmp_path / f"a [b]*?'\"; --.{ending}"
    (tmp_path / f"a bxx'\"; --.{ending}").write_text("what the name would match as a glob")
    if ending == "csv":
        heading = '"' + name.replace('"', '""') + '"'
        write(file, f"key,{heading}\n1,v\n")
    elif ending == "json":
        write(file, json.dumps([{"key": "1", name: "v"}]))
    else:
        pq.write_table(pa.table({"key": ["1"], name: ["v"]}), file)
    assert read(file, [{"name": name, "type": "string"}]) == [("1", "v")]


def test_columns_that_differ_in_case_only_are_told_apart(tmp_path):
    source = write(tmp_path / "rows.csv", "key,id,ID\n1,a,b\n")
    both = [{"name": "ID", "type": "string"}, {"name": "id", "type": "string"}]
    assert read(source, both) == [("1", "b", "a")]
    assert refused("VFL0602", table(), [{"name": "Zip", "type": "string"}]).help.startswith(
        "did you mean zip?"
    )


@pytest.mark.parametrize("ending", ["csv", "parquet", "json", "jsonl", "memory"])
def test_so_they_are_in_every_kind_of_file(tmp_path, ending):
    made = pa.table({"key": ["1"], "Age": ["a"], "nested": [{"age": "x"}], "age": ["b"], "AGE": ["c"]})
    made = made.drop_columns(["nested"]) if ending == "csv" else made
    file = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        pq.write_table(made, file)
    elif ending == "csv":
        pa.csv.write_csv(made, file)
    else:
        rows = made.to_pylist()
        file.write_text(json.dumps(rows) if ending == "json" else "\n".join(map(json.dumps, rows)))
    source = made if ending == "memory" else file
    columns = [{"name": name, "type": "string"} for name in ("age", "AGE", "Age")]
    assert read(source, columns) == [("1", "b", "c", "a")]
    for column, value in zip(columns, "bca", strict=True):
        assert read(source, [column]) == [("1", value)]
    failure = refused("VFL0602", source, [{"name": "age_1", "type": "string"}])
    assert "AGE" in failure.help and "age_1" not in failure.help


def test_parquet_files_whose_names_differ_in_case_have_the_same_columns(tmp_path):
    pq.write_table(pa.table({"key": ["1"], "A": ["x"], "a": ["y"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"key": ["2"], "A": ["z"], "a": ["u"]}), tmp_path / "2.parquet")
    column = [{"name": "a", "type": "string"}]
    assert read(tmp_path, column) == [("1", "y"), ("2", "u")]
    pq.write_table(pa.table({"key": ["2"], "a": ["z"]}), tmp_path / "2.parquet")
    assert "only in case" in refused("VFL0601", tmp_path, column).message


def test_numbers_that_an_int_cannot_hold(tmp_path):
    column = [{"name": "n", "type": "int", "where": WHERE}]
    long = write(tmp_path / "n.csv", f"key,n\nx,1\ny,{2**63}\n")
    for source in (long, pa.table({"key": ["x"], "n": pa.array([2**63], pa.uint64())})):
        assert "declare the column string" in refused("VFL0603", source, column).help
        assert "64-bit int" in refused("VFL0603", source, column).help
    edge = write(tmp_path / "e.csv", f"key,n\nx,{2**63 - 1}\ny,{-(2**63)}.0\n")
    assert read(edge, column) == [("x", 2**63 - 1), ("y", -(2**63))]
    typed = pa.table({"key": ["x"], "n": pa.array([10**18 + 1], pa.decimal128(38, 0))})
    assert read(typed, column) == [("x", 10**18 + 1)]


def test_a_column_without_a_single_value_is_missing_everywhere():
    nothing = pa.table({"key": ["x"], "n": pa.nulls(1)})
    for declared in ("string", "int", "float"):
        assert read(nothing, [{"name": "n", "type": declared}]) == [("x", None)]


def test_files_that_are_no_tables_are_told_in_time_and_memory(tmp_path):
    """What is looked at before the first line ends is bounded; the limits are those of docs/data.md."""
    zeros = tmp_path / "zeros.csv"
    zeros.write_bytes(b"0" * (HEADING + (1 << 20)))
    sparse = tmp_path / "sparse.csv"
    with sparse.open("wb") as file:
        file.truncate(1 << 30)
    packed_zeros = tmp_path / "zeros.csv.gz"
    packed_zeros.write_bytes(gzip.compress(b"0" * (64 << 20), 1))
    wide = write(tmp_path / "line.csv", "key,n\nx," + "1" * (LINE + 10) + "\n")
    tracemalloc.start()
    for source in (zeros, packed_zeros):
        assert "first line has more than 4 MiB" in refused("VFL0632", source).message
    assert "NUL" in refused("VFL0601", sparse).message
    refused("VFL0632", wide, [{"name": "n", "type": "string"}])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * HEADING


def test_an_object_of_json_has_a_most(tmp_path):
    endless = write(tmp_path / "line.json", '{"key": "x", "n": "' + "1" * (2 * LINE + 10) + '"}\n')
    assert "16 MiB" in refused("VFL0632", endless, [{"name": "n", "type": "string"}]).message


def test_a_wide_heading_is_read(tmp_path):
    """Python's reader takes no field of 128 KiB, which a whole line is to a delimiter that is not in it."""
    names = [f"column_{number:05}" for number in range(20_000)]
    source = write(tmp_path / "wide.csv", f"key,n,{','.join(names)}\nx,1{',2' * len(names)}\n")
    assert read(source, [{"name": "n", "type": "int"}]) == [("x", 1)]


def test_a_line_that_is_no_csv_is_named_and_not_shown(tmp_path):
    source = write(tmp_path / "open.csv", 'key,n\nx,1\ny,"SECRET-DIAGNOSIS\nz,3\n')
    failure = refused("VFL0601", source, [{"name": "n", "type": "string"}])
    assert "line 3: " in failure.message and "SECRET" not in failure.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_text_that_is_not_utf_8_is_said(tmp_path, encoding):
    file = tmp_path / "rows.csv"
    file.write_text(CSV, encoding=encoding)
    failure = refused("VFL0601", file)
    assert "UTF-8" in failure.help and "\ufffd" not in f"{failure.message}{failure.help}"
    assert encoding != "utf-16" or "UTF-16" in failure.message


def test_the_key_may_be_a_feature_too():
    keys = [{"name": "id", "type": "int"}]
    assert read(pa.table({"id": [2, 10]}), keys, "id") == [("10", 10), ("2", 2)]


def test_numbers_are_read_as_declared(tmp_path):
    texts = ["1", " 2 ", "+3", "4.0", "5e2", "9007199254740993", "", "NaN"]
    source = write(tmp_path / "n.csv", "key,n\n" + "".join(f"{i},{t}\n" for i, t in enumerate(texts)))
    whole = [1, 2, 3, 4, 500, 9007199254740993, None, None]
    assert [n for _, n in read(source, [{"name": "n", "type": "int"}])] == whole
    reals = [n for _, n in read(source, [{"name": "n", "type": "float"}])]
    assert reals == [None if n is None else float(n) for n in whole]
    typed = pa.table({"key": [1, 2, 3, 4], "n": pa.array([1.0, float("nan"), float("inf"), None])})
    assert [n for _, n in read(typed, [{"name": "n", "type": "int"}])] == [1, None, None, None]
    assert [n for _, n in read(typed, [{"name": "n", "type": "float"}])] == [1.0, None, None, None]


@pytest.mark.parametrize("text", ["abc", "1_000", "0x10", "1,5", "3.7", "1e300", "--1", "1 2", "N/A", "٣"])
def test_text_where_an_integer_is_declared(tmp_path, text):
    source = write(tmp_path / "n.csv", f'key,n\nx,1\ny,"{text}"\nz,"{text}"\n')
    failure = refused("VFL0603", source, [{"name": "n", "type": "int", "where": WHERE}])
    assert f"'{text}'" in failure.message
    assert "row 2 (key 'y')" in failure.message and "2 rows in all" in failure.message
    assert failure.where == WHERE


def test_values_that_are_no_numbers_in_typed_tables():
    number = [{"name": "n", "type": "int", "where": WHERE}]
    assert "3.5" in refused("VFL0603", pa.table({"key": [1], "n": [3.5]}), number).message
    assert refused("VFL0603", pa.table({"key": [1], "n": pa.array([2**64 - 1], pa.uint64())}), number)
    assert refused("VFL0603", pa.table({"key": [1], "n": [[1, 2]]}), number).where == WHERE
    assert refused("VFL0603", pa.table({"key": [1], "n": [[1, 2]]}), [{"name": "n", "type": "string"}])
    assert refused("VFL0603", pa.table({"key": [1], "n": pa.array([0], pa.timestamp("s"))}), number)


def test_hidden_files_are_no_tables_and_an_empty_source_is_not_this_folder(tmp_path, monkeypatch):
    hidden = tmp_path / ".venv" / "rows.parquet"
    hidden.parent.mkdir()
    pq.write_table(pa.table({"key": ["1"], "zip": ["2"], "age": [3], "pay": [4.0]}), hidden)
    monkeypatch.chdir(tmp_path)
    for source in ("", " ", ".", tmp_path):
        refused("VFL0601", source)


@pytest.mark.parametrize("log", ["below/_delta_log/00000000000000000000.json", "metadata/v1.metadata.json"])
def test_a_folder_whose_log_says_which_files_count_is_refused(log: str, tmp_path):
    pq.write_table(table(), tmp_path / "part-0.parquet")
    assert len(read(tmp_path)) == len(ROWS)
    (tmp_path / log).parent.mkdir(parents=True)
    (tmp_path / log).write_text("{}")
    assert "deleted" in refused("VFL0601", tmp_path).message


def test_what_cannot_be_read(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"key,zip,age,pay\n1,\xe9\xff,1,1\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "broken.csv.gz").write_bytes(b"not packed at all")
    (tmp_path / "empty folder").mkdir()
    write(tmp_path / "a.csv", CSV)
    write(tmp_path / "a.json", "{")
    assert "UTF-8" in refused("VFL0601", bad).help
    assert "no such file" in refused("VFL0601", f"{tmp_path}/none*.csv").message
    assert "SELECT or WITH" in str(refused("VFL0601", "SELEC x FROM 'a.csv'").help)
    assert "query" in refused("VFL0601", "SELECT * FROM nothing").help
    assert "network" in refused("VFL0601", "https://example.com/rows.csv").message
    assert "kinds" in refused("VFL0601", f"{tmp_path}/a.*").message
    for source in (
        tmp_path / "broken.parquet",
        tmp_path / "broken.csv.gz",
        tmp_path / "empty folder",
        tmp_path / "a.json",
        write(tmp_path / "unknown.xyz", CSV),
        write(tmp_path / "ragged.csv", "key,zip,age,pay\n1,2,3,4\n1,2\n"),
        write(tmp_path / "twice.csv", "key,zip,zip,age,pay\n1,2,3,4,5\n"),
        "",
        "\0",
        "x" * 5000,
        "FROM 'https://example.com/rows.parquet'",
    ):
        refused("VFL0601", source)


def test_a_name_that_is_no_text_is_told(tmp_path):
    """Also of a column that nobody asked for, in a table that another program made."""
    schema = table().schema.append(pa.field(b"\xff", pa.int64()))
    made = pa.Table.from_arrays([*table().columns, pa.array([0] * len(ROWS))], schema=schema)
    failure = refused("VFL0601", made)
    assert "a table in memory: 'utf-8'" in failure.message and "UTF-8" in failure.help


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (duckdb.OutOfMemoryException("could not allocate block of 256 KiB (64.0 MiB used)"), "VFL0612"),
        (duckdb.IOException('Could not write file "/tmp/x.tmp": No space left on device'), "VFL0612"),
        (duckdb.IOException('Could not read from file "/tmp/x.csv": Input/output error'), "VFL0601"),
    ],
)
def test_want_of_memory_or_of_space_is_no_fault_of_the_file(error, code):
    failure = unreadable("p", "x.csv", error)
    assert failure.code == code and str(error) in failure.message


def test_of_what_duckdb_says_the_lines_before_its_advice_are_told():
    """Its messages of several lines end in advice, or in SQL that no user wrote."""
    said = "Invalid Input Error: no such thing\n\n  as was asked\nLINE 1: SELECT h0 FROM\nmore"
    failure = unreadable("p", "x.json", duckdb.InvalidInputException(said))
    assert failure.message.endswith("x.json: Invalid Input Error: no such thing as was asked")


def test_duckdb_may_hold_half_of_the_memory(monkeypatch):
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1001}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert half_of_memory() == 4096 * 1001 // 2


def test_a_query_cannot_loosen_what_the_database_may_do(tmp_path):
    connection = connect(1 << 28, str(tmp_path))
    open_sources(connection, {})
    table_in_scope = table()  # noqa: F841
    for statement in (
        "SET autoload_known_extensions = true",
        "SET python_enable_replacements = true",
        "FROM table_in_scope",
    ):
        with pytest.raises(Exception, match=r"locked|does not exist"):
            connection.execute(statement)


def test_missing_columns_are_named_with_a_suggestion():
    failure = refused("VFL0602", table(), [{"name": "agee", "type": "int", "where": WHERE}])
    assert failure.where == WHERE and "agee" in failure.message
    assert "did you mean age?" in failure.help and "key, zip, age, pay" in failure.help
    failure = refused("VFL0602", table(), key="ID")
    assert failure.where == KEY_WHERE and "did you mean" not in failure.help


def test_lines_that_end_in_different_ways(tmp_path):
    """DuckDB speaks of its parser's state machine; people want to know what is wrong with the file."""
    (tmp_path / "mixed.csv").write_bytes(CSV.replace("\n", "\r\n", 2).encode())
    failure = refused("VFL0601", tmp_path / "mixed.csv")
    assert "lines end" in failure.message and "same end" in failure.help


def test_tables_without_rows(tmp_path):
    pq.write_table(table().slice(0, 0), tmp_path / "rows.parquet")
    for source in (
        write(tmp_path / "header.csv", "key,zip,age,pay\n"),
        write(tmp_path / "nothing.csv", ""),
        write(tmp_path / "nothing.json", ""),
        write(tmp_path / "list.json", "[]"),
        tmp_path / "rows.parquet",
        "SELECT 1 AS key, '' AS zip, 2 AS age, 3 AS pay WHERE false",
    ):
        refused("VFL0607", source)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ending=st.sampled_from(["csv", "tsv", "json", "jsonl", "parquet", "csv.gz"]))
def test_whatever_a_file_holds_the_answer_is_rows_or_a_coded_failure(tmp_path, data, ending):
    text = st.text(alphabet=st.sampled_from("key,zip\taepy|;\"'\n\r {}[]:0123.\\\0é"), max_size=80)
    content = data.draw(
        st.one_of(text.map(lambda t: ("key,zip,age,pay\n" + t).encode()), st.binary(max_size=80))
    )
    file = tmp_path / f"fuzz.{ending}"
    file.write_bytes(content)
    try:
        for row in read(file):
            assert len(row) == 4 and row[0].strip()
    except Failure as failure:
        assert failure.code in {"VFL0601", "VFL0602", "VFL0603", "VFL0605", "VFL0607", "VFL0616"}


def test_a_quote_that_never_ends_costs_no_memory(tmp_path):
    """The rest of the file is one value then; it is refused where it began, and was never held whole."""
    source, block = tmp_path / "open.csv", "abcdefghij,12345\n" * 60_000
    with source.open("w", encoding="utf-8") as file:
        file.write('ID,Age\n1,2\n2,"')
        for _ in range(100):
            file.write(block)
    code = f"""
import resource
from vflc_runtime.data import read
from vflc_runtime.errors import Failure
connection = read.connect(1 << 33, {str(tmp_path)!r})
opened = read.open_sources(connection, {{"alice": {str(source)!r}}})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read.load(connection, "t", opened["alice"], [read.Wanted("ID"), read.Wanted("Age")])
except Failure as failure:
    print(failure.code, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    refused_as, mebibytes = done.stdout.split()
    assert refused_as in ("VFL0601", "VFL0632")
    assert int(mebibytes) < 256, "with buffers of DuckDB's own size it is four times the file"
