"""What ops say of the secrets that flow through them, against their own numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from ops.op_testing import sample_case

from vflc.ir.types import Axis, TensorType
from vflc.ops import OPS
from vflc.ops.traits import COPY, FREE, SIGN, ValueRange

SILENT = {"weight", "feature", "label", "log", "leaky_relu"}
"""Ops whose slopes and bounds are those of an op that says nothing."""
CASES = [(name, index) for name, op in OPS.items() for index in range(len(op.samples))]
STEP = 1e-6


class Case:
    """An op on the values of one of its samples; `at` gives the output for other values."""

    def __init__(self, name: str, index: int, seed: int) -> None:
        made = sample_case(name, OPS[name].samples[index], np.random.default_rng(seed))
        self.op, self.node, self.build, self.inputs = OPS[name], made.node, made.build, made.inputs
        self.arrays = [made.feeds[x.id] for x in made.inputs]
        self.types = [x.type for x in made.inputs]

    def at(self, arrays: list[np.ndarray]) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(self.op.reference(self.node, arrays, self.types), np.float64)

    def with_input(self, position: int, array: np.ndarray) -> list[np.ndarray]:
        return [array if i == position else each for i, each in enumerate(self.arrays)]

    def jacobian(self, position: int) -> np.ndarray:
        """[elements of the output, elements of the input], by central differences."""
        x = np.asarray(self.arrays[position], np.float64)
        columns = []
        for place in np.ndindex(x.shape):
            ends = []
            for step in (STEP, -STEP):
                moved = np.array(x)
                moved[place] += step
                ends.append(self.at(self.with_input(position, moved)).reshape(-1))
            columns.append((ends[0] - ends[1]) / (2 * STEP))
        return np.stack(columns, axis=-1)


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_says_how_it_passes_secrets_on(name: str) -> None:
    op = OPS[name]
    assert name in SILENT or op.slopes is not SIGN or op.bounds is not FREE


def _floats(case: Case) -> list[int]:
    return [i for i, t in enumerate(case.types) if t.dtype == "float" and 0 < case.arrays[i].size <= 64]


@pytest.mark.parametrize(("name", "index"), CASES)
def test_slopes_hold(name: str, index: int) -> None:
    case = Case(name, index, seed=index)
    for position in _floats(case):
        CHECKS[case.op.slope(position).kind](case, position)


def _copy(case: Case, position: int) -> None:
    sign = case.op.slope(position).sign
    here = case.jacobian(position)
    assert (here * sign > -1e-6).all()
    case.arrays[position] = case.arrays[position] * 0.9 + 0.013
    assert np.allclose(case.jacobian(position), here, atol=1e-5), "the same whatever the value"


def _sign(case: Case, position: int) -> None:
    case.arrays[position] = np.clip(case.arrays[position], -15, 15)
    assert (case.jacobian(position).sum(axis=0) > 0).all()


def _mask(case: Case, position: int) -> None:
    assert (case.jacobian(position) > -1e-6).all()


def _product(case: Case, position: int) -> None:
    """Linear in this input, by another; but a value times itself has twice itself, or its sign, as slope."""
    x, slope = case.arrays[position], case.op.slope(position)
    if slope.by == position:
        diagonal = np.diag(case.jacobian(position)).reshape(x.shape)
        assert (diagonal * x > -1e-6).all() and np.abs(diagonal).max() > 0.1
        return
    one, two, three = (case.at(case.with_input(position, k * x)) for k in (1.0, 2.0, 3.0))
    assert np.allclose(three - one, 2 * (two - one), atol=1e-6)
    assert slope.by is not None and 0 <= slope.by < len(case.arrays)
    here, factor = case.jacobian(position), case.arrays[slope.by]
    turned = Case.__new__(Case)
    turned.__dict__.update(case.__dict__, arrays=case.with_input(slope.by, -factor))
    assert np.allclose(turned.jacobian(position), -here, atol=1e-5), "it turns with its factor"
    if slope.kind == "factor" and factor.shape == one.shape:
        signs = np.sign(here.sum(axis=1)).reshape(one.shape)
        assert np.array_equal(signs, slope.sign * np.sign(factor))


def _none(case: Case, position: int) -> None:
    assert case.op.vjp is None or _gradient(case)[position] is None


def _gradient(case: Case) -> Any:
    assert case.op.vjp is not None
    with case.build.within(scope=("gradient",)):
        return case.op.vjp(case.build, case.node, case.inputs, case.node)


CHECKS: dict[str, Callable[[Case, int], None]] = {
    "copy": _copy,
    "sign": _sign,
    "mask": _mask,
    "factor": _product,
    "mix": _product,
    "none": _none,
    "any": lambda case, position: None,
}


@pytest.mark.parametrize(("name", "index"), CASES)
def test_bounds_hold(name: str, index: int) -> None:
    case = Case(name, index, seed=index)
    out = case.at(case.arrays)
    given = [ValueRange(float(a.min()), float(a.max())) for a in case.arrays]
    bounds = case.op.bounds if isinstance(case.op.bounds, ValueRange) else case.op.bounds(case.node, given)
    assert (out >= bounds.low - 1e-9).all() and (out <= bounds.high + 1e-9).all()
    if bounds.open_low and np.abs(np.concatenate([a.reshape(-1) for a in case.arrays])).max() < 15:
        assert (out > bounds.low).all(), "an open bound is not reached"


FIXED = {
    "exp": "(0, inf)", "sqrt": "[0, inf)", "square": "[0, inf)", "abs": "[0, inf)", "relu": "[0, inf)",
    "sign": "[-1, 1]", "cos": "[-1, 1]", "erf": "(-1, 1)", "tanh": "(-1, 1)", "sigmoid": "(0, 1)",
    "softmax": "(0, 1)", "softplus": "(0, inf)", "log_softmax": "(-inf, 0]", "count": "(0, inf)",
    "one_hot": "[0, 1]", "random": "[0, 1)", "example_weight": "[0, inf)",
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"), "[0, 1]"),
    **dict.fromkeys(("logical_and", "logical_or", "logical_not"), "[0, 1]"),
}  # fmt: skip
"""Ranges of outputs whatever the inputs, in the notation of intervals."""


def _interval(range_: ValueRange) -> str:
    low = "(" if range_.open_low or math.isinf(range_.low) else "["
    high = ")" if range_.open_high or math.isinf(range_.high) else "]"
    return f"{low}{range_.low:g}, {range_.high:g}{high}"


def test_ranges_of_outputs_are_no_wider_than_said() -> None:
    """A wider one holds as well, and gives findings away; a bound is open where no number reaches it."""
    fixed = {n: op.bounds for n, op in OPS.items() if isinstance(op.bounds, ValueRange) and op.bounds != FREE}
    assert {name: _interval(range_) for name, range_ in fixed.items()} == FIXED


def test_a_constant_lies_between_its_numbers() -> None:
    def bounds(value: Any) -> Any:
        node: Any = SimpleNamespace(attrs={"value": value})
        rule: Any = OPS["constant"].bounds
        return rule(node, ())

    assert bounds(0.5) == ValueRange(0.5, 0.5) and bounds(True) == ValueRange(1, 1)
    assert bounds(((1, -2), [3, 0])) == ValueRange(-2, 3) and bounds(()) == FREE


def test_a_slope_of_each_input() -> None:
    sub, mul, div, matmul, linear = (OPS[name] for name in ("sub", "mul", "div", "matmul", "linear"))
    assert [sub.slope(i).sign for i in (0, 1)] == [1, -1] and [mul.slope(i).by for i in (0, 1)] == [1, 0]
    assert [(div.slope(i).kind, div.slope(i).by) for i in (0, 1)] == [("factor", 1), ("any", None)]
    assert [matmul.slope(i).by for i in (0, 1)] == [1, 0]
    assert [(linear.slope(i).kind, linear.slope(i).by) for i in (0, 1, 2)] == [
        ("mix", 1), ("mix", 0), ("copy", None),
    ]  # fmt: skip
    assert OPS["add"].slope(0) == OPS["add"].slope(1) == COPY
    linears = {name for name, op in OPS.items() if op.linear}
    assert {"add", "neg", "sum", "mean", "reshape", "pad"} <= linears
    assert not linears & {"sub", "mul", "exp", "max", "matmul"}, "sub has a slope of its own for each input"


def test_ranges() -> None:
    share, free = ValueRange(0, 1, True, True), ValueRange()
    assert share.sign == 1 and share.negated().sign == -1 and free.sign == 0
    assert ValueRange(0, 5).sign == 0 and ValueRange(0, 5).weak_sign == 1
    assert share.hull(ValueRange(0, 1)) == ValueRange(0, 1)
    assert share.hull(ValueRange(-2, 0.5)) == ValueRange(-2, 1, False, True)


# --- how passes may treat it ------------------------------------------------------------------------------


def _cases(claim: Callable[[Any], Any]) -> Any:
    return pytest.mark.parametrize(("name", "index"), [c for c in CASES if claim(OPS[c[0]])])


def _attrs(name: str, index: int) -> Any:
    return OPS[name].samples[index].attrs


def _broadcast(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [np.array(each) for each in np.broadcast_arrays(*arrays)]


@_cases(lambda op: op.elementwise)
def test_elements_are_made_of_those_at_their_place(name: str, index: int) -> None:
    case = Case(name, index, 3)
    whole = _broadcast(case.arrays)
    before = case.at(whole)
    assert before.shape == whole[0].shape and np.array_equal(before, case.at(case.arrays))
    order = np.random.default_rng(0).permutation(whole[0].size)
    mixed = case.at([each.reshape(-1)[order].reshape(each.shape) for each in whole])
    assert np.array_equal(mixed.reshape(-1), before.reshape(-1)[order])


@_cases(lambda op: op.axes or op.leading)
def test_one_axis_more_is_a_stack_of_results(name: str, index: int) -> None:
    """For any inputs side by side: what has one more axis in front gives each one's own."""
    one, other = Case(name, index, 1), Case(name, index, 2)
    if any(a.shape != b.shape for a, b in zip(one.arrays, other.arrays, strict=True)):
        other = one
    attrs = one.op.one_axis_on(one.node.attrs)
    arrays = [np.stack(pair) for pair in zip(one.arrays, other.arrays, strict=True)]
    types = [TensorType((Axis("more", 2), *type_.axes), type_.dtype) for type_ in one.types]
    both = one.op.reference(replace(one.node, attrs=attrs), arrays, types)
    assert np.array_equal(both, np.stack([one.at(one.arrays), other.at(other.arrays)]))


