"""Parts of encoding one by one: limits, what is reported, what is generated."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from test_data_encoders import chain, encode, hash_of, keys, refused, vocab
from vflc_common.moments import ROUNDING, Moments
from vflc_runtime.data import generate as made_up
from vflc_runtime.data.chain import SPARSE, WIDE, UnplacedCounts
from vflc_runtime.data.encoders import settled
from vflc_runtime.data.refusals import MOST_VALUES
from vflc_runtime.errors import Failure

SPLIT = {"name": "split", "separator": "|"}


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
    report = UnplacedCounts(widest=widest, values=values, rows=10).report()
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
            "index(5) takes 0 to 4; for values from 1, use vocab(1..5), or",
        ),
        ({"name": "index", "n": 5}, "label", "for values from 1, use vocab(1..5)"),
    ],
)
def test_what_to_do_about_unknown_values(encoder, kind, help):
    failure = refused("VFL0604", ["7", "x"], encoder, kind=kind)
    assert help in failure.help and ("default" in failure.help) is (kind == "feature")
    assert ("vocab of 1 values" if encoder["name"] == "vocab" else "its index does not") in failure.message
    assert failure.message.endswith("'k0'")


@pytest.mark.parametrize(
    ("kind", "help"), [("label", "is_missing"), ("weight", "missing(1)"), ("feature", "add missing(value)")]
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
    assert [*wanted(named).listed] == listed


def wanted(named):
    return made_up._Wanted([{"name": name, **settings} for name, settings in named.items()])


def test_how_numbers_are_drawn():
    def numbers(named=(), literals=(), derives=False, scale=1.0, **column):
        column = {"type": "float", "kind": "feature"} | column
        random = made_up._random(3, "numbers")
        return np.array(made_up._numbers(column, wanted(dict(named)), literals, derives, 4000, random, scale))

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
        wanted({"split": {"separator": "|"}, "vocab": {"values": ["a", "b|c", "", "d", "e"]}}), 400, random
    )
    pieces = [text.split("|") if text else [] for text in texts]
    assert {piece for row in pieces for piece in row} == {"a", "d", "e"}
    assert all(len(set(row)) == len(row) <= 4 for row in pieces) and {len(row) for row in pieces} == {
        0,
        1,
        2,
        3,
    }
    hashed = made_up._many(wanted({"split": {"separator": " "}, "hash": {"buckets": 3}}), 400, random)
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
    texts = made_up._texts(wanted({}), ["a", "b"], 300, made_up._random(1, "texts"))
    assert set(texts) == {"a", "b", "unlisted"}
    assert set(made_up._texts(wanted({"hash": {"buckets": 2}}), [], 300, made_up._random(1, "t"))) == {
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
