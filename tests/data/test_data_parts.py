"""Parts of reading one by one: what messages count and show, limits, the order of rows."""

import tempfile
import threading
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from test_data_encoders import encode, vocab
from vflc_common.text import DIGITS, text
from vflc_runtime.data import align, dataset, query, read
from vflc_runtime.data import overlap as overlaps
from vflc_runtime.data import source as sources
from vflc_runtime.data.advice import about_value, what_to_do
from vflc_runtime.data.align import look_at_tables, open_tables
from vflc_runtime.data.batches import Order, ahead, gather, split, trimmed
from vflc_runtime.data.column_buffer import ColumnBuffer, Room
from vflc_runtime.data.dataset import check_parties
from vflc_runtime.data.overlap import overlap
from vflc_runtime.data.query import _nodes
from vflc_runtime.data.read import Wanted, _positions, _top_level
from vflc_runtime.data.source import OpenedSource, _reason, describe
from vflc_runtime.data.table import WIDTH, in_parts, in_rows
from vflc_runtime.data.table import shown as shown_value
from vflc_runtime.data.values import is_long, restored
from vflc_runtime.errors import Failure

# --- alignment ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("u1", "'u1'"),
        ("it's", "'it''s'"),
        ("x" * 40, f"'{'x' * 40}'"),
        ("x" * 41, f"'{'x' * 39}…'"),
        ("a\u200bb\t", "'a\\u200bb\\t'"),
        (7, "'7'"),
    ],
)
def test_values_in_messages(value, shown):
    assert shown_value(value) == shown


def test_rows_in_messages():
    assert [in_rows(n) for n in (0, 1, 2)] == ["0 rows", "one row", "2 rows"]


@pytest.mark.parametrize("count", [0, 1, WIDTH, WIDTH + 1, 2 * WIDTH])
def test_columns_in_parts(count):
    parts = in_parts(range(count))
    assert [i for part in parts for i in part] == list(range(count))
    assert [len(part) for part in parts[:-1]] == [WIDTH] * (len(parts) - 1) and len(parts[-1]) <= WIDTH
    assert len(parts) == max(1, -(-count // WIDTH))


def test_rows_that_are_kept_come_in_the_order_agreed_with_all_their_columns():
    columns = [{"name": f"c{i}", "type": "int"} for i in range(WIDTH + 2)]
    parties = {"a": {"key": "ID", "columns": columns}}
    table = pa.table({"ID": ["d", "b", "a", "c"]} | {c["name"]: [40, 20, 10, 30] for c in columns})
    opened = open_tables(parties, {"a": table})
    opened.keep("a", np.array([3, 0, 1], np.int64))
    assert opened.keys.to_pylist() == ["d", "a", "b"] and opened.rows == 3
    assert opened.report == {"a": {"rows": 4, "kept": 3, "dropped": 1}}
    assert opened.column("a", "c0").to_pylist() == [40, 10, 20]
    assert opened.column("a", f"c{WIDTH + 1}").to_pylist() == [40, 10, 20]
    (only,) = opened.batches("a", 9, ["c1", f"c{WIDTH}"])
    assert only[1].schema.names == ["c1", f"c{WIDTH}"] and only[0].to_pylist() == ["d", "a", "b"]
    assert [part.to_pylist() for part, _ in opened.batches("a", 2)] == [["d", "a"], ["b"]]
    opened.close()


PARTY = {"key": "ID", "columns": [{"name": "v", "type": "int"}], "where": {"line": 3}}


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ({"ID": ["a", "a"], "v": [1, 2]}, None),  # only reading tells that keys are doubled
        ({"ID": ["a"], "w": [1]}, "VFL0602"),
        ({"v": [1]}, "VFL0602"),
        ({"ID": ["a"], "v": [[1]]}, "VFL0603"),
        ({"ID": [[1]], "v": [1]}, "VFL0634"),
        ({"ID": pa.array([], pa.string()), "v": pa.array([], pa.int64())}, "VFL0607"),
    ],
)
def test_a_look_at_tables_tells_what_their_form_tells(table, code):
    parties, given = {"a": PARTY, "b": PARTY}, {"b": pa.table(table), "a": pa.table({"ID": ["x"], "v": [1]})}
    if code is None:
        look_at_tables(parties, given)
        return
    with pytest.raises(Failure) as caught:
        look_at_tables(parties, given)
    assert caught.value.code == code and ("b's" in caught.value.message or "of b" in caught.value.message)


