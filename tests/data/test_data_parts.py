"""Parts of reading and encoding one by one: what messages count and show, limits, what is generated."""

import tempfile
import threading
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from test_data_encoders import chain, encode, hash_of, keys, refused, vocab
from vflc_runtime.data import align, dataset, query, read
from vflc_runtime.data import generate as made_up
from vflc_runtime.data import overlap as overlaps
from vflc_runtime.data import source as sources
from vflc_runtime.data.align import WIDTH, _parts, _rows, _shown, look_at_tables, open_tables
from vflc_runtime.data.batches import Order, ahead, gather, split, trimmed
from vflc_runtime.data.chain import MOST_VALUES, SPARSE, WIDE, Counts
from vflc_runtime.data.column_buffer import ColumnBuffer, Room
from vflc_runtime.data.dataset import check_parties
from vflc_runtime.data.encoders import settled
from vflc_runtime.data.fitting import ROUNDING, Moments
from vflc_runtime.data.overlap import overlap
from vflc_runtime.data.query import _nodes
from vflc_runtime.data.read import Wanted, _positions, _top_level
from vflc_runtime.data.source import Opened, _reason, describe
from vflc_runtime.data.values import DIGITS, is_long, restored, text, what_to_do
from vflc_runtime.errors import Failure

SPLIT = {"name": "split", "separator": "|"}

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
    assert _shown(value) == shown


def test_rows_in_messages():
    assert [_rows(n) for n in (0, 1, 2)] == ["0 rows", "one row", "2 rows"]


@pytest.mark.parametrize("count", [0, 1, WIDTH, WIDTH + 1, 2 * WIDTH])
def test_columns_in_parts(count):
    parts = _parts(range(count))
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
    assert caught.value.help == "give it with --data alice=SOURCE" and caught.value.where == {"line": 1}


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


# --- encoders ---------------------------------------------------------------------------------------


def test_what_varies_by_rounding_alone_is_constant():
    for numbers, varies in (
        ([1.0, 1.0 + ROUNDING / 2], False), ([1.0, 1.0 + 2 * ROUNDING], True), ([-1.0, 1.0], True),
        ([-3.0, -3.0], False), ([0.0], False), ([-1.0 - 2 * ROUNDING, -1.0], True),
    ):  # fmt: skip
        moments = Moments()
        moments.add(np.array(numbers))
        assert moments.varies is varies, numbers
    assert Moments().std == 0.0 and not Moments().varies


