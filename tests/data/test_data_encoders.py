"""Encoder chains against plain per-value references, and against Keras."""

import json
import math
from typing import Any

import farmhash
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_common.moments import Moments
from vflc_runtime.data.chain import EncoderChain
from vflc_runtime.data.encoders import may_be_fitted
from vflc_runtime.errors import Failure

WHERE = {"file": "spec.vfl", "line": 4, "column": 3, "end_column": 9, "text": "  feature f: string"}
WORDS = ["", "a", "F", "1193", "Sci-Fi", "ünïcødé 漢字", "x" * 100, "12345678", "123456789012345"]
HASHED = [377723, 291400, 431669, 64469, 911820, 123091, 107918, 470335, 926500]
SALTED = [953272, 554259, 315649, 5490, 51051, 580974, 522915, 100339, 883210]
NUMBERS = [0, -1, 1193, 2**62]
HASHED_NUMBERS = [537292, 285648, 64469, 35490]


def chain(*encoders, shape="id", state=None, **column):
    return EncoderChain("p.f", {"encoders": encoders, "shape": shape, "where": WHERE, **column}, state)


def encode(values, *encoders, type=None, **column):
    made = chain(*encoders, **column)
    array = pa.array(values, type)
    return made.encode(array, keys(array)), made


def keys(array):
    return pa.array([f"k{i}" for i in range(len(array))])


def refused(code, values, *encoders, **column):
    with pytest.raises(Failure) as caught:
        encode(values, *encoders, **column)
    assert caught.value.code == code, str(caught.value)
    assert caught.value.where == WHERE
    return caught.value


def hash_of(buckets, **options):
    return {"name": "hash", "buckets": buckets, **options}


def vocab(*values, default=None):
    return {"name": "vocab", "values": list(values), "default": default}


def test_hash_gives_the_buckets_of_keras():
    for values, salt, expected in (
        (WORDS, None, HASHED),
        (WORDS, [133, 137], SALTED),
        (NUMBERS, None, HASHED_NUMBERS),
    ):
        ids, _ = encode(values, hash_of(1000003, salt=salt))
        assert ids.tolist() == expected and ids.dtype == np.int32


def test_keras_itself_agrees():
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    layers = keras.layers
    words, numbers = np.array(WORDS), np.array(NUMBERS)
    assert layers.Hashing(1000003)(words).numpy().tolist() == HASHED
    assert layers.Hashing(1000003)(numbers).numpy().tolist() == HASHED_NUMBERS
    for salt in (133, [133, 137]):
        ours, _ = encode(WORDS, hash_of(977, salt=salt))
        assert layers.Hashing(977, salt=salt)(words).numpy().tolist() == ours.tolist()
    edges, reals = [-1.5, 0.0, 2.0], [-3.0, -1.5, -0.1, 0.0, 1.9, 2.0, 9.0]
    ours, _ = encode(reals, {"name": "bucketize", "edges": edges})
    assert layers.Discretization(bin_boundaries=edges)(np.array(reals)).numpy().tolist() == ours.tolist()
    ours, _ = encode(["b", "x", "a", "c"], vocab("a", "b", "c", default="other"))
    theirs = layers.StringLookup(vocabulary=["a", "b", "c"])(np.array(["b", "x", "a", "c"]))
    assert theirs.numpy().tolist() == ours.tolist()
    ours, _ = encode([7, 5, 9], vocab(5, 7, default="other"))
    assert layers.IntegerLookup(vocabulary=[5, 7])(np.array([7, 5, 9])).numpy().tolist() == ours.tolist()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=30), st.integers(1, 50))