@pytest.mark.parametrize(
    ("error", "code"),
    [(duckdb.OutOfMemoryException("full"), "VFL0612"), (Failure("VFL0606", "m", "h"), "VFL0606")],
)
def test_tables_that_cannot_be_joined_leave_nothing(error, code, tmp_path, monkeypatch):
    def failing(*_):
        assert any(tmp_path.iterdir())
        raise error

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(align, "join_keys", failing)
    tables = {"a": pa.table({"ID": ["x"], "v": [1]})}
    with pytest.raises(Failure, match=code):
        open_tables({"a": PARTY}, tables)
    assert not any(tmp_path.iterdir())
    if code == "VFL0612":
        monkeypatch.setattr(overlaps, "_nearly", failing)
        with pytest.raises(Failure, match=code):
            overlap({"a": PARTY}, tables)


def test_data_is_for_parties_and_parties_have_data():
    parties = {"alice": {"where": {"line": 1}}, "bob": {}}
    check_parties(parties, {"bob": "b.csv", "alice": "a.csv"})
    with pytest.raises(Failure, match="VFL0618") as caught:
        check_parties(parties, {"alcie": "a.csv", "bob": "b.csv"})
    assert caught.value.help == "did you mean alice? parties with columns: alice, bob"
    with pytest.raises(Failure, match="VFL0618") as caught:
        check_parties(parties, {"alice": "a.csv", "bob": "b.csv", "xyz": "c.csv"})
    assert caught.value.help == "parties with columns: alice, bob"
    with pytest.raises(Failure, match="VFL0618") as caught:
        check_parties(parties, {"bob": "b.csv"})
    assert caught.value.help == "give a table: --data alice=SOURCE, in Python {'alice': …}"
    assert caught.value.where == {"line": 1}


# --- overlap --------------------------------------------------------------------------------------


def overlapping(*tables):
    parties = {f"p{i}": {"key": "ID", "where": {"line": i}} for i in range(len(tables))}
    return overlap(parties, {f"p{i}": pa.table({"ID": keys}) for i, keys in enumerate(tables)})


def test_overlap_counts_rows_by_what_becomes_of_them():
    found = overlapping(["a", "b", "b", None, " ", "c", "x"], ["b", "c", "d", "c", "c"])
    first, second = found.parties["p0"], found.parties["p1"]
    assert (first.rows, first.blank, first.doubled, first.kept, first.dropped) == (7, 2, 2, 3, 2)
    assert (second.rows, second.blank, second.doubled, second.kept, second.dropped) == (5, 0, 3, 4, 1)
    assert found.common == 2 and found.nearly == {} and found.problem.code == "VFL0616"
    assert overlapping(["a", "b"], ["b"]).problem is None
    assert overlapping(["a", "a"], ["a"]).problem.code == "VFL0605"
    assert overlapping(["a"], ["b"]).problem.code == "VFL0606"
    assert overlapping(["a"], ["b", "b"]).problem.where == {"line": 1}


LOOK = "as they look, without characters that do not show"


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        (" a\t", "a", {"without the white space around them", LOOK}),
        ("a\u200b  b", "a b", {LOOK}),
        ("Ab", "aB", {"with upper and lower case as one"}),
        ("007", "7", {"without leading zeros"}),
        ("7.00", "7", {"without a fraction of zeros"}),
        ("70", "7", set()),
        ("0", "", set()),
    ],
)
def test_keys_that_would_be_common_if_they_were_written_alike(one, other, how):
    found = overlapping(["same", one], ["same", other, "else"])
    assert found.common == 1 and found.nearly == dict.fromkeys(found.nearly, 1) and set(found.nearly) == how