@pytest.mark.parametrize(
    ("widest", "values", "said"),
    [
        (WIDE, 4, False),
        (WIDE + 1, 4, True),
        (WIDE + 1, (WIDE + 1) * 10 // SPARSE, True),
        (WIDE + 1, 41, False),
    ],
)
def test_a_column_that_few_rows_make_wide_is_reported(widest, values, said):
    assert (WIDE, SPARSE) == (64, 16)
    report = Counts(widest=widest, values=values, rows=10).report()
    assert (report.get("widest") == widest) is said and ("mean" in report) is said
    if said:
        assert report["mean"] == round(values / 10, 1)


def test_a_row_may_have_so_many_values_and_no_more():
    most = "x|" * (MOST_VALUES - 1) + "x"
    ids, made = encode(["x", most, "x"], SPLIT, hash_of(9), shape="ids")
    assert ids.shape == (3, MOST_VALUES) and made.counts.widest == MOST_VALUES
    assert (made.counts.values, made.counts.rows) == (MOST_VALUES + 2, 3)
    failure = refused("VFL0635", ["x", "x", most + "|x"], SPLIT, hash_of(9), shape="ids")
    assert f"{MOST_VALUES + 1:,} values" in failure.message and "'k2'" in failure.message
    assert encode([most + "|x"], SPLIT, hash_of(9), {"name": "sequence", "max": 2}, shape="ids")[0].shape == (
        1,
        2,
    )


def test_empty_rows_have_a_place_without_an_id():
    ids, made = encode([None, "", "|"], SPLIT, hash_of(9), shape="ids")
    assert ids.tolist() == [[-1]] * 3 and made.counts.widest == 0 and made.counts.missing == 1


def test_ids_without_a_range_fit_into_32_bits():
    most = np.iinfo(np.int32).max
    assert encode([most - 1, 0])[0].tolist() == [most - 1, 0]
    for value in (most, -1, 0.5):
        failure = refused("VFL0604", [0, value])
        assert f"holds {value:.15g} in the row with key 'k1'" in failure.message
        assert failure.message.endswith(f"0 to {most - 1}")
    assert "'k2'" in refused("VFL0604", ["1", "0", "3", "3"], {"name": "index", "n": 4}, rows=3).message
    assert (
        "'k1'"
        in refused("VFL0604", ["1", "0|3"], SPLIT, {"name": "index", "n": 4}, shape="ids", rows=3).message
    )


@pytest.mark.parametrize(
    ("encoder", "kind", "help"),
    [
        (vocab("a"), "feature", "or give a default"),
        (vocab("a"), "label", "a label has a class for each"),
        (
            {"name": "index", "n": 5},
            "feature",
            "index(5) takes 0 to 4; values that start at 1 are vocab(1..5); or",
        ),
        ({"name": "index", "n": 5}, "label", "values that start at 1 are vocab(1..5)"),
    ],
)
def test_what_to_do_about_unknown_values(encoder, kind, help):
    failure = refused("VFL0604", ["7", "x"], encoder, kind=kind)
    assert help in failure.help and ("default" in failure.help) is (kind == "feature")
    assert ("vocab of 1 values" if encoder["name"] == "vocab" else "its index does not") in failure.message
    assert failure.message.endswith("'k0'")


@pytest.mark.parametrize(
    ("kind", "help"), [("label", "is_missing"), ("weight", "missing(1)"), ("feature", "begin the")]
)
def test_what_to_do_about_missing_values(kind, help):
    failure = refused("VFL0610", ["a", None, "b", None], hash_of(9), kind=kind)
    assert (
        help in failure.help and "no value in 2 of 4 rows, first in the row with key 'k1'" in failure.message
    )


def test_unknown_values_are_counted_as_often_as_they_occur():
    _, made = encode(["z", "a|z|z", "a|y", "z"], SPLIT, vocab("a", default="other"), shape="ids")
    assert (made.counts.unknown, made.counts.known, made.counts.examples) == (5, 2, ["z", "y"])
    _, made = encode([9, 1, 9], vocab(1, default="other"))
    assert (made.counts.unknown, made.counts.known, made.counts.examples) == (2, 1, ["9"])
    _, made = encode(
        ["a|y|z", "z|a|q"], SPLIT, vocab("a", default="other"), {"name": "sequence", "max": 2}, shape="ids"
    )
    assert (made.counts.unknown, made.counts.known) == (3, 1), "what a sequence leaves out is not looked up"


def test_truth_counts_as_numbers_and_what_is_not_finite_is_missing():
    ids, made = encode([True, False, None], vocab(0, 1, default="other"))
    assert ids.tolist() == [2, 1, 0] and made.counts.missing == 1
    numbers, made = encode(
        [1.5, float("inf"), float("nan"), None], {"name": "missing", "value": 2}, shape="number"
    )
    assert numbers.ravel().tolist() == [1.5, 2, 2, 2] and made.counts.missing == 3


def test_parameters_are_fitted_one_encoder_after_another():
    made = chain({"name": "standardize"}, {"name": "minmax", "low": 0.0}, shape="number")
    values = pa.array([1.0, None, 3.0])
    for at in (0, 1):
        assert made.unfitted == at
        made.observe(values, keys(values))
        made.settle()
    assert made.unfitted is None and made.state == [{"mean": 2.0, "std": 1.0}, {"low": 0.0, "high": 1.0}]
    made.settle()  # nothing is left
    assert made.encode(values.drop_null(), keys(values)).ravel().tolist() == [-1.0, 1.0]
    assert chain({"name": "standardize", "mean": 0.0, "std": 2.0}, shape="number").unfitted is None
    empty = chain({"name": "minmax"}, shape="number")
    for take in (lambda: None, lambda: empty.observe(pa.array([None], pa.float64()), keys([0]))):
        take()
        with pytest.raises(Failure, match="VFL0610"):
            empty.settle()


@pytest.mark.parametrize(
    ("encoder", "fitted", "result"),
    [
        ({"name": "scale", "factor": 2}, None, {"name": "scale", "factor": 2}),
        (
            {"name": "standardize"},
            {"mean": 1.0, "std": 2.0},
            {"name": "standardize", "mean": 1.0, "std": 2.0},
        ),
        (
            {"name": "standardize", "mean": 5},
            {"mean": 1.0, "std": 0.0},
            {"name": "clip", "low": 0.0, "high": 0.0},
        ),
        ({"name": "minmax"}, {"low": 3.0, "high": 3.0}, {"name": "clip", "low": 0.0, "high": 0.0}),
        ({"name": "minmax", "low": 0.0, "high": 1.0}, None, {"name": "minmax", "low": 0.0, "high": 1.0}),
    ],
)
def test_what_never_varied_is_0(encoder, fitted, result):
    assert settled(encoder, fitted) == result


# --- what is generated --------------------------------------------------------------------------------


def test_generated_keys_are_of_rows_or_of_users():
    random = made_up._random(1, "keys")
    assert made_up._keys(5, False, random).tolist() == [1, 2, 3, 4, 5]
    users = Counter(made_up._keys(2000, True, random).tolist())
    assert set(users) == set(range(1, 101)) and 10 < np.mean(list(users.values())) < 30
    assert set(made_up._keys(3, True, random).tolist()) == {1}


def test_one_seed_and_purpose_is_one_stream():
    drawn = {
        made_up._random(seed, *of).integers(1 << 62)
        for seed in (1, 2)
        for of in (("a",), ("a", "b"), ("ab",))
    }
    assert len(drawn) == 6
    assert made_up._random(1, "a").integers(1 << 62) == made_up._random(1, "a").integers(1 << 62)


def test_every_value_is_covered_where_rows_are_enough():
    random = made_up._random(1, "covering")
    for count, rows in ((3, 3), (3, 20), (5, 2), (1, 4)):
        found = made_up._covering(count, rows, random)
        assert len(found) == rows and set(found) <= set(range(count))
        assert len(set(found)) == min(count, rows)


@pytest.mark.parametrize(
    ("named", "listed"),
    [
        ({}, []),
        ({"vocab": {"values": ["a", "b"]}}, ["a", "b"]),
        ({"vocab": {"values": ["a"], "default": "other"}}, ["a", "unlisted"]),
        ({"vocab": {"values": [3, 9, 4], "default": "other"}}, [3, 9, 4, 10]),
        ({"vocab": {"values": [3, "x"], "default": {"value": 3}}}, [3, "x", "unlisted"]),
        ({"index": {"n": 3}}, [0, 1, 2]),
        ({"index": {"n": 2, "default": {"value": 0}}}, [0, 1, 2]),
    ],
)
def test_what_a_lookup_is_given(named, listed):
    assert made_up._listed(named) == listed


def test_how_numbers_are_drawn():
    def numbers(named=(), literals=(), derives=False, scale=1.0, **column):
        column = {"type": "float", "kind": "feature"} | column
        random = made_up._random(3, "numbers")
        return np.array(made_up._numbers(column, dict(named), literals, derives, 4000, random, scale))

    assert set(numbers(kind="label")) == {0, 1} and set(numbers(kind="label", rows=5)) == {0, 1, 2, 3, 4}
    assert set(numbers(kind="label", scale=10.0)) == set(range(1, 11))
    assert set(numbers(derives=True)) == {0, 1}, "a column that labels are made of"
    assert abs(numbers(derives=True, encoders=[1]).mean()) < 0.1 < numbers(derives=True, encoders=[1]).std()
    assert len(set(numbers(kind="label", rows=5000))) <= 1000
    whole = numbers(type="int", scale=10.0)
    assert set(whole) <= set(range(100)) and len(set(whole)) == 100
    assert numbers(kind="weight", scale=3.0).min() >= 0 and 5 < numbers(kind="weight", scale=3.0).max() <= 6
    normal = numbers(scale=10.0)
    assert 9 < normal.std() < 11 and abs(normal.mean()) < 1
    edges = numbers({"bucketize": {"edges": [0.0, 100.0]}})
    assert edges.min() < -40 and edges.max() > 140 and edges.min() >= -50 and edges.max() <= 150
    around = numbers(literals=[5.0], type="int")
    assert set(around) <= {3, 4, 5, 6, 7} and len(set(around)) == 5
    assert set(numbers({"hash": {"buckets": 4}})) == set(range(8))


def test_lists_are_of_up_to_four_different_values():
    random = made_up._random(1, "many")
    texts = made_up._many(
        {"split": {"separator": "|"}, "vocab": {"values": ["a", "b|c", "", "d", "e"]}}, 400, random
    )
    pieces = [text.split("|") if text else [] for text in texts]
    assert {piece for row in pieces for piece in row} == {"a", "d", "e"}
    assert all(len(set(row)) == len(row) <= 4 for row in pieces) and {len(row) for row in pieces} == {
        0,
        1,
        2,
        3,
    }
    hashed = made_up._many({"split": {"separator": " "}, "hash": {"buckets": 3}}, 400, random)
    assert {piece for text in hashed for piece in text.split()} == {f"v{i}" for i in range(6)}


def test_what_expressions_compare_with_is_generated():
    tree = {
        "op": "or",
        "args": [
            {"op": ">", "args": [{"column": "x"}, {"number": 3}]},
            {"call": "is_missing", "args": [{"string": "a"}]},
        ],
    }
    assert list(made_up._literals(tree)) == [3, "a"]
    assert made_up._tests_missing(tree) and not made_up._tests_missing(tree["args"][0])
    columns = {"y": {"value": {"column": "z"}}, "z": {"value": {"column": "x"}}, "x": {}}
    assert made_up._uses(columns["y"], "x", columns) and made_up._uses(columns["y"], "z", columns)
    assert not made_up._uses(columns["z"], "y", columns) and not made_up._uses(columns["z"], "w", columns)
    texts = made_up._texts({}, ["a", "b"], 300, made_up._random(1, "texts"))
    assert set(texts) == {"a", "b", "unlisted"}
    assert set(made_up._texts({"hash": {"buckets": 2}}, [], 300, made_up._random(1, "t"))) == {
        "v0",
        "v1",
        "v2",
        "v3",
    }


def test_gaps_are_where_the_spec_allows_them():
    def column(*encoders, trees=(), gaps=True, **more):
        given = {"name": "x", "type": "float", "kind": "column", "encoders": encoders} | more
        made = made_up._column(given, trees, (), 2000, made_up._random(1, "gaps"), 1.0, gaps)
        return made.null_count / 2000

    tested = [{"call": "is_missing", "args": [{"column": "x"}]}]
    assert 0.05 < column({"name": "missing", "value": 0}) < 0.15
    assert (
        0.05 < column(trees=tested) < 0.15
        and 0.05 < column({"name": "index", "n": 3, "default": "other"}) < 0.15
    )
    assert not column(trees=tested, gaps=False) and not column(trees=tested, shape="number") and not column()
    assert not column(trees=[{"column": "x"}]) and not column({"name": "index", "n": 3})


# --- reading and values -----------------------------------------------------------------------------


def test_the_columns_at_the_top_of_nested_schemas():
    nested = [("schema", 3), ("a", 0), ("s", 2), ("x", 0), ("y", 1), ("z", 0), ("b", 0)]
    schemas = [(file, *each) for file in ("one", "two") for each in nested]
    assert _top_level(schemas) == [["a", "s", "b"]] * 2
    one = [("schema", 1), ("a", 1), ("b", 1), ("c", 0)]
    assert _top_level([*(("one", *each) for each in one), ("two", "schema", 0)]) == [["a"], []]


def test_where_columns_are():
    source = Opened("alice", "t.csv", "csv")
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
        ("string", "INTEGER[]", "array_to_string"),
        ("string", "STRUCT(a INTEGER)", '"a""b".part'),
        ("string", "BLOB", "hex("),
        ("string", "INTERVAL", "convert it in a query: sql:SELECT … epoch("),
        ("string", "BIT", 'CAST("a""b" AS VARCHAR)'),
        ("int", "DATE", "declare it string, or make a number of it in a query: sql:SELECT … epoch("),
        ("int", "UUID", 'AS BIGINT)'),
        ("int", "BLOB", "convert it in a query"),
    ],
)  # fmt: skip
def test_a_way_for_every_type(declared, type, says):
    assert says in what_to_do('a"b', declared, type)


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
    assert dataset.IN_MEMORY == 4 << 30
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