def test_text_chains_against_a_loop(texts, buckets):
    ids, made = encode(
        texts, {"name": "missing", "value": "?"}, {"name": "lower"}, hash_of(buckets), type=pa.string()
    )
    lowered = pa.array(["?" if t is None else t for t in texts], pa.string())
    lowered = [text.as_py() for text in pa.compute.utf8_lower(lowered)]
    assert ids.tolist() == [farmhash.fingerprint64(text) % buckets for text in lowered]
    assert made.counts.missing == texts.count(None)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(st.none(), st.lists(st.sampled_from(["a", "b", " c", "x", ""]), max_size=4)), max_size=20
    ),
    st.sampled_from([None, "other", {"value": "b"}]),
)
def test_many_values_against_a_loop(rows, default):
    texts = [None if row is None else "|".join(row) for row in rows]
    known = ["a", "b", "c"]
    split, strip = {"name": "split", "separator": "|"}, {"name": "strip"}
    pieces = [[piece.strip() for piece in row or [] if piece] for row in rows]
    if default is None and any("x" in row for row in pieces):
        refused("VFL0604", texts, split, strip, vocab(*known), shape="ids", type=pa.string())
        return
    ids, made = encode(
        texts, split, strip, vocab(*known, default=default), shape="ids", type=pa.string(), rows=4
    )
    places = {
        piece: known.index(piece) + (default == "other") if piece in known else 0 if default == "other" else 1
        for piece in ["a", "b", "c", "x"]
    }
    width = max([1, *map(len, pieces)])
    assert ids.dtype == np.int32
    assert ids.tolist() == [[places[p] for p in row] + [-1] * (width - len(row)) for row in pieces]
    assert made.counts.unknown == sum(row.count("x") for row in pieces)
    assert made.counts.examples == (["x"] if made.counts.unknown else [])
    assert made.counts.missing == texts.count(None)


REALS = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=20)


@settings(max_examples=50, deadline=None)
@given(REALS)
def test_number_chains_against_a_loop(values):
    steps = [
        {"name": "missing", "value": 2},
        {"name": "log1p"},
        {"name": "scale", "factor": 0.5},
        {"name": "clip", "low": -1.0, "high": 3.0},
        {"name": "standardize", "mean": 1.0, "std": 4.0},
        {"name": "minmax", "low": -1.0, "high": 1.0},
    ]
    numbers, made = encode(values, *steps, shape="number", type=pa.float64())

    def reference(x):
        x = 2.0 if x is None else x
        x = math.copysign(math.log1p(abs(x)), x) * 0.5
        return ((min(max(x, -1.0), 3.0) - 1.0) / 4.0 + 1.0) / 2.0

    assert numbers.shape == (len(values), 1) and numbers.dtype == np.float64
    np.testing.assert_allclose(numbers[:, 0], [reference(x) for x in values], rtol=1e-12, atol=1e-12)
    assert made.unfitted is None


def test_what_is_not_finite_is_missing():
    values = [1.0, math.nan, math.inf, -math.inf, None]
    numbers, made = encode(values, {"name": "missing", "value": 7}, shape="number")
    assert numbers[:, 0].tolist() == [1, 7, 7, 7, 7] and made.counts.missing == 4
    assert "4 of 5 rows" in refused("VFL0610", values, shape="number").message
    assert "'k1'" in refused("VFL0610", values, shape="number").message
    assert refused("VFL0610", [1e308], {"name": "scale", "factor": 1e10}, shape="number")


def test_a_missing_value_needs_a_filler_or_a_default():
    assert "missing(value)" in refused("VFL0610", ["a", None], hash_of(3)).help
    assert "is_missing" in refused("VFL0610", [1.0, None], shape="number", kind="label").help
    assert refused("VFL0610", ["a", None], vocab("a"))
    assert refused("VFL0610", [1.0, None], {"name": "bucketize", "edges": [0.0]})
    assert encode(["a", None], vocab("a", "b", default={"value": "b"}))[0].tolist() == [0, 1]
    assert encode(["a", None], vocab("a", "b", default="other"))[0].tolist() == [1, 0]
    assert encode(["a", None], {"name": "missing", "value": "b"}, vocab("a", "b"))[0].tolist() == [0, 1]
    assert encode([3, None], {"name": "missing", "value": 4}, vocab(4, 3))[0].tolist() == [1, 0]
    whole = [1, None], {"name": "missing", "value": 0.5}
    assert encode(*whole, shape="number")[0].tolist() == [[1.0], [0.5]]


def test_values_outside_a_vocabulary():
    failure = refused("VFL0604", ["a", "z", "a", "y", "z"], vocab("a"))
    assert "'z', 'y'" in failure.message and "'k1'" in failure.message and "default" in failure.help
    failure = refused(
        "VFL0604", ["a|b", "b|q"], {"name": "split", "separator": "|"}, vocab("a", "b"), shape="ids"
    )
    assert "'q'" in failure.message and "'k1'" in failure.message
    _, made = encode(["a", "z", None, "z", "y"], vocab("a", default="other"))
    assert made.counts.report() == {"unknown": 3, "missing": 1, "examples": ["z", "y"]}
    _, made = encode([f"w{i}" for i in range(100)], vocab("a", default="other"))
    assert made.counts.unknown == 100 and len(made.counts.examples) == 5