# --- order ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "validation", "held"),
    [(10, 0.3, 3), (10, 0.01, 1), (10, 0.99, 9), (2, 0.5, 1), (7, 0.5, 4), (5, 0.0, 0)],
)
def test_how_many_rows_are_held_out(rows, validation, held):
    train, held_out = split(rows, 1, validation)
    assert len(held_out) == held and sorted([*train, *held_out]) == list(range(rows))
    assert list(train) == sorted(train) and list(held_out) == sorted(held_out)


def test_batches_go_on_from_any_step():
    order = Order(11, seed=1, validation=0.0, batch=4)
    whole = list(order.batches(2))
    assert [len(batch) for batch in whole] == [4, 4, 3] and order.steps == 3
    for first in range(4):
        rest = list(order.batches(2, first))
        assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[first:]]
    assert Order(4, seed=1, validation=0.0, batch=4).steps == 1
    with pytest.raises(Failure, match="VFL0609"):
        Order(4, seed=1, validation=0.0, batch=5)


def test_one_batch_is_read_while_the_one_before_is_worked_on():
    started, second = [], threading.Event()

    def read(rows):
        started.append(rows)
        if rows == 2:
            second.set()
        return rows * 10

    coming = ahead(iter([1, 2, 3, 4]), read)
    first, get = next(coming)
    assert (first, get()) == (1, 10) and second.wait(60) and started == [1, 2]
    rest = [(rows, get()) for rows, get in coming]
    assert rest == [(2, 20), (3, 30), (4, 40)] and started == [1, 2, 3, 4]
    assert list(ahead(iter([]), read)) == []


def test_ids_are_as_wide_as_the_longest_row():
    ids = np.array([[3, 0, -1, -1], [-1, -1, -1, -1], [7, -1, 5, -1]])
    assert trimmed(ids).tolist() == [[3, 0, -1], [-1, -1, -1], [7, -1, 5]] and trimmed(ids).flags.c_contiguous
    assert trimmed(ids[1:2]).tolist() == [[-1]] and trimmed(ids[:0]).shape == (0, 1)


def test_rows_are_gathered_from_the_first_axis():
    found = gather({"x": np.arange(6).reshape(3, 2)}, np.array([2, 0]))
    assert found["x"].tolist() == [[4, 5], [0, 1]] and found["x"].flags.c_contiguous


# --- reading and values -----------------------------------------------------------------------------


def test_the_columns_at_the_top_of_nested_schemas():
    nested = [("schema", 3), ("a", 0), ("s", 2), ("x", 0), ("y", 1), ("z", 0), ("b", 0)]
    schemas = [(file, *each) for file in ("one", "two") for each in nested]
    assert _top_level(schemas) == [["a", "s", "b"]] * 2
    one = [("schema", 1), ("a", 1), ("b", 1), ("c", 0)]
    assert _top_level([*(("one", *each) for each in one), ("two", "schema", 0)]) == [["a"], []]


def test_where_columns_are():
    source = OpenedSource("alice", "t.csv", "csv")
    assert _positions(["a", "b", "A"], [Wanted("A"), Wanted("a")], source) == [2, 0]
    for names, wanted, code, says in (
        (["Age", "b"], "age", "VFL0602", "did you mean Age? its columns are: Age, b"),
        (["b"], "Age", "VFL0602", "its columns are: b"),
        (["a", "b", "a"], "a", "VFL0601", "rename all but one"),
        ([f"c{i}" for i in range(30)], "x", "VFL0602", "c28, c29"),
        ([f"c{i}" for i in range(31)], "x", "VFL0602", "c29, …"),
    ):
        with pytest.raises(Failure) as caught:
            _positions(names, [Wanted(wanted, {"line": 1})], source)
        assert caught.value.code == code and caught.value.where == {"line": 1}
        assert caught.value.help.endswith(says) if code == "VFL0602" else caught.value.help.startswith(says)


