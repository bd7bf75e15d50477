"""Places of reading that whole tables seldom come to: each with a small table or call of its own."""

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from test_data_expressions import CALLS, COMPARE, NUMERIC, call, column, number, op, reference
from vflc_common.siphash import siphash
from vflc_common.values import Values
from vflc_runtime.data import encoded as module
from vflc_runtime.data.align import open_tables
from vflc_runtime.data.batches import Order, permutation, split
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.encoders import _check
from vflc_runtime.data.expressions import evaluate
from vflc_runtime.data.overlap import overlap
from vflc_runtime.errors import Failure

WHERE = {"line": 3}


def refused(code, function, *arguments, **options):
    with pytest.raises(Failure) as caught:
        function(*arguments, **options)
    assert caught.value.code == code, str(caught.value)
    return caught.value


# --- expressions: every operator on every pair of a grid -------------------------------------------------

GRID = [None, -2.5, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 1e3]
PAIRS = list(itertools.product(GRID, GRID))


def same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours is None) == (theirs is None) and (
            ours == theirs or math.isclose(ours, theirs, rel_tol=1e-12)
        )


@pytest.mark.parametrize("name", [*NUMERIC, *COMPARE, *CALLS, "and", "or", "not", "is_missing"])
def test_every_operator_on_a_grid(name):
    one = name in CALLS or name in ("neg", "not", "is_missing")
    arguments = [column("x")] if one else [column("x"), column("y")]
    tree = (call if name in CALLS or name == "is_missing" else op)(name, *arguments)
    x, y = (pa.array([pair[i] for pair in PAIRS], pa.float64()) for i in (0, 1))
    found = evaluate(tree, {"x": x, "y": y}, len(PAIRS)).to_pylist()
    same(found, [reference(tree, {"x": a, "y": b}) for a, b in PAIRS])


@pytest.mark.parametrize("name", ["+", "*", "<", "==", "and", "or"])
def test_truth_beside_numbers(name):
    """As 1 and 0, on either side; of two truths it is compared as it is."""
    truths, numbers = [True, False, None], [0, 1, 2, None]
    rows = [*itertools.product(truths, numbers)]
    t, n = pa.array([a for a, _ in rows], pa.bool_()), pa.array([b for _, b in rows], pa.int64())
    for left, right in (("t", "n"), ("n", "t"), ("t", "t")):
        tree = op(name, column(left), column(right))
        found = evaluate(tree, {"t": t, "n": n}, len(rows)).to_pylist()
        same(found, [reference(tree, {"t": a, "n": b}) for a, b in rows])


def test_large_whole_numbers_in_arithmetic_are_doubles():
    large = pa.array([2**53 + 1, -(2**63)])
    found = evaluate(op("+", column("i"), number(1)), {"i": large}, 2).to_pylist()
    assert found == [float(2**53 + 1) + 1, -(2.0**63) + 1]


def test_a_constant_is_there_in_every_row():
    for tree, value in ((number(3), 3), (number(0.5), 0.5), ({"string": "e\u0301"}, "é")):
        assert evaluate(tree, {}, 3).to_pylist() == [value] * 3
    large = pa.array(["a", None], pa.large_string())
    refused("VFL0603", evaluate, op("+", column("t"), number(1)), {"t": large}, 2)


# --- keys that are nearly common ------------------------------------------------------------------------


def test_forms_that_make_fewer_keys_are_not_told():
    """`a` and `A` are two keys at both, and one where case is no matter: there is nothing to gain."""
    parties = {name: {"key": "ID"} for name in "pq"}
    found = overlap(parties, {name: pa.table({"ID": ["a", "A", "b"]}) for name in "pq"})
    assert found.common == 3 and found.nearly == {} and found.problem is None


# --- hashes -----------------------------------------------------------------------------------------------