def test_vocabularies_of_numbers():
    assert encode([35, 1, 18], vocab(1, 18, 35))[0].tolist() == [2, 0, 1]
    assert encode(["35", "1"], vocab(1, 18, 35))[0].tolist() == [2, 0]
    assert encode([35, 1], vocab("1", "35"))[0].tolist() == [1, 0]
    assert encode([35.0, 1.0], vocab(1, 35))[0].tolist() == [1, 0]
    assert encode([2, 1], vocab(0.5, 1.0, 2))[0].tolist() == [2, 1]
    assert refused("VFL0604", [1.5], vocab(1, 2))


def test_index():
    index = {"name": "index", "n": 5}
    assert encode([4, 0], index)[0].tolist() == [4, 0]
    assert encode(["4", "03"], index)[0].tolist() == [4, 3]
    assert encode([4, 9, -1], {**index, "default": "other"})[0].tolist() == [5, 0, 0]
    assert encode([4, 9, None], {**index, "default": {"value": 2}})[0].tolist() == [4, 2, 2]
    assert encode(["1,4", ""], {"name": "split", "separator": ","}, index, shape="ids")[0].tolist() == [
        [1, 4],
        [-1, -1],
    ]
    for values in ([5], [-1], ["x"], ["9" * 30], [1.5]):
        assert "index" in refused("VFL0604", values, index).message


def test_ids_as_they_stand_are_checked_against_their_range():
    assert encode([0, 2], rows=3)[0].tolist() == [0, 2]
    for values in ([3], [-1], [0.5]):
        assert "0 to 2" in refused("VFL0604", values, rows=3).message


def test_text_used_as_a_number_is_refused():
    assert refused("VFL0603", ["a"], shape="number")
    assert refused("VFL0603", ["a"], shape="id")
    assert refused("VFL0603", ["a"], {"name": "log1p"}, shape="number")
    assert refused("VFL0603", [1], {"name": "lower"})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(-1e9, 1e9), max_size=10), max_size=6))
def test_moments_of_parts_are_those_of_the_whole(parts):
    moments = Moments()
    for part in parts:
        moments.add(np.array(part))
    whole = np.array([x for part in parts for x in part])
    assert moments.count == len(whole)
    if len(whole):
        scale = 1e-9 * (1 + np.abs(whole).max())
        assert abs(moments.mean - whole.mean()) < scale and abs(moments.std - whole.std()) < scale
        assert (moments.low, moments.high) == (whole.min(), whole.max())


def test_fitting_uses_what_precedes_and_is_kept():
    steps = [
        {"name": "missing", "value": 0},
        {"name": "log1p"},
        {"name": "standardize", "mean": None, "std": None},
        {"name": "minmax", "low": None, "high": 2.0},
    ]
    values = np.random.default_rng(0).normal(size=100)
    made = chain(*steps, shape="number")
    for position in (2, 3):
        assert made.unfitted == position
        for part in np.split(values, [30, 31]):
            made.observe(pa.array(part), keys(part))
        made.settle()
    assert made.unfitted is None
    logged = np.sign(values) * np.log1p(abs(values))
    standard = (logged - logged.mean()) / logged.std()
    expected = (standard - standard.min()) / (2.0 - standard.min())
    array = pa.array(values)
    np.testing.assert_allclose(made.encode(array, keys(array))[:, 0], expected, rtol=1e-12)
    assert made.state[:2] == [None, None] and made.state[3]["high"] == 2.0
    again = chain(*steps, shape="number", state=made.state)
    assert again.unfitted is None
    assert (again.encode(array, keys(array)) == made.encode(array, keys(array))).all()


def test_fitting_to_constants_and_to_nothing():
    for name in ("standardize", "minmax"):
        made = chain({"name": name, "mean": None, "std": None}, shape="number")
        array = pa.array([3.0, 3.0])
        made.observe(array, keys(array))
        made.settle()
        assert made.encode(array, keys(array)).tolist() == [[0.0], [0.0]]
        made = chain({"name": name}, shape="number")
        made.observe(pa.array([None, math.nan], pa.float64()), keys([1, 2]))
        with pytest.raises(Failure, match="VFL0610"):
            made.settle()