@_cases(lambda op: op.differs)
def test_nothing_else_differs(name: str, index: int) -> None:
    case = Case(name, index, 4)
    (source, *_), out, raw = case.types, case.node.type, case.op.reference(case.node, case.arrays, case.types)
    assert np.array_equal(np.asarray(raw, np.float64).reshape(-1), case.arrays[0].reshape(-1))
    if case.op.differs != "shape":
        assert out.sizes == source.sizes
    if case.op.differs != "type":
        assert out.dtype == source.dtype


MODULAR = {"shifted"}
"""Counts classes in a circle: of the same derivative wherever it has one."""
NUMBERS = [c for c in CASES if all(type_.dtype == "float" for type_ in OPS[c[0]].samples[c[1]].types)]


@pytest.mark.parametrize(("name", "index"), [c for c in NUMBERS if OPS[c[0]].linear and c[0] not in MODULAR])
def test_linear_ops_are_linear(name: str, index: int) -> None:
    one, other = Case(name, index, 5), Case(name, index, 6)
    both = one.at([2.0 * a - 3.0 * b for a, b in zip(one.arrays, other.arrays, strict=True)])
    np.testing.assert_allclose(both, 2.0 * one.at(one.arrays) - 3.0 * other.at(other.arrays), atol=1e-12)


