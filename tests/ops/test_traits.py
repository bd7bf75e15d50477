"""What ops say of the secrets that flow through them, against their own numbers."""

from __future__ import annotations

import math
import operator
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from vflc.ops import OPS
from vflc.ops.claims import CLAIMS, wrong
from vflc.ops.parts import Parts, kept
from vflc.ops.traits import ANY, COPY, FREE, NONE, SIGN, ValueRange, factor, mix
from vflc.ops.users import alike, meant, summed

SILENT = {"weight", "feature", "label", "log", "leaky_relu"}
"""Ops whose slopes and bounds are those of an op that says nothing."""
LIES: list[tuple[str, str, dict[str, Any]]] = [
    ("slopes", "exp", {"slopes": COPY}),
    ("slopes", "neg", {"slopes": COPY}),
    ("slopes", "max", {"slopes": COPY}),
    ("slopes", "pow", {"slopes": (factor(1), ANY)}),
    ("slopes", "maximum", {"slopes": (factor(1), factor(0))}),
    ("slopes", "linear", {"slopes": (mix(1), mix(0), NONE)}),
    ("slopes", "softmax", {"slopes": COPY}),
    ("slopes", "square", {"slopes": COPY}),
    ("bounds", "exp", {"bounds": ValueRange(-1, 1)}),
    ("elementwise", "softmax", {"elementwise": True}),
    ("axes", "transpose", {"axes": ()}),
    ("axes", "softmax", {"axes": (), "leading": {"axis": 0}}),
    ("users", "softmax", {"users": alike}),
    ("users", "sum", {"users": meant}),
    ("users", "mean", {"users": summed}),
    ("users", "max", {"users": alike}),
    ("differs", "neg", {"differs": "shape"}),
    ("differs", "reshape", {"differs": "names"}),
    ("broadcasts", "unsqueeze", {"broadcasts": lambda attrs: True}),
    ("broadcasts", "pad", {"broadcasts": lambda attrs: True}),
    ("places", "concat", {"places": "stacked"}),
    ("places", "concat", {"places": "padded"}),
    ("places", "pad", {"places": "joined"}),
    ("signs", "sub", {"signs": (1, 1)}),
    ("signs", "mul", {"signs": (1, 1)}),
    ("signs", "add", {"signs": (1,)}),
    ("keeps_zero", "exp", {"keeps_zero": True}),
    ("jumps", "abs", {"jumps": True}),
    ("holds", "less", {"holds": operator.le}),
    ("holds", "greater", {"holds": operator.lt}),
    ("shape_only", "add", {"shape_only": 1}),
    ("tells_sizes", "count", {"tells_sizes": lambda attrs: ()}),
    ("parts.along", "softmax", {"parts": Parts(along=kept)}),
    ("parts.along", "reshape", {"parts": Parts(along=kept)}),
    ("parts.along", "transpose", {"parts": Parts(along=kept)}),
    ("parts.reduces", "mean", {"parts": Parts(reduces="sum")}),
    ("parts.reduces", "sum", {"parts": Parts(reduces="mean")}),
    ("parts.reduces", "max", {"parts": Parts(reduces="min")}),
    ("parts.product", "matmul", {"parts": Parts(product=lambda types, attrs: True)}),
    ("parts.shares", "log_softmax", {"parts": Parts(shares="plain")}),
    ("parts.cuts", "slice", {"parts": Parts(cuts=lambda attrs: (attrs["axis"], 0, attrs["stop"]))}),
    ("summands", "mean", {"summands": OPS["sum"].summands}),
    ("summands", "max", {"summands": OPS["sum"].summands}),
    ("by_id", "one_hot", {"by_id": "distinct"}),
    ("by_id", "rows", {"by_id": "reads"}),
    ("by_id", "gather", {"by_id": "sums"}),
    ("zero_for_none", "unique", {"zero_for_none": lambda attrs: True, "reads_codes": True}),
]
"""What an op could say of itself that is not so, and the field in which that is seen."""


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_says_how_it_passes_secrets_on(name: str) -> None:
    op = OPS[name]
    assert name in SILENT or op.slopes is not SIGN or op.bounds is not FREE


@pytest.mark.parametrize("name", sorted(OPS))
def test_what_an_op_says_of_itself_holds(name: str) -> None:
    assert wrong(OPS[name]) == []


FIXED = {
    "exp": "(0, inf)", "sqrt": "[0, inf)", "square": "[0, inf)", "abs": "[0, inf)", "relu": "[0, inf)",
    "sign": "[-1, 1]", "cos": "[-1, 1]", "erf": "(-1, 1)", "tanh": "(-1, 1)", "sigmoid": "(0, 1)",
    "softmax": "(0, 1)", "softplus": "(0, inf)", "log_softmax": "(-inf, 0]", "count": "(0, inf)",
    "one_hot": "[0, 1]", "present": "[0, 1]", "random": "[0, 1)", "example_weight": "[0, inf)",
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"), "[0, 1]"),
    **dict.fromkeys(("logical_and", "logical_or", "logical_not"), "[0, 1]"),
    "class_shares": "[-1, 1]",
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
    linears = {name for name, op in OPS.items() if op.linear_in(0, 1)}
    assert {"neg", "sum", "mean", "reshape", "pad"} <= linears and not linears & {"exp", "max", "square"}
    assert {name for name in ("add", "sub", "mul", "div", "where") if OPS[name].linear_in(0, 2)} == {
        "mul",
        "div",
    }
    assert [OPS["div"].linear_in(1, 2), OPS["gather"].linear_in(0, 2)] == [False, True]
    assert [OPS["linear"].linear_in(0, count) for count in (2, 3)] == [True, False], "a bias is added once"


def test_ranges() -> None:
    share, free = ValueRange(0, 1, True, True), ValueRange()
    assert share.sign == 1 and share.negated().sign == -1 and free.sign == 0
    assert ValueRange(0, 5).sign == 0 and ValueRange(0, 5).weak_sign == 1
    assert share.hull(ValueRange(0, 1)) == ValueRange(0, 1)
    assert share.hull(ValueRange(-2, 0.5)) == ValueRange(-2, 1, False, True)


# --- how passes may treat it ------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "name", "lie"), LIES, ids=[f"{field}-{name}" for field, name, _ in LIES])
def test_what_does_not_hold_is_found(
    field: str, name: str, lie: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a package of somebody else, who calls `wrong` in a test."""
    op = replace(OPS[name], **lie)
    monkeypatch.setitem(OPS, name, op)
    assert field in {told.split(",")[0] for told in wrong(op)}


def test_every_field_that_can_be_wrong_has_a_lie() -> None:
    assert {field for field, _, _ in LIES} == set(CLAIMS)


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
        "by_id": {"gather", "rows", "unique"},
        "summands": {"contract", "sum"},
        "signs": {"add", "sub"},
        "holds": comparisons,
        "differs": {"rename", "reshape", "squeeze", "unsqueeze", "cast"},
        "shape_only": {"count", "expand_like", "random", "drawn"},
    }  # fmt: skip
    for trait, names in said.items():
        assert {name for name, op in OPS.items() if getattr(op, trait)} == names, trait
    assert {name for name, op in OPS.items() if op.zero_for_none({"missing": True})} == {"gather", "one_hot"}
    assert not OPS["gather"].zero_for_none({"missing": False})


def test_relu_alone_hides_the_sign_that_its_gradient_asks_for() -> None:
    assert [name for name, op in OPS.items() if op.hides_sign] == ["relu"]