def test_how_long_a_line_may_be(tmp_path):
    wide, quoted = tmp_path / "wide.csv", tmp_path / "quoted.csv"
    wide.write_text("a" * ((4 << 20) + (1 << 16) + 1), "utf-8")
    quoted.write_text("ID,v\na," + "x" * (17 << 20) + "\n", "utf-8")
    for path, says in ((wide, "its first line has more than 4 MiB"), (quoted, "more than 16 MiB")):
        with pytest.raises(Failure, match="VFL0632") as caught:
            open_tables({"a": PARTY}, {"a": Path(path)})
        assert says in caught.value.message


def test_a_source_in_messages():
    assert describe("x" * 120) == "x" * 120 and describe("x" * 121) == "x" * 117 + "…"
    assert describe(pa.table({})) == "a table in memory"


def test_of_what_duckdb_says_a_few_lines_are_told():
    assert _reason("a\n\n b\nc\nd\ne") == "a b c d"
    assert _reason("a\nb\nPossible fixes:\nc") == "a b" and _reason("Possible: a\nLINE 1: x") == "Possible: a"
    line = (
        "Invalid Input Error: CSV Error on Line: 7\nOriginal Line: secret\n"
        + "w" * 300
        + "\nPossible fixes: x"
    )
    assert _reason(line) == "line 7: " + "w" * 200


