"""Functions of the language that work value by value; two values fit together as `align` says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vflc.ops.align import align, find_axis, numeric
from vflc.ops.kinds import AxisName
from vflc.ops.registry import OPS, function
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

# --- of one value ---------------------------------------------------------------------------------


def _unary(name: str) -> Callable[..., Node]:
    def apply(b: Build, x: Node) -> Node:
        return b.op(name, numeric(b, x))

    apply.__doc__ = OPS[name].doc
    return apply


for _name in (
    "neg", "exp", "log", "sqrt", "square", "abs", "sign", "floor", "cos",
    "relu", "gelu", "erf", "sigmoid", "tanh", "softplus", "stop_gradient",
):  # fmt: skip
    function(_unary(_name), _name)


def leaky_relu(b: Build, x: Node, alpha: float = 0.2) -> Node:
    """The value, or `alpha` times the value where it is negative."""
    return b.op("leaky_relu", numeric(b, x), alpha=float(alpha))


def swish(b: Build, x: Node) -> Node:
    """The value times its sigmoid (Ramachandran, Zoph & Le 2017)."""
    x = numeric(b, x)
    return b.op("mul", x, b.op("sigmoid", x))


def silu(b: Build, x: Node) -> Node:
    """The same as `swish`: the value times its sigmoid."""
    return swish(b, x)


def clip(b: Build, x: Node, low: float, high: float) -> Node:
    """The value, or the nearest bound if it lies outside `low` to `high`."""
    return b.op("clip", numeric(b, x), low=float(low), high=float(high))


def softmax(b: Build, x: Node, axis: AxisName | None = None) -> Node:
    """Softmax along an axis (the last one by default): shares that add up to 1."""
    x, position = find_axis(b, numeric(b, x), axis, "softmax")
    return b.op("softmax", x, axis=position)


def log_softmax(b: Build, x: Node, axis: AxisName | None = None) -> Node:
    """The logarithm of the softmax along an axis (the last one by default)."""
    x, position = find_axis(b, numeric(b, x), axis, "log_softmax")
    return b.op("log_softmax", x, axis=position)


# --- of two values --------------------------------------------------------------------------------


def _binary(name: str) -> Callable[..., Node]:
    def apply(b: Build, x: Node, y: Node) -> Node:
        return b.op(name, *align(b, numeric(b, x), numeric(b, y)))

    apply.__doc__ = OPS[name].doc
    return apply


for _name in ("add", "sub", "mul", "div", "minimum", "maximum"):
    function(_binary(_name), _name)


def power(b: Build, x: Node, y: Node) -> Node:
    """The first value to the power of the second."""
    x, y = numeric(b, x), numeric(b, y)
    cheaper = {1.0: x, 2.0: None, 0.5: None}
    exponent = y.attrs["value"] if y.op == "constant" and y.type.rank == 0 else None
    if exponent in cheaper:
        return cheaper[exponent] or b.op("square" if exponent == 2 else "sqrt", x)
    return b.op("pow", *align(b, x, y))


def floordiv(b: Build, x: Node, y: Node) -> Node:
    """The quotient, rounded down to a whole number."""
    return b.op("floor", b.op("div", *align(b, numeric(b, x), numeric(b, y))))


def mod(b: Build, x: Node, y: Node) -> Node:
    """The remainder of `//`, with the sign of the second value."""
    x, y = align(b, numeric(b, x), numeric(b, y))
    return b.op("sub", x, b.op("mul", y, b.op("floor", b.op("div", x, y))))


# --- conditions -----------------------------------------------------------------------------------


def comparable(b: Build, x: Node) -> Node:
    """Ids may be compared, other than computed with."""
    return numeric(b, b.op("cast", x, dtype="float") if x.type.dtype == "int" else x)


def as_condition(b: Build, x: Node) -> Node:
    """The value as a condition: numbers hold where they are not 0."""
    if x.type.dtype == "bool":
        return b.op("unsqueeze", x, axis=1, name=None) if x.type.batched and x.type.rank == 1 else x
    return b.op("not_equal", numeric(b, x), number(b, 0))


def _comparison(name: str) -> Callable[..., Node]:
    def apply(b: Build, x: Node, y: Node) -> Node:
        return b.op(name, *align(b, comparable(b, x), comparable(b, y)))

    apply.__doc__ = OPS[name].doc
    return apply


for _name in ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"):
    function(_comparison(_name), _name)


def logical_and(b: Build, x: Node, y: Node) -> Node:
    """Whether both conditions hold."""
    return b.op("logical_and", *align(b, as_condition(b, x), as_condition(b, y)))


def logical_or(b: Build, x: Node, y: Node) -> Node:
    """Whether at least one condition holds."""
    return b.op("logical_or", *align(b, as_condition(b, x), as_condition(b, y)))


def logical_not(b: Build, x: Node) -> Node:
    """Whether the condition does not hold."""
    return b.op("logical_not", as_condition(b, x))


def where(b: Build, condition: Node, x: Node, y: Node) -> Node:
    """The second value where the condition holds, and the third elsewhere: `where(x > 0, x, 0)`."""
    test, x, y = as_condition(b, condition), numeric(b, x), numeric(b, y)
    x, y = align(b, x, y)
    test, x = align(b, test, x)
    test, y = align(b, test, y)
    return b.op("where", test, x, y)


function(power, "pow")
for _function in (
    leaky_relu, swish, silu, clip, softmax, log_softmax, floordiv, mod, logical_and, logical_or,
    logical_not, where,
):  # fmt: skip
    function(_function)
