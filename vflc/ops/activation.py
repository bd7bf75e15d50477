"""Activation functions. What onnxruntime lacks in float64 is lowered from other operators there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import TensorType
from vflc.ops.arithmetic import UNARY, infer_unary, vjp_unary, write_clip
from vflc.ops.parts import Parts, beside
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients, keras_call, need_float, number, onnx_node, tensor
from vflc.ops.traits import ANY, AT_LEAST_0, AT_MOST_0, BETWEEN, MASK, POSITIVE, SHARE, SIGN

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

WIDE = (OpSample((tensor(None, 40),), {}, lambda rng: (rng.normal(0, 6, (5, 40)),)),)
"""Values far out, where a formula that is not stable overflows or cancels."""

# --- relu and leaky_relu ------------------------------------------------------------------------


def vjp_relu(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    """From the output, so that the input need not be kept; Cast and Mul are the fastest kernels."""
    return (b.op("mul", g, b.op("cast", b.op("greater", node, number(b, 0)), dtype="float")),)


def infer_leaky_relu(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    need_float(types, "leaky_relu")
    if not 0 <= attrs["alpha"] <= 1:
        raise OpError(f"leaky_relu with slope {attrs['alpha']:g}", "give `alpha` between 0 and 1", "VFL0205")
    return types[0]


def onnx_leaky_relu(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("Max", inputs[0], w("Mul", inputs[0], w.constant(node.attrs["alpha"])))


def keras_leaky_relu(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    alpha = node.attrs["alpha"]
    return k.ops.where(k.ops.greater(inputs[0], 0.0), inputs[0], k.ops.multiply(inputs[0], alpha))


def reference_leaky_relu(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.where(inputs[0] > 0, inputs[0], inputs[0] * node.attrs["alpha"])


def vjp_leaky_relu(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    rising = b.op("greater", node, number(b, 0))
    return (b.op("where", rising, g, b.op("mul", g, number(b, node.attrs["alpha"]))),)


# --- erf and gelu -------------------------------------------------------------------------------

ERF_BOUND = 6.0
"""From here on erf is 1 in float64."""
ERF_TERMS = 48


@cache
def erf_series() -> tuple[float, ...]:
    """Chebyshev coefficients of erf(x)/x as a function of x²/18 - 1, for |x| up to `ERF_BOUND`.

    The interpolation at Chebyshev nodes is exact to rounding in float64 with 48 terms, because
    erf(x)/x is an entire function of x².
    """
    angles = [math.pi * (i + 0.5) / ERF_TERMS for i in range(ERF_TERMS)]
    points = [ERF_BOUND * math.sqrt((math.cos(angle) + 1) / 2) for angle in angles]
    values = [math.erf(x) / x for x in points]
    sums = [
        math.fsum(v * math.cos(j * a) for v, a in zip(values, angles, strict=True)) * 2 / ERF_TERMS
        for j in range(ERF_TERMS)
    ]
    return (sums[0] / 2, *sums[1:])


def write_erf(w: OnnxWriter, x: str) -> str:
    """erf by onnxruntime's float32 kernel, in float64 by Clenshaw's recurrence."""
    if not w.double:
        return w("Erf", x)
    x = write_clip(w, x, -ERF_BOUND, ERF_BOUND)
    u = w("Sub", w("Mul", w("Mul", x, x), w.constant(2 / ERF_BOUND**2)), w.constant(1.0))
    twice = w("Add", u, u)
    first, *rest = erf_series()
    ahead, further = w.constant(rest[-1]), w.constant(0.0)
    for coefficient in reversed(rest[:-1]):
        term = w("Add", w("Sub", w("Mul", twice, ahead), further), w.constant(coefficient))
        ahead, further = term, ahead
    return w("Mul", x, w("Add", w("Sub", w("Mul", u, ahead), further), w.constant(first)))


def onnx_erf(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return write_erf(w, inputs[0])


def reference_erf(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return _erf(inputs[0])


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def slope_erf(b: Build, x: Node, y: Node) -> Node:
    return b.op("mul", number(b, 2 / math.sqrt(math.pi)), b.op("exp", b.op("neg", b.op("square", x))))


def onnx_gelu(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    erf = write_erf(w, w("Mul", inputs[0], w.constant(math.sqrt(0.5))))
    return w("Mul", w("Mul", inputs[0], w.constant(0.5)), w("Add", erf, w.constant(1.0)))


def keras_gelu(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    """Not `keras.ops.gelu`, whose constants are rounded to float32 in float64 too."""
    erf = k.ops.erf(k.ops.multiply(inputs[0], math.sqrt(0.5)))
    return k.ops.multiply(k.ops.multiply(inputs[0], 0.5), k.ops.add(erf, 1.0))


def reference_gelu(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.asarray(0.5 * inputs[0] * (1 + _erf(inputs[0] * math.sqrt(0.5))))


def slope_gelu(b: Build, x: Node, y: Node) -> Node:
    """Φ(x) + x·φ(x), of the normal distribution."""
    erf = b.op("erf", b.op("mul", x, number(b, math.sqrt(0.5))))
    share = b.op("add", b.op("mul", erf, number(b, 0.5)), number(b, 0.5))
    bell = b.op("exp", b.op("mul", b.op("square", x), number(b, -0.5)))
    density = b.op("mul", bell, number(b, 1 / math.sqrt(2 * math.pi)))
    return b.op("add", share, b.op("mul", x, density))


# --- sigmoid, tanh, softplus --------------------------------------------------------------------


def slope_sigmoid(b: Build, x: Node, y: Node) -> Node:
    return b.op("mul", y, b.op("sub", number(b, 1), y))


def slope_tanh(b: Build, x: Node, y: Node) -> Node:
    return b.op("sub", number(b, 1), b.op("square", y))


def reference_sigmoid(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0, -inputs[0])))


def write_softplus(w: OnnxWriter, x: str) -> str:
    """max(x, 0) + log(1 + exp(-|x|)): no overflow, and no Softplus kernel needed in float64."""
    tail = w("Log", w("Add", w("Exp", w("Neg", w("Abs", x))), w.constant(1.0)))
    return w("Add", w("Relu", x), tail)


def onnx_softplus(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return write_softplus(w, inputs[0]) if w.double else w("Softplus", inputs[0])


def reference_softplus(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.logaddexp(inputs[0], 0)


# --- softmax ------------------------------------------------------------------------------------


def infer_softmax(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    need_float(types, "softmax")
    if not int(types[0].batched) <= attrs["axis"] < types[0].rank:
        raise OpError(f"softmax over axis {attrs['axis']} of {types[0]}")
    return types[0]


def onnx_softmax(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("Softmax", inputs[0], axis=node.attrs["axis"])


def onnx_log_softmax(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("LogSoftmax", inputs[0], axis=node.attrs["axis"])


def keras_softmax(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.softmax(inputs[0], axis=node.attrs["axis"])


def keras_log_softmax(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.log_softmax(inputs[0], axis=node.attrs["axis"])


def reference_log_softmax(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    axis = node.attrs["axis"]
    shifted = inputs[0] - inputs[0].max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def reference_softmax(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.exp(reference_log_softmax(node, inputs, types))


def vjp_softmax(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    weighted = b.op("mul", g, node)
    total = b.op("sum", weighted, axes=(node.attrs["axis"],), keep=True)
    return (b.op("sub", weighted, b.op("mul", node, total)),)


def vjp_log_softmax(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    total = b.op("sum", g, axes=(node.attrs["axis"],), keep=True)
    return (b.op("sub", g, b.op("mul", b.op("exp", node), total)),)


SOFTMAX = (
    OpSample((tensor(None, 3),), {"axis": 1}),
    OpSample((tensor(None, ("expert", 3), 2),), {"axis": 1}),
    OpSample((tensor(4),), {"axis": 0}),
    OpSample((tensor(2, 3),), {"axis": 1}, lambda rng: (rng.normal(0, 300, (2, 3)),)),
)

# --- registration -------------------------------------------------------------------------------

register(
    Op(
        "relu", "The value, or 0 where it is negative.", infer_unary("relu"), onnx_node("Relu"),
        keras_call("relu"), lambda node, inputs, types: np.maximum(inputs[0], 0), vjp_relu, UNARY,
        slopes=MASK, bounds=AT_LEAST_0, elementwise=True, keeps_zero=True, hides_sign=True,
    )
)  # fmt: skip
register(
    Op(
        "leaky_relu", "The value, or `alpha` times the value where it is negative.", infer_leaky_relu,
        onnx_leaky_relu, keras_leaky_relu, reference_leaky_relu, vjp_leaky_relu,
        tuple(OpSample(s.types, {"alpha": 0.2}) for s in UNARY), slopes=SIGN, elementwise=True,
    )
)  # fmt: skip
register(
    Op(
        "erf", "The error function.", infer_unary("erf"), onnx_erf, keras_call("erf"), reference_erf,
        vjp_unary(slope_erf), (*UNARY, *WIDE), slopes=SIGN, bounds=BETWEEN, elementwise=True,
    )
)  # fmt: skip
register(
    Op(
        "gelu", "The Gaussian error linear unit x·Φ(x), exact (Hendrycks & Gimpel 2016).",
        infer_unary("gelu"), onnx_gelu, keras_gelu, reference_gelu, vjp_unary(slope_gelu), (*UNARY, *WIDE),
        slopes=ANY, elementwise=True,
    )
)  # fmt: skip
register(
    Op(
        "sigmoid", "1 / (1 + exp(-x)): from a logit to a probability.", infer_unary("sigmoid"),
        onnx_node("Sigmoid"), keras_call("sigmoid"), reference_sigmoid, vjp_unary(slope_sigmoid),
        (*UNARY, *WIDE), slopes=SIGN, bounds=SHARE, elementwise=True,
    )
)  # fmt: skip
register(
    Op(
        "tanh", "The hyperbolic tangent.", infer_unary("tanh"), onnx_node("Tanh"), keras_call("tanh"),
        lambda node, inputs, types: np.tanh(inputs[0]), vjp_unary(slope_tanh), (*UNARY, *WIDE),
        slopes=SIGN, bounds=BETWEEN, elementwise=True, keeps_zero=True,
    )
)  # fmt: skip
register(
    Op(
        "softplus", "log(1 + exp(x)), without overflow.", infer_unary("softplus"), onnx_softplus,
        keras_call("softplus"), reference_softplus, vjp_unary(lambda b, x, y: b.op("sigmoid", x)),
        (*UNARY, *WIDE), slopes=SIGN, bounds=POSITIVE, elementwise=True,
    )
)  # fmt: skip
register(
    Op(
        "softmax", "exp(x) over its sum along an axis: shares that add up to 1.", infer_softmax,
        onnx_softmax, keras_softmax, reference_softmax, vjp_softmax, SOFTMAX, slopes=ANY, bounds=SHARE,
        axes=("axis",), parts=Parts(along=beside, shares="plain"),
    )
)  # fmt: skip
register(
    Op(
        "log_softmax", "The logarithm of softmax, exact for shares near 0.", infer_softmax,
        onnx_log_softmax, keras_log_softmax, reference_log_softmax, vjp_log_softmax, SOFTMAX,
        slopes=ANY, bounds=AT_MOST_0, axes=("axis",), parts=Parts(along=beside, shares="logs"),
    )
)  # fmt: skip
