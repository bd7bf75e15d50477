"""Elementwise arithmetic. Operands broadcast as in numpy; gradients at ties are TensorFlow's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import TensorType
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import (
    Infer,
    InputGradients,
    OnnxRule,
    broadcast,
    keras_call,
    need_float,
    number,
    numpy_call,
    onnx_node,
    same_dtype,
    sum_to,
    tensor,
)  # fmt: skip
from vflc.ops.traits import (
    ANY,
    AT_LEAST_0,
    COPY,
    FLIP,
    FREE,
    MASK,
    NONE,
    POSITIVE,
    SIGN,
    RangeRule,
    Slopes,
    ValueRange,
    added,
    clipped,
    factor,
    larger,
    multiplied,
    negated,
    smaller,
    subtracted,
)  # fmt: skip

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

UNARY = (
    OpSample((tensor(None, 3),)),
    OpSample((tensor(4, 2),)),
    OpSample((tensor(None, 2, 3, 2),)),
    OpSample((tensor(),)),
)
BINARY = (
    OpSample((tensor(None, 3), tensor(None, 3))),
    OpSample((tensor(None, 1), tensor(None, 4))),
    OpSample((tensor(None, 2, 3), tensor(3))),
    OpSample((tensor(2, 1), tensor(None, 2, 3))),
    OpSample((tensor(3), tensor())),
    OpSample((tensor(None, 1, 3, 1), tensor(None, 2, 1, 2))),
)


def positive(samples: tuple[OpSample, ...], only: int | None = None) -> tuple[OpSample, ...]:
    """The samples with positive values in every input, or in the one input at `only`."""

    def draw(types: tuple[TensorType, ...]) -> Callable[[np.random.Generator], tuple[Array, ...]]:
        def values(rng: np.random.Generator) -> tuple[Array, ...]:
            drawn = [rng.uniform(0.3, 2.0, [5 if s is None else s for s in t.sizes]) for t in types]
            return tuple(
                x if only in (None, i) else x * rng.choice([-1.0, 1.0], x.shape) for i, x in enumerate(drawn)
            )

        return values

    return tuple(OpSample(s.types, s.attrs, draw(s.types)) for s in samples)


def infer_binary(name: str) -> Infer:
    def infer(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
        same_dtype(types, name)
        if types[0].dtype == "bool":
            raise OpError(f"{name} of truth values", "use `and`, `or`, `not`, or `where`")
        return TensorType(broadcast(types), types[0].dtype)

    return infer


def infer_unary(name: str) -> Infer:
    def infer(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
        need_float(types, name)
        return types[0]

    return infer


# --- gradients -------------------------------------------------------------------------------


def vjp_add(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return tuple(sum_to(b, g, x) for x in inputs)


def vjp_sub(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    x, y = inputs
    return sum_to(b, g, x), b.op("neg", sum_to(b, g, y))


def vjp_mul(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    x, y = inputs
    return sum_to(b, b.op("mul", g, y), x), sum_to(b, b.op("mul", g, x), y)


def vjp_div(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    x, y = inputs
    slope = b.op("neg", b.op("div", node, y))
    return sum_to(b, b.op("div", g, y), x), sum_to(b, b.op("mul", g, slope), y)


def vjp_pow(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    x, y = inputs
    by_base = b.op("mul", y, b.op("pow", x, b.op("sub", y, number(b, 1))))
    defined = b.op("greater", x, number(b, 0))
    safe = b.op("where", defined, x, number(b, 1))
    by_exponent = b.op("mul", node, b.op("log", safe))
    return sum_to(b, b.op("mul", g, by_base), x), sum_to(b, b.op("mul", g, by_exponent), y)


def vjp_choice(first: str) -> Callable[[Build, Node, Sequence[Node], Node], InputGradients]:
    """The gradient goes to the first operand where `first` holds (ties too), else to the second."""

    def vjp(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
        x, y = inputs
        chosen = b.op(first, x, y)
        zero = number(b, 0)
        return (
            sum_to(b, b.op("where", chosen, g, zero), x),
            sum_to(b, b.op("where", chosen, zero, g), y),
        )

    return vjp


def vjp_clip(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    (x,) = inputs
    inside = b.op(
        "logical_and",
        b.op("greater_equal", x, number(b, node.attrs["low"])),
        b.op("less_equal", x, number(b, node.attrs["high"])),
    )
    return (b.op("where", inside, g, number(b, 0)),)


SlopeRule = Callable[["Build", "Node", "Node"], "Node"]


def vjp_unary(slope: SlopeRule) -> Callable[[Build, Node, Sequence[Node], Node], InputGradients]:
    """From `slope(build, input, output)`, the derivative."""

    def vjp(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
        return (b.op("mul", g, slope(b, inputs[0], node)),)

    return vjp


def vjp_sqrt(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return (b.op("div", b.op("mul", g, number(b, 0.5)), node),)


def vjp_log(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return (b.op("div", g, inputs[0]),)


def vjp_neg(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return (b.op("neg", g),)


def vjp_flat(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    """Constant almost everywhere: no gradient flows."""
    return tuple(None for _ in inputs)


def _double(b: Build, x: Node, y: Node) -> Node:
    return b.op("mul", number(b, 2), x)


def _cos_slope(b: Build, x: Node, y: Node) -> Node:
    return b.op("cos", b.op("add", x, number(b, math.pi / 2)))


# --- lowerings that are not one node ------------------------------------------------------------


def onnx_square(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("Mul", inputs[0], inputs[0])


def onnx_clip(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return write_clip(w, inputs[0], node.attrs["low"], node.attrs["high"])


def write_clip(w: OnnxWriter, x: str, low: float, high: float) -> str:
    """Not by `Clip`: onnxruntime joins it with a `Relu` before it, and refuses such graphs in float64."""
    return w("Min", w("Max", x, w.constant(low)), w.constant(high))


def keras_clip(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.clip(inputs[0], node.attrs["low"], node.attrs["high"])


def reference_clip(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.clip(inputs[0], node.attrs["low"], node.attrs["high"])


def infer_clip(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    need_float(types, "clip")
    if not attrs["low"] <= attrs["high"]:
        raise OpError(
            f"clip between {attrs['low']:g} and {attrs['high']:g}", "give the lower bound first", "VFL0205"
        )
    return types[0]


# --- registration -------------------------------------------------------------------------------


def _binary(
    name: str,
    doc: str,
    onnx: str,
    function: str,
    vjp: Any,
    slopes: Slopes,
    bounds: RangeRule,
    samples: tuple[OpSample, ...] = BINARY,
    **traits: Any,
) -> None:
    """Registers an op that `keras.ops` and numpy call `function`, and ONNX `onnx`."""
    lowered = onnx_node(onnx), keras_call(function), numpy_call(function)
    traits |= {"slopes": slopes, "bounds": bounds, "elementwise": True}
    register(Op(name, doc, infer_binary(name), *lowered, vjp, samples, **traits))


def _unary(
    name: str,
    doc: str,
    onnx: str | OnnxRule,
    function: str,
    vjp: Any,
    slopes: Slopes,
    bounds: RangeRule,
    samples: tuple[OpSample, ...] = UNARY,
    **traits: Any,
) -> None:
    to_onnx: OnnxRule = onnx_node(onnx) if isinstance(onnx, str) else onnx
    lowered = to_onnx, keras_call(function), numpy_call(function)
    traits |= {"slopes": slopes, "bounds": bounds, "elementwise": True}
    register(Op(name, doc, infer_unary(name), *lowered, vjp, samples, **traits))


_binary("add", "The sum of two values.", "Add", "add", vjp_add, COPY, added, signs=(1, 1), uncopied=True)
_binary(
    "sub", "The first value minus the second.", "Sub", "subtract", vjp_sub, (COPY, FLIP), subtracted,
    signs=(1, -1), uncopied=True,
)  # fmt: skip
_binary(
    "mul", "The product of two values.", "Mul", "multiply", vjp_mul, (factor(1), factor(0)), multiplied,
    keeps_zero=True, uncopied=True,
)  # fmt: skip
_binary(
    "div", "The first value divided by the second.", "Div", "divide", vjp_div,
    (factor(1), ANY), multiplied, positive(BINARY, only=1), uncopied=True,
)  # fmt: skip
_binary(
    "pow", "The first value to the power of the second.", "Pow", "power", vjp_pow,
    (MASK, ANY), FREE, positive(BINARY),
)  # fmt: skip
_binary(
    "minimum", "The smaller of two values; if they are equal, the first gets the gradient.", "Min", "minimum",
    vjp_choice("less_equal"), MASK, smaller,
)  # fmt: skip
_binary(
    "maximum", "The larger of two values; if they are equal, the first gets the gradient.", "Max", "maximum",
    vjp_choice("greater_equal"), MASK, larger,
)  # fmt: skip

_unary("neg", "The value with its sign reversed.", "Neg", "negative", vjp_neg, FLIP, negated, keeps_zero=True)
_unary("exp", "e to the power of the value.", "Exp", "exp", vjp_unary(lambda b, x, y: y), SIGN, POSITIVE)
_unary("log", "The natural logarithm.", "Log", "log", vjp_log, SIGN, FREE, positive(UNARY))
_unary("sqrt", "The square root.", "Sqrt", "sqrt", vjp_sqrt, SIGN, AT_LEAST_0, positive(UNARY))
_unary(
    "square", "The square of the value.", onnx_square, "square", vjp_unary(_double), factor(0), AT_LEAST_0,
    keeps_zero=True,
)  # fmt: skip
_unary(
    "abs", "The absolute value; its gradient at 0 is 0.", "Abs", "abs",
    vjp_unary(lambda b, x, y: b.op("sign", x)), factor(0), AT_LEAST_0,
)  # fmt: skip
_unary("sign", "-1, 0 or 1; no gradient.", "Sign", "sign", vjp_flat, NONE, ValueRange(-1, 1), jumps=True)
_unary(
    "floor", "The value rounded down to a whole number; no gradient.", "Floor", "floor", vjp_flat, NONE,
    FREE,
)  # fmt: skip
_unary(
    "cos", "The cosine of an angle in radians.", "Cos", "cos", vjp_unary(_cos_slope), ANY, ValueRange(-1, 1)
)

register(
    Op(
        "clip",
        "The value, or the nearest of two bounds where it lies outside them; the gradient is that of "
        "the value within the bounds (the bounds included) and 0 outside.",
        infer_clip, onnx_clip, keras_clip, reference_clip, vjp_clip,
        tuple(OpSample(s.types, {"low": -0.4, "high": 0.7}) for s in UNARY), slopes=MASK, bounds=clipped,
        elementwise=True,
    )
)  # fmt: skip
