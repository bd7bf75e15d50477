"""Expressions against a plain per-row evaluation."""

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_common.expressions import columns
from vflc_runtime.data.expressions import evaluate
from vflc_runtime.errors import Failure


def column(name):
    return {"column": name}


def number(value):
    return {"number": value}


def op(name, *args):
    return {"op": name, "args": list(args)}


def call(name, *args):
    return {"call": name, "args": list(args)}


def finite(function):
    def safe(*args):
        if any(a is None for a in args):
            return None
        try:
            value = function(*map(float, args))
        except (ArithmeticError, ValueError):
            return None
        return value if isinstance(value, float) and math.isfinite(value) else None

    return safe


def strict(function):
    return lambda *args: None if any(a is None for a in args) else function(*args)


def truth(value):
    return None if value is None else bool(value)


def conjunction(a, b):
    a, b = truth(a), truth(b)
    return False if False in (a, b) else None if None in (a, b) else True


NUMERIC = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: float(math.floor(a / b)),
    "%": lambda a, b: a - b * math.floor(a / b),
    "**": lambda a, b: math.pow(a, b),
    "neg": lambda a: -a,
}
CALLS = {
    "floor": lambda a: float(math.floor(a)),
    "abs": abs,
    "log": math.log,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "round": lambda a: float(round(a)),
}
COMPARE = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def reference(tree, row):
    if "column" in tree:
        return row[tree["column"]]
    if "number" in tree:
        return tree["number"]
    args = [reference(a, row) for a in tree["args"]]
    name = tree.get("op") or tree["call"]
    if name == "is_missing":
        return args[0] is None
    if name == "not":
        return None if args[0] is None else not args[0]
    if name == "and":
        return conjunction(*args)
    if name == "or":
        negated = conjunction(*(None if truth(a) is None else not truth(a) for a in args))
        return None if negated is None else not negated
    if name in COMPARE:
        return strict(COMPARE[name])(*args)
    return finite(NUMERIC.get(name) or CALLS[name])(*args)


NUMBERS = st.recursive(
    st.one_of(
        st.sampled_from(["i", "x"]).map(column), st.sampled_from([0, 1, 2, 3, -2, 0.5, 100]).map(number)
    ),
    lambda inner: st.one_of(
        st.builds(op, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner, inner),
        st.builds(op, st.just("neg"), inner),
        st.builds(call, st.sampled_from(list(CALLS)), inner),
    ),
    max_leaves=5,
)
TRUTHS = st.recursive(
    st.one_of(
        st.builds(op, st.sampled_from(list(COMPARE)), NUMBERS, NUMBERS),
        st.builds(call, st.just("is_missing"), NUMBERS),
    ),
    lambda inner: st.one_of(
        st.builds(op, st.sampled_from(["and", "or"]), inner, inner), st.builds(op, st.just("not"), inner)
    ),
    max_leaves=4,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "i": st.one_of(st.none(), st.integers(-5, 5)),
            "x": st.one_of(st.none(), st.sampled_from([-2.5, -1.0, 0.0, 0.5, 1.5, 2.5, 1e3])),
        }
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(st.one_of(NUMBERS, TRUTHS), ROWS)
def test_any_expression_against_plain_python(tree, rows):
    values = {
        "i": pa.array([row["i"] for row in rows], pa.int64()),
        "x": pa.array([row["x"] for row in rows], pa.float64()),
    }
    found = evaluate(tree, values, len(rows)).to_pylist()
    expected = [reference(tree, row) for row in rows]
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours is None) == (theirs is None), (tree, rows, found, expected)
        assert ours == theirs or math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9), (found, expected)
    assert set(columns(tree)) <= {"i", "x"}


def test_texts():
    values = {"t": pa.array([" Yes", "no", None])}
    yes = op("==", call("lower", call("strip", column("t"))), {"string": "yes"})
    assert evaluate(yes, values, 3).to_pylist() == [True, False, None]
    either = op("or", call("is_missing", column("t")), yes)
    assert evaluate(either, values, 3).to_pylist() == [True, False, True]
    assert evaluate(op("<", column("t"), {"string": "a"}), values, 3).to_pylist() == [True, False, None]


def test_integers_are_compared_exactly():
    large = pa.array([2**60, 2**60 + 1])
    assert evaluate(op("==", column("i"), number(2**60 + 1)), {"i": large}, 2).to_pylist() == [False, True]
    found = evaluate(op("+", op(">", column("i"), number(2**60)), number(1)), {"i": large}, 2)
    assert found.to_pylist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "tree",
    [
        op("+", column("t"), number(1)),
        op(">", column("t"), number(1)),
        op("and", column("t"), column("t")),
        call("log", column("t")),
        call("lower", column("i")),
        op("==", op(">", column("i"), number(1)), {"string": "x"}),
    ],
)
def test_text_for_numbers_is_refused(tree):
    values = {"t": pa.array(["1"]), "i": pa.array([1])}
    with pytest.raises(Failure, match="VFL0603") as caught:
        evaluate(tree, values, 1, {"file": "spec.vfl"})
    assert caught.value.where == {"file": "spec.vfl"}