def test_every_object_of_a_tree_is_visited_the_upper_ones_first():
    tree = {"n": 1, "a": [{"n": 2}, {"n": 3, "b": {"n": 4}}], "c": [[{"n": 5}], "x"]}
    order = [each["n"] for each in _nodes(tree)]
    assert sorted(order) == [1, 2, 3, 4, 5] and order[0] == 1 and order.index(3) < order.index(4)
    assert order.index(2) < order.index(3)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("e\u0301", "\u00e9"), (True, "true"), (False, "false"), (3, "3"), (3.0, "3"), (-0.0, "0"),
        (0.5, "0.5"), (1e37, str(int(1e37))), (DIGITS, "1e+38"), (-DIGITS, "-1e+38"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_the_text_of_a_value(value, shown):
    assert text(value) == shown


def test_a_whole_number_is_long_from_nineteen_digits_on():
    assert is_long("9" * 19) and is_long(f" -{'9' * 25}.00 ") and is_long("+" + "1" * 19)
    assert not is_long("9" * 18) and not is_long("9" * 19 + ".5") and not is_long("x" + "9" * 19)


@pytest.mark.parametrize(
    ("declared", "type", "says"),
    [
        ("string", "INTEGER[]", "declare it list(int)"),
            ("string", "STRUCT(a INTEGER)[]", "array_to_string"),
        ("string", "STRUCT(a INTEGER)", '"a""b".part'),
        ("string", "BLOB", "hex("),
        ("string", "INTERVAL", "convert it in a query: sql:SELECT … epoch("),
        ("string", "BIT", 'CAST("a""b" AS VARCHAR)'),
        ("int", "DATE", "declare it date"),
            ("int", "TIME", "declare it string, or convert it to a number in a query: sql:SELECT … epoch("),
            ("date", "DOUBLE", "to_timestamp("),
        ("int", "UUID", 'AS BIGINT)'),
        ("int", "BLOB", "convert it in a query"),
    ],
)  # fmt: skip
def test_a_way_for_every_type(declared, type, says):
    assert says in what_to_do('a"b', declared, type)
    here, there = what_to_do('a"b', declared, type), what_to_do('a"b', declared, type, server=True)
    assert "sql:" not in there and ("the server's own SQL: ?query=SELECT" in there) == ("sql:" in here)


@pytest.mark.parametrize("declared", ["date", "timestamp", "string", "int", "bool", "vector(2)", "list(int)"])
def test_a_server_is_not_told_of_functions_of_duckdb(declared):
    column = {"type": declared}
    here, there = (about_value(column, "a", "31.1.2024", server) for server in (False, True))
    assert "sql:" not in there and ("?query=SELECT" in there) == ("sql:" in here)
    assert ("strptime(" in here) == (declared in ("date", "timestamp"))


@pytest.mark.parametrize(
    ("type", "texts", "csv", "parquet"),
    [
        ("BIGINT", ["7"], pa.int64(), pa.int64()),
        ("BOOLEAN", ["true"], pa.bool_(), pa.bool_()),
        ("DATE", ["2024-01-31"], pa.date32(), pa.date32()),
        ("HUGEINT", ["7"], pa.string(), pa.string()),
        ("DOUBLE", ["0.5"], pa.string(), pa.float64()),
        ("DECIMAL(4,1)", ["0.5"], pa.string(), pa.decimal128(4, 1)),
        ("DECIMAL(4,1)[]", ["0.5"], pa.string(), pa.string()),
        ("TIMESTAMP", ["2024-01-31 08:00:00"], pa.string(), pa.timestamp("us")),
        ("UUID", ["x"], pa.string(), pa.string()),
        ("VARCHAR", ["7"], pa.string(), pa.string()),
    ],
)
def test_keys_are_written_as_their_type_where_that_is_read_again(type, texts, csv, parquet):
    for suffix, wanted in ((".csv", csv), (".parquet", parquet)):
        assert restored(pa.array(texts), type, suffix).type == wanted


def test_limits_of_reading(tmp_path):
    assert (read.HEADING, sources.LINE, sources.BUFFER) == (4 << 20, 16 << 20, 32 << 20)
    assert dataset.IN_MEMORY == 256 << 20
    with read.connect(1, str(tmp_path)) as least, read.connect(128 << 20, str(tmp_path)) as more:
        found = [c.execute("SELECT current_setting('memory_limit')").fetchone()[0] for c in (least, more)]
    assert found == ["64.0 MiB", "128.0 MiB"], "DuckDB does nothing with less"


def test_a_statement_that_does_more_than_read_is_named():
    with pytest.raises(Failure, match=r"VFL0630.*does more than read \(INSERT\)"):
        query._check({"type": "INSERT_NODE"}, set(), query.Query(), "alice", str)


def test_a_column_without_blocks_is_empty(tmp_path):
    made = ColumnBuffer(tmp_path / "x", np.dtype(np.int32), Room(100)).finish()
    assert made.shape == (0,) and made.dtype == np.int32


def test_whole_numbers_that_no_double_holds_are_unknown_to_a_vocabulary_of_doubles():
    assert encode([2**53 + 1, 1], vocab(0.5, 1.0, default="other"))[0].tolist() == [0, 2]


def test_keys_that_would_match_otherwise_are_counted_only_where_there_may_be_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not where all of somebody's match already, nor in ways in which all are written already."""
    asked: list[str] = []
    common = overlaps._common
    monkeypatch.setattr(overlaps, "_common", lambda c, p, form: asked.append(form) or common(c, p, form))
    parties = {"a": {"key": "ID"}, "b": {"key": "ID"}}

    def nearly(a: list[str], b: list[str]) -> tuple[dict[str, int], int]:
        asked.clear()
        found = overlaps.overlap(parties, {"a": pa.table({"ID": a}), "b": pa.table({"ID": b})})
        return found.nearly, len(asked)

    assert nearly(["1", "2", "03"], ["2", "1"]) == ({}, 0)
    assert nearly(["1", "2", "3"], ["4", "1"]) == ({}, 0)
    assert nearly(["1", "2", "03"], ["3", "1"]) == ({"without leading zeros": 1}, 1)
    assert nearly(["1", "2", "3", "2"], ["3", "2"])[1] == 0