@_cases(lambda op: op.adds)
def test_sums_are_sums(name: str, index: int) -> None:
    case = Case(name, index, 7)
    np.testing.assert_allclose(case.at(case.arrays), sum(case.arrays), atol=1e-12)


@_cases(lambda op: op.keeps_zero)
def test_zeros_stay_zeros(name: str, index: int) -> None:
    case = Case(name, index, 8)
    for position, array in enumerate(case.arrays):
        assert not case.at(case.with_input(position, np.zeros_like(array))).any()


@_cases(lambda op: op.places)
def test_every_element_stands_once_in_the_output(name: str, index: int) -> None:
    case = Case(name, index, 9)
    numbers, at = [], 1
    for array in case.arrays:
        numbers.append(np.arange(at, at + array.size, dtype=np.float64).reshape(array.shape))
        at += array.size
    found = sorted(case.at(numbers).reshape(-1))
    others = len(found) - (at - 1)
    assert found == [0.0] * others + list(range(1, at))
    assert (case.op.places == "joined") == (others == 0)


@pytest.mark.parametrize(
    ("name", "index"), [c for c in CASES if OPS[c[0]].zero_for_none({"missing": True, **_attrs(*c)})]
)
def test_codes_that_are_none_give_zeros(name: str, index: int) -> None:
    case = Case(name, index, 10)
    last = len(case.arrays) - 1
    assert case.op.reads_codes and case.types[last].dtype == "int"
    assert not case.at(case.with_input(last, np.full_like(case.arrays[last], -1))).any()


