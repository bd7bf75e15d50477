"""Both sides of every bound of functions, the names of axes, ranges, and what protections do to rows."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.op_testing import build, call, feature, value

from vflc.ir.build import Initializer
from vflc.ir.types import BATCH, Axis, TensorType
from vflc.ops import FUNCTIONS, OPS, OpError
from vflc.ops import traits as t
from vflc.ops.layers import INITS, initial, pick
from vflc.ops.rates import highest, reaches_zero
from vflc.ops.registry import function, register
from vflc.ops.rules import merge_axes, tensor

# --- what functions accept ------------------------------------------------------------------------------


def made(b):
    """Values to try functions on, by name."""
    items = b.weight("items", (Axis("row", 4), Axis(None, 2)), Initializer("zeros"), table=True)
    return {
        "x": value(b, "x", None, 3),
        "grid": value(b, "grid", None, ("field", 4), 3),
        "open": value(b, "open", None, None),
        "plain": value(b, "plain", 3),
        "lone": value(b, "lone"),
        "id3": feature(b, "id3", "id", 3),
        "id4": feature(b, "id4", "id", 4),
        "id5": feature(b, "id5", "id", 5),
        "ids4": feature(b, "ids4", "ids", 4),
        "free": feature(b, "free", "id", None),
        "y2": feature(b, "y2", "id", 2, "label"),
        "y3": feature(b, "y3", "id", 3, "label"),
        "y4": feature(b, "y4", "id", 4, "label"),
        "ys": feature(b, "ys", "ids", 3, "label"),
        "y": feature(b, "y", "number", op="label"),
        "one": value(b, "one", None, 1),
        "items": items,
        "w": b.weight("w", (Axis(None, 3),), Initializer("zeros")),
    }


FITS = [
    ("leaky_relu", ["x"], {"alpha": 0.0}), ("leaky_relu", ["x"], {"alpha": 1.0}),
    ("dropout", ["x", 0.0], {}), ("dropout", ["x", 0.999], {}),
    ("dense", ["x", 1], {}), ("weight", [1], {}), ("table", [1, 1], {}), ("mlp", ["x", [1]], {}),
    ("embed", ["id4", 2], {"table": "items"}), ("embed", ["id3", 1], {}), ("lookup", ["items", "id4"], {}),
    ("lookup", ["items", "free"], {}), ("one_hot", ["id3"], {}), ("one_hot", ["id3", 3], {}),
    ("one_hot", ["free", 2], {}), ("bce", ["one", "y2"], {}), ("cce", ["x", "y3"], {}),
    ("cce", ["x", "x"], {}),
    ("huber", ["one", "y"], {"delta": 1e-9}), ("l1", [0.0, "w"], {}), ("l2", [0.0, "w"], {"rows": "all"}),
    ("slice", ["x", "unit", 0, 3], {}), ("slice", ["x", "unit", 2, 3], {}),
    ("reshape", ["x", 3], {}), ("reshape", ["grid", 12], {}), ("reshape", ["grid", -1, 6], {}),
    ("clip", ["x", 0.5, 0.5], {}), ("present", ["ids4"], {}), ("present", ["id4"], {}),
    ("mse", ["one", "y"], {}), ("mse", ["one", "lone"], {}), ("concat", ["x"], {}),
]  # fmt: skip
REFUSED = [
    ("leaky_relu", ["x"], {"alpha": -0.001}, "VFL0205"), ("leaky_relu", ["x"], {"alpha": 1.001}, "VFL0205"),
    ("dropout", ["x", -0.001], {}, "VFL0205"), ("dropout", ["x", 1.0], {}, "VFL0205"),
    ("dense", ["x", 0], {}, "VFL0205"), ("dense", ["open", 2], {}, "VFL0201"),
    ("dense", ["lone", 2], {}, "VFL0201"),
    ("weight", [3, 0], {}, "VFL0205"), ("table", [0, 1], {}, "VFL0205"), ("table", [1, 0], {}, "VFL0205"),
    ("mlp", ["x", []], {}, "VFL0107"), ("mlp", ["x", [2, 0]], {}, "VFL0205"),
    ("embed", ["id3", 0], {}, "VFL0205"), ("embed", ["id5", 2], {"table": "items"}, "VFL0205"),
    ("embed", ["id3", 2], {"table": "w"}, "VFL0201"), ("embed", ["id3", 3], {"table": "items"}, "VFL0201"),
    ("embed", ["x", 2], {"combiner": "sun"}, "VFL0106"), ("embed", [[], 2], {}, "VFL0203"),
    ("lookup", ["items", "id5"], {}, "VFL0205"), ("lookup", ["w", "id3"], {}, "VFL0203"),
    ("lookup", ["items", "one"], {}, "VFL0203"), ("one_hot", ["id3", 2], {}, "VFL0205"),
    ("one_hot", ["free"], {}, "VFL0205"), ("one_hot", ["one"], {}, "VFL0203"),
    ("bce", ["one", "y3"], {}, "VFL0201"), ("bce", ["plain", "plain"], {}, "VFL0201"),
    ("cce", ["x", "y4"], {}, "VFL0201"), ("cce", ["x", "ys"], {}, "VFL0201"),
    ("cce", ["x", "one"], {}, "VFL0201"),
    ("cce", ["grid", "y3"], {}, "VFL0201"), ("mse", ["x", "y"], {}, "VFL0201"),
    ("huber", ["one", "y"], {"delta": 0.0}, "VFL0205"), ("huber", ["one", "y"], {"delta": -1.0}, "VFL0205"),
    ("l1", [-1e-9, "w"], {}, "VFL0205"), ("l2", [-1e-9, "w"], {}, "VFL0205"), ("l1", [1.0], {}, "VFL0107"),
    ("l2", [1.0, "x"], {}, "VFL0203"), ("l2", [1.0, "w"], {"rows": "none"}, "VFL0106"),
    ("slice", ["x", "unit", 0, 4], {}, "VFL0201"), ("slice", ["x", "unit", 2, 2], {}, "VFL0201"),
    ("slice", ["x", "unit", -1, 2], {}, "VFL0201"),
    ("reshape", ["x", 2], {}, "VFL0201"), ("reshape", ["x", -1, -1], {}, "VFL0201"),
    ("reshape", ["x", -1, 2], {}, "VFL0201"), ("reshape", ["x", -1, 0], {}, "VFL0201"),
    ("reshape", ["x", -1, -3], {}, "VFL0201"), ("reshape", ["open", -1], {}, "VFL0201"),
    ("concat", [], {}, "VFL0107"), ("concat", ["x", "plain"], {}, "VFL0201"),
    ("stack", [[], "a"], {}, "VFL0107"),
    ("stack", [["x"], "batch"], {}, "VFL0201"), ("stack", [["grid"], "field"], {}, "VFL0201"),
    ("sum", ["x", "batch"], {}, "VFL0202"), ("sum", ["grid", "unit"], {}, "VFL0202"),
    ("sum", ["lone", "a"], {}, "VFL0201"), ("softmax", ["lone"], {}, "VFL0201"),
    ("matmul", ["x", "x"], {}, "VFL0201"), ("matmul", ["plain", "plain"], {}, "VFL0201"),
    ("positions", ["open"], {}, "VFL0201"), ("present", ["x"], {}, "VFL0201"),
    ("expand", ["grid", "x"], {}, "VFL0201"), ("attention", ["x", "x", "grid"], {}, "VFL0201"),
    ("add", ["id3", "x"], {}, "VFL0203"), ("rename", ["grid", "unit", "a"], {}, "VFL0202"),
    ("batch_norm", ["plain"], {}, "VFL0201"),
    ("weight", [2], {"init": "unit"}, "VFL0106"), ("dense", ["x", 2], {"activation": "tan"}, "VFL0106"),
]  # fmt: skip


def applied(b, name, arguments, options):
    values = made(b)

    def find(given):
        if isinstance(given, list):
            return [find(each) for each in given]
        return values.get(given, given)

    return call(name, b, *map(find, arguments), **{key: find(given) for key, given in options.items()})


@pytest.mark.parametrize(("name", "arguments", "options"), FITS)
def test_up_to_the_bound(name, arguments, options):
    applied(build(), name, arguments, options)


@pytest.mark.parametrize(("name", "arguments", "options", "code"), REFUSED)
def test_beyond_the_bound(name, arguments, options, code):
    with pytest.raises(OpError) as refused:
        applied(build(), name, arguments, options)
    assert refused.value.code == code and refused.value.message


def test_a_name_that_is_nearly_one():
    assert pick("thing", "sum", ("sum", "mean")) == "sum"
    for wrong, told in (("sun", "did you mean `sum`?"), ("xyz", "use one of: sum, mean")):
        with pytest.raises(OpError, match=f"there is no thing `{wrong}`") as refused:
            pick("thing", wrong, ("sum", "mean"))
        assert (refused.value.help, refused.value.code) == (told, "VFL0106")


def test_how_weights_start():
    """A scale is read where it counts."""
    found = {name: initial(name, 0.25) for name in INITS}
    assert found == {
        "glorot_uniform": Initializer("glorot_uniform"), "uniform": Initializer("uniform", 0.25),
        "normal": Initializer("normal", 0.25), "zeros": Initializer("zeros"),
        "ones": Initializer("constant", 1.0),
    }  # fmt: skip


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="op 'add' is registered twice"):
        register(OPS["add"])

    def dense_(b, x):
        """Another."""

    with pytest.raises(ValueError, match="function 'dense' is registered twice"):
        function(dense_)
    assert FUNCTIONS["dense"].expand is not dense_


# --- axes and their names -------------------------------------------------------------------------------

A, B2 = Axis("a", 3), Axis("b", 3)
ROW = Axis(BATCH, None)


@pytest.mark.parametrize(
    ("x", "y", "found"),
    [
        (A, Axis(None, 3), A), (A, A, A), (A, Axis(None, 1), A), (A, Axis("b", 1), A),
        (A, Axis(None, 4), None), (A, Axis(None, None), None), (ROW, ROW, ROW), (ROW, Axis(None, 1), ROW),
        (ROW, Axis(None, None), None),
        (ROW, Axis(None, 3), None), (Axis(None, 1), Axis("c", 1), Axis("c", 1)),
    ],
)  # fmt: skip
def test_two_axes_at_one_position(x, y, found):
    assert merge_axes(x, y) == found == merge_axes(y, x)


def named(*axes, batched=True):
    given = (Axis(*axis) if isinstance(axis, tuple) else Axis(None, axis) for axis in axes)
    return TensorType((*[ROW] * batched, *given))


def _flips(x, y):
    return {"transpose_x": x, "transpose_y": y}


@pytest.mark.parametrize(
    ("op", "types", "attrs", "found"),
    [
        ("concat", (named(("f", 4), 3), named(2, ("u", 3))), {"axis": 1}, "[f 6, u 3]"),
        ("concat", (named(2, 3), named(("f", 4), 3)), {"axis": 1}, "[f 6, 3]"),
        ("concat", (named(("f", 4), 3), named(4, ("u", 1))), {"axis": 2}, "[f 4, u 4]"),
        ("stack", (named(3), named(("u", 3))), {"axis": 1, "name": "e"}, "[e 2, u 3]"),
        ("stack", (named(3), named(3), named(3)), {"axis": 2, "name": None}, "[3, 3]"),
        ("slice", (named(("f", 4), ("u", 3)),), {"axis": 1, "start": 1, "stop": 4}, "[f 3, u 3]"),
        ("slice", (named(("f", 4), ("u", 3)),), {"axis": 2, "start": 0, "stop": 3}, "[f 4, u 3]"),
        ("pad", (named(("f", 4), ("u", 3)),), {"axis": 1, "before": 1, "after": 2}, "[f 7, u 3]"),
        ("pad", (named(("f", 4), ("u", 3)),), {"axis": 2, "before": 0, "after": 0}, "[f 4, u 3]"),
        ("sum", (named(("f", 4), ("u", 3)),), {"axes": (1,), "keep": True}, "[f 1, u 3]"),
        ("sum", (named(("f", 4), ("u", 3)),), {"axes": (2,), "keep": False}, "[f 4]"),
        ("matmul", (named(("f", 4), 3), named(3, ("f", 4))), _flips(False, False), "[f 4, 4]"),
        ("matmul", (named(("f", 4), 3), named(("g", 2), 3)), _flips(False, True), "[f 4, g 2]"),
        ("matmul", (named(3, ("f", 4)), named(3, ("g", 2))), _flips(True, False), "[f 4, g 2]"),
        ("contract", (named(("f", 4)), named(("g", 2))), {}, "[f 4, g 2] (once)"),
        ("contract", (named(("f", 4)), named(("f", 4))), {}, "[f 4, 4] (once)"),
        ("linear", (named(("f", 2), 3), named(3, ("u", 4), batched=False)), {}, "[f 2, u 4]"),
        ("unsqueeze", (named(("f", 4)),), {"axis": 2, "name": "n"}, "[f 4, n 1]"),
        ("unsqueeze", (named(("f", 4)),), {"axis": 1, "name": None}, "[1, f 4]"),
        ("squeeze", (named(("f", 4), 1, 3),), {"axis": 2}, "[f 4, 3]"),
        ("transpose", (named(("f", 4), ("u", 3)),), {"perm": (0, 2, 1)}, "[u 3, f 4]"),
        ("where", (named(3).with_dtype("bool"), named(("u", 3)), named(3)), {}, "[u 3]"),
    ],
)  # fmt: skip
def test_axes_keep_their_names(op, types, attrs, found):
    assert str(OPS[op].infer(types, attrs)) == found


@pytest.mark.parametrize(
    ("axis", "before", "after", "fits"),
    [
        (1, 0, 0, True),
        (1, -1, 0, False),
        (1, 0, -1, False),
        (0, 0, 0, False),
        (3, 0, 0, False),
        (2, 0, 1, True),
    ],
)
def test_no_less_than_nothing_is_padded(axis, before, after, fits):
    attrs = {"axis": axis, "before": before, "after": after}
    if fits:
        OPS["pad"].infer((named(("f", 4), 3),), attrs)
    else:
        with pytest.raises(OpError):
            OPS["pad"].infer((named(("f", 4), 3),), attrs)


@pytest.mark.parametrize(
    ("types", "attrs", "found"),
    [
        ((tensor(None, 3),), {"width": 2, "dtype": "float"}, "[2]"),
        ((tensor(None, 3),), {"width": 0, "dtype": "int"}, "id"),
        ((tensor(3),), {"width": 2, "dtype": "float", "once": True}, "[2] (once)"),
        ((tensor(3),), {"width": 2, "dtype": "float"}, None),
        ((tensor(3),), {"width": 2, "dtype": "float", "once": False}, None),
    ],
)
def test_what_is_drawn_for_rows(types, attrs, found):
    if found is None:
        with pytest.raises(OpError, match="which has none"):
            OPS["drawn"].infer(types, attrs)
        return
    type_ = OPS["drawn"].infer(types, attrs)
    assert type_.dtype == attrs["dtype"]
    assert type_.sizes == ((None,) if found == "id" else (2,) if attrs.get("once") else (None, 2))


@pytest.mark.parametrize(("k", "fits"), [(0, False), (1, True), (3, True), (4, False)])
def test_so_many_of_a_row_are_kept(k, fits):
    if fits:
        assert OPS["keep_largest"].infer((tensor(None, 3),), {"k": k}) == tensor(None, 3)
        return
    with pytest.raises(OpError) as refused:
        OPS["keep_largest"].infer((tensor(None, 3),), {"k": k})
    assert refused.value.code == "VFL0333"


@pytest.mark.parametrize(
    "wrong", [tensor(3), tensor(None, 2, 3), tensor(None, None), tensor(None, 3, dtype="int")]
)
def test_only_rows_of_numbers_have_a_largest(wrong):
    with pytest.raises(OpError):
        OPS["keep_largest"].infer((wrong,), {"k": 1})


# --- ranges -------------------------------------------------------------------------------------------

ENDS = [-math.inf, -2.0, -1.0, 0.0, 1.0, 2.0, math.inf]
RANGES = [
    t.ValueRange(low, high, *opened)
    for low, high in itertools.combinations_with_replacement(ENDS, 2)
    for opened in itertools.product((False, True), repeat=2)
    if low < high or (math.isfinite(low) and not any(opened))
]
NEAR = [place + shift for place in (0.0, 1.0, 2.0) for shift in (-1e-9, 0.0, 1e-9)]
NUMBERS = sorted({sign * x for x in (*NEAR, 0.5, 1.5, 9.0) for sign in (-1, 1)})


def within(number, range_):
    above = number > range_.low if range_.open_low else number >= range_.low
    return above and (number < range_.high if range_.open_high else number <= range_.high)


BINARY = {
    "added": (t.added, lambda x, y: x + y),
    "subtracted": (t.subtracted, lambda x, y: x - y),
    "multiplied": (t.multiplied, lambda x, y: x * y),
    "smaller": (t.smaller, min),
    "larger": (t.larger, max),
}


@pytest.mark.parametrize("name", BINARY)
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RANGES), st.sampled_from(RANGES))
def test_ranges_hold_what_comes_of_two_numbers(name, left, right):
    """And no bound is open, or further in, than what numbers reach."""
    bounds, compute = BINARY[name]
    found = bounds(None, (left, right))
    made = [compute(x, y) for x in NUMBERS if within(x, left) for y in NUMBERS if within(y, right)]
    assert all(within(number, found) for number in made)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(RANGES), st.sampled_from(RANGES))
def test_least_ranges(left, right):
    """What holds exactly what is in one of two, below or above, and what is turned round."""
    hull, low, high = left.hull(right), t.smaller(None, (left, right)), t.larger(None, (left, right))
    for number in NUMBERS:
        assert within(-number, left.negated()) == within(number, left)
    reached = [x for x in NUMBERS if within(x, left) or within(x, right)]
    first, last = (f(x for x in NUMBERS if within(x, hull)) for f in (min, max))
    assert (first, last) == (min(reached), max(reached))
    lows = [min(x, y) for x in NUMBERS if within(x, left) for y in NUMBERS if within(y, right)]
    highs = [max(x, y) for x in NUMBERS if within(x, left) for y in NUMBERS if within(y, right)]
    for range_, numbers in ((low, lows), (high, highs)):
        inside = [x for x in NUMBERS if within(x, range_)]
        assert (min(inside), max(inside)) == (min(numbers), max(numbers))


@pytest.mark.parametrize("range_", RANGES)
def test_signs_are_those_of_all_numbers(range_):
    """Of the numbers of a range, and of those where 0 may be among them."""
    numbers = [x for x in NUMBERS if within(x, range_)]
    sign = 1 if all(x > 0 for x in numbers) else -1 if all(x < 0 for x in numbers) else 0
    assert range_.sign == sign
    weak = 1 if all(x >= 0 for x in numbers) else -1 if all(x <= 0 for x in numbers) else 0
    assert range_.weak_sign == weak
    kept = {1: t.AT_LEAST_0, -1: t.AT_MOST_0, 0: t.FREE}
    assert t.reduced(None, (range_,)) == kept[weak]
    assert t.first(None, (range_, t.SHARE)) == range_ and t.chosen(None, (t.SHARE, range_)) == range_
    assert t.with_zero(None, (range_,)) == range_.hull(t.ValueRange(0, 0))


def test_products_of_signs():
    """Strict where both are, and nothing where one sign is open."""
    above, below, least, most = t.POSITIVE, t.POSITIVE.negated(), t.AT_LEAST_0, t.AT_MOST_0
    table = {
        (above, above): above, (below, below): above, (above, below): below, (least, above): least,
        (least, below): most, (most, below): least, (most, most): least, (least, most): most,
        (above, t.FREE): t.FREE, (t.FREE, most): t.FREE,
    }  # fmt: skip
    for (x, y), found in table.items():
        assert t.multiplied(None, (x, y)) == t.multiplied(None, (y, x)) == found


# --- rates --------------------------------------------------------------------------------------------


def schedule(name, **options):
    return {"schedule": name, "options": options}


@pytest.mark.parametrize(
    ("rate", "zero", "most"),
    [
        (0, True, 0), (0.5, False, 0.5),
        (schedule("constant", lr=0.5), False, 0.5), (schedule("constant", lr=0), True, 0),
        (schedule("cosine", lr=0.5, steps=9), True, 0.5),
        (schedule("cosine", lr=0.5, steps=9, alpha=0.1), False, 0.5),
        (schedule("step", lr=0.5, every=9, factor=1), False, 0.5),
        (schedule("step", lr=0.5, every=9, factor=1.01), False, math.inf),
        (schedule("step", lr=0, every=9, factor=2), True, 0), (schedule("step", lr=0.5, every=9), False, 0.5),
        (schedule("warmup", lr=0.5, steps=9), True, 0.5),
        (schedule("warmup", lr=0.5, steps=9, then=0.75), True, 0.75),
        (schedule("warmup", lr=0.5, steps=9, then=schedule("constant", lr=0.25)), True, 0.5),
    ],
)  # fmt: skip
def test_how_low_and_how_high_a_rate_goes(rate, zero, most):
    assert reaches_zero(rate) is zero and highest(rate) == most