@pytest.mark.parametrize("name", ["standardize", "minmax"])
@pytest.mark.parametrize("constant", [[0.3, 0.1 + 0.2, 0.3], [7.0] * 3, [0.0] * 3, [1e-300] * 3, [-1e18] * 2])
def test_a_column_that_never_varied_is_0_on_new_rows_too(name, constant):
    parameters = {"standardize": ("mean", "std"), "minmax": ("low", "high")}[name]
    encoder = {"name": name, **dict.fromkeys(parameters)}
    fitted = chain(encoder, shape="number")
    fitted.observe(pa.array(constant), None)
    fitted.settle()
    new = chain(encoder, shape="number", state=fitted.state)
    made = new.encode(pa.array([*constant, 5.0, -3e9]), None)
    assert not made.any()
    varied = chain(encoder, shape="number")
    varied.observe(pa.array([1.0, 1.0 + 1e-9]), None)
    varied.settle()
    assert varied.encode(pa.array([1.0, 1.0 + 1e-9]), None).std() > 0.4


def test_a_vocabulary_that_knows_nothing_is_told_apart_from_one_that_knows_little():
    values = ["x", "y", None, "x"]
    for default in ("other", {"value": "a"}):
        _, made = encode(values, vocab("a", "b", default=default))
        assert made.counts.report()["expected"] == ["a", "b"] and made.counts.unknown == 3
        _, made = encode([*values, "b"], vocab("a", "b", default=default))
        assert "expected" not in made.counts.report() and made.counts.unknown == 3
    _, made = encode([None, None], vocab("a", default="other"))
    assert "expected" not in made.counts.report()
    split = {"name": "split", "separator": "|"}
    _, made = encode(["z|y", "z", ""], split, vocab("a", default="other"), shape="ids")
    assert made.counts.report() == {"unknown": 3, "missing": 0, "examples": ["z", "y"], "expected": ["a"]}


def test_a_vocabulary_has_the_texts_that_tables_have():
    ids, _ = encode(["1", "2.5", "\u00e9"], vocab(1.0, 2.5, "e\u0301"))
    assert ids.tolist() == [0, 1, 2]
    made, _ = encode([None, "1"], {"name": "missing", "value": 1.0}, vocab("1", "2"))
    assert made.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("fitted", "fits"),
    [
        ({"values": ["a", "b"]}, True),
        ({"values": [1, 2]}, True),
        ({"values": ["a", 1]}, False),
        ({"values": ["a", "\ud800"]}, False),
        ({"values": ["a", ["b"]]}, False),
        ({"values": []}, False),
        ({"values": "ab"}, False),
        ({"values": None}, False),
        ({"max": 3}, False),
        (None, False),
    ],
)
def test_what_a_file_says_that_a_vocabulary_was_fitted_to(fitted: Any, fits: bool) -> None:
    vocab = {"name": "vocab", "values": None, "max": 3, "min_count": 1, "default": "other"}
    column = {"encoders": [{"name": "lower"}, vocab]}
    assert may_be_fitted(column, [None, fitted]) == fits


def test_what_each_encoder_is_fitted_to_is_taken_from_a_file() -> None:
    numbers = pa.array([1.0, 2.0, 2.0, 5.0])
    for encoder in (
        {"name": "quantiles", "n": 3, "edges": None},
        {"name": "standardize", "mean": None, "std": None},
        {"name": "minmax", "low": None, "high": None},
        {"name": "balanced", "classes": None, "weights": None},
    ):
        fitted = chain(encoder, shape="id" if encoder["name"] == "quantiles" else "number")
        fitted.observe(numbers, None)
        fitted.settle()
        assert may_be_fitted({"encoders": [encoder]}, json.loads(json.dumps(fitted.state))), encoder
    edges = {"encoders": [{"name": "quantiles", "n": 3, "edges": None}]}
    for wrong in ([2.0, 1.0], [], 1.0, ["a"], [[1.0]], None, [float("nan")]):
        assert not may_be_fitted(edges, [{"edges": wrong}]), wrong