@_cases(lambda op: op.shape_only)
def test_of_the_last_inputs_the_shape_alone_is_read(name: str, index: int) -> None:
    case = Case(name, index, 11)
    for position in range(len(case.arrays) - case.op.shape_only, len(case.arrays)):
        other = case.arrays[position] + np.ones_like(case.arrays[position])
        assert np.array_equal(case.at(case.with_input(position, other)), case.at(case.arrays))


@_cases(lambda op: op.jumps)
def test_what_jumps_has_no_slope(name: str, index: int) -> None:
    case = Case(name, index, 12)
    for position in _floats(case):
        assert not case.jacobian(position).any()
    meeting = [np.zeros_like(array) for array in case.arrays]
    above = [meeting[0] + 1e-9, *meeting[1:]] if meeting[0].dtype.kind == "f" else meeting
    below = [meeting[0] - 1e-9, *meeting[1:]] if meeting[0].dtype.kind == "f" else meeting
    values = [case.at(arrays) for arrays in (below, meeting, above)]
    assert meeting[0].dtype.kind != "f" or any(not np.array_equal(values[1], each) for each in values[::2])


def test_passes_treat_no_other_ops_so() -> None:
    """What the tests above hold of those that say it; more of them would be tried there, fewer are slower."""
    comparisons = {"equal", "not_equal", "greater", "greater_equal", "less", "less_equal"}
    said = {
        "elementwise": {
            *comparisons, "abs", "add", "bce_terms", "cast", "clip", "cos", "div", "erf", "exp", "floor",
            "gelu", "leaky_relu", "log", "logical_and", "logical_not", "logical_or", "maximum", "minimum",
            "mul", "neg", "pow", "relu", "sigmoid", "sign", "softplus", "sqrt", "square", "stop_gradient",
            "sub", "tanh", "where",
        },
        "jumps": {*comparisons, "sign"},
        "hides_sign": {"relu"},
        "adds": {"add"},
        "serial": {"rows"},
        "uncopied": {"add", "sub", "mul", "div"},
        "reads_codes": {"cast", "gather", "one_hot"},
        "keeps_zero": {"cast", "mul", "neg", "relu", "slice", "square", "stop_gradient", "tanh"},
        "places": {"concat", "stack", "pad"},
        "differs": {"rename", "reshape", "squeeze", "unsqueeze", "cast"},
        "shape_only": {"count", "expand_like", "random", "drawn"},
    }  # fmt: skip
    for trait, names in said.items():
        assert {name for name, op in OPS.items() if getattr(op, trait)} == names, trait
    assert {name for name, op in OPS.items() if op.zero_for_none({"missing": True})} == {"gather", "one_hot"}
    assert not OPS["gather"].zero_for_none({"missing": False})


def test_relu_alone_hides_the_sign_that_its_gradient_asks_for() -> None:
    assert [name for name, op in OPS.items() if op.hides_sign] == ["relu"]