def plain_siphash(text, low, high):
    """SipHash-2-4 in Python's own integers."""
    mask = 2**64 - 1

    def rotated(x, bits):
        return ((x << bits) | (x >> (64 - bits))) & mask

    v = [
        low ^ 0x736F6D6570736575,
        high ^ 0x646F72616E646F6D,
        low ^ 0x6C7967656E657261,
        high ^ 0x7465646279746573,
    ]

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & mask
            v[1] = rotated(v[1], 13) ^ v[0]
            v[0] = rotated(v[0], 32)
            v[2] = (v[2] + v[3]) & mask
            v[3] = rotated(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask
            v[3] = rotated(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask
            v[1] = rotated(v[1], 17) ^ v[2]
            v[2] = rotated(v[2], 32)

    whole = text + bytes(-(len(text) + 1) % 8) + bytes([len(text) % 256])
    for at in range(0, len(whole), 8):
        word = int.from_bytes(whole[at : at + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 255
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_siphash_of_texts_of_every_length():
    texts = [bytes(range(256))[:n] for n in range(40)] + [b"x" * n for n in (255, 256, 257, 511, 512)]
    low, high = 0x0706050403020100, 0x0F0E0D0C0B0A0908
    assert siphash(texts, low, high).tolist() == [plain_siphash(text, low, high) for text in texts]
    assert plain_siphash(bytes(range(15)), low, high) == 0xA129CA6149BE45E5, "the example of the paper"
    assert siphash([], 1, 2).tolist() == []


# --- data sets --------------------------------------------------------------------------------------------


def numbers_of(rows, **more):
    fitted = {"name": "standardize", "mean": None, "std": None}
    columns = [{"name": "x", "kind": "feature", "type": "float", "encoders": [fitted], "shape": "number"}]
    table = pa.table({"ID": [f"{i:05d}" for i in range(rows)], "x": np.arange(rows) ** 1.5})
    encoders = {"parties": {"p": {"key": "ID", "columns": columns}}}
    return Dataset.load(encoders, {"p": table}, precision="float64", **more)


def test_encoders_are_fitted_to_training_rows_of_every_block(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 16)
    chosen = np.array([0, 3, 15, 16, 17, 31, 40, 63, 64, 69])
    data = numbers_of(70, keep=lambda rows, _: np.setdiff1d(np.arange(rows), chosen))
    x = np.arange(70) ** 1.5
    np.testing.assert_allclose(data.inputs["p.x"][:, 0], (x - x[chosen].mean()) / x[chosen].std())
    (state,) = data.state["p.x"]
    assert state["mean"] == pytest.approx(x[chosen].mean())

    again = numbers_of(70, state=data.state)
    np.testing.assert_array_equal(again.inputs["p.x"], data.inputs["p.x"])


def test_how_many_columns_are_encoded_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "WIDTH", 2)
    assert [list(some) for some in module._some([1, 2, 3, 4, 5])] == [[1, 2], [3, 4], [5]]
    assert list(module._some([])) == []


@pytest.mark.parametrize(
    ("start", "rows", "found"), [(0, 4, [0, 3]), (4, 4, [0, 3]), (8, 4, []), (3, 2, [0, 1])]
)
def test_chosen_rows_of_a_block(start, rows, found):
    assert module.these(np.array([0, 3, 4, 7]), start, rows).tolist() == found


def test_parties_whose_rows_are_counted():
    parties = {p: {"key": "ID", "columns": [{"name": "v", "type": "int"}]} for p in "ab"}
    tables = {
        "a": pa.table({"ID": ["x", "y", "z"], "v": [1, 2, 3]}),
        "b": pa.table({"ID": ["z", "x"], "v": [4, 5]}),
    }
    found = open_tables(parties, tables)
    assert (found.rows, found.keys.to_pylist()) == (2, ["x", "z"])
    assert found.report == {
        "a": {"rows": 3, "kept": 2, "dropped": 1}, "b": {"rows": 2, "kept": 2, "dropped": 0},
    }  # fmt: skip
    assert found.key_types == {"a": ("VARCHAR",), "b": ("VARCHAR",)}
    assert found.column("b", "v").to_pylist() == [5, 4]
    found.close()


# --- the order of rows --------------------------------------------------------------------------------------


def test_parts_of_every_fold_and_size():
    for rows, validation, fold, held in (
        (10, 0.25, 0, 2), (10, 0.25, 1, 3), (10, 0.25, 3, 2), (3, 0.9, 0, 2), (3, 0.34, 2, 1), (2, 0.1, 0, 1),
    ):  # fmt: skip
        train, held_out = split(rows, 5, validation, fold)
        assert (len(held_out), len(train)) == (held, rows - held), (rows, validation, fold)
    for rows, validation, fold in ((10, 0.5, 2), (3, 0.34, 3)):
        assert "are too few for part" in refused("VFL0608", split, rows, 5, validation, fold).message
    assert "one row cannot" in refused("VFL0608", split, 1, 5, 0.5).message
    assert split(1, 5, 0.0)[0].tolist() == [0] and refused("VFL0607", split, 0, 5, 0.0)


def test_a_shuffle_is_of_its_count_seed_and_purpose():
    assert permutation(1, 0, "x").tolist() == [0] and permutation(0, 0, "x").tolist() == []
    assert permutation(8, 1, "epoch 0").dtype == np.int64
    order = Order(20, 3, 0.2, 4)
    assert order.fold == 0 and order.shuffle and len({tuple(order.epoch(n)) for n in range(4)}) == 4
    assert sorted(order.epoch(1)) == order.train.tolist()


# --- what encoders of other packages give ------------------------------------------------------------------


def test_an_encoder_loses_no_rows() -> None:
    """Nor values, where it keeps how many a row has; it is told how many it gave."""
    flat, rows = pa.array([1, 2, 3]), np.array([0, 1, 1, 3])
    many = Values(flat, rows)

    def told(made: object, given: Values, widths: bool) -> str:
        with pytest.raises(ValueError) as refused:
            _check(made, given, widths)
        return str(refused.value)

    _check(Values(pa.array([7, 8, 9])), Values(flat), False)
    _check(Values(pa.array([7, 8, 9]), rows), many, False)
    assert told([1, 2, 3], many, False) == "gave list, no values"
    assert told(Values([1, 2, 3]), many, False) == "gave Values, no values"  # type: ignore[arg-type]
    assert told(Values(flat[:2], rows), many, False) == "gave 2 values for 3"
    assert told(Values(flat, rows.copy()), many, False) == "gave 3 values for 3"
    _check(Values(flat[:2], np.array([0, 0, 2, 2])), many, True)
    _check(Values(flat, np.array([0, 1, 1, 3])), Values(pa.array(["a", "b", "c"])), True)
    for offsets in (None, [0, 1, 1, 3], np.array([0, 1, 3]), np.array([0, 2, 1, 3])):
        assert told(Values(flat, offsets), many, True) == "gave no values for each of 3 rows"  # type: ignore[arg-type]
    assert told(Values(flat, np.array([0, 1, 1, 2])), many, True) == "gave 3 values, of which rows have 2"
    assert told(Values(flat, np.array([1, 1, 1, 3])), many, True) == "gave 3 values, of which rows have 3"
