"""Activations by the names of Keras, in operations of the language."""

from __future__ import annotations

from collections.abc import Callable

from vflc.translation.graph import Value, binary, number, refuse, unary

PLAIN = {
    "relu": "relu", "sigmoid": "sigmoid", "tanh": "tanh", "softplus": "softplus", "gelu": "gelu",
    "silu": "silu",
    "swish": "swish", "softmax": "softmax", "leaky_relu": "leaky_relu", "exponential": "exp",
    "log_softmax": "log_softmax",
}  # fmt: skip
"""Those that the language has under a name of its own."""
IN_LAYERS = {"relu", "sigmoid", "tanh", "softplus", "gelu", "softmax", "leaky_relu", "silu", "swish"}
"""Those that `dense` and `mlp` take."""


def _times(x: Value, y: Value, layer: str) -> Value:
    return binary("mul", x, y, layer)


def _elu(x: Value, layer: str) -> Value:
    """x above 0, exp(x) - 1 below; the exponential is of what is below alone, so that it never overflows."""
    below = unary("exp", binary("minimum", x, number(0), layer), layer)
    return binary("add", unary("relu", x, layer), binary("sub", below, number(1), layer), layer)


def _selu(x: Value, layer: str) -> Value:
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    below = unary("exp", binary("minimum", x, number(0), layer), layer)
    steep = _times(number(alpha), binary("sub", below, number(1), layer), layer)
    return _times(number(scale), binary("add", unary("relu", x, layer), steep, layer), layer)


def _hard_sigmoid(x: Value, layer: str) -> Value:
    slope = binary("add", binary("div", x, number(6), layer), number(0.5), layer)
    return unary("clip", slope, layer, low=0, high=1)


COMPOSED: dict[str, Callable[[Value, str], Value]] = {
    "mish": lambda x, layer: _times(x, unary("tanh", unary("softplus", x, layer), layer), layer),
    "relu6": lambda x, layer: unary("clip", x, layer, low=0, high=6),
    "softsign": lambda x, layer: binary(
        "div", x, binary("add", number(1), unary("abs", x, layer), layer), layer
    ),
    "hard_sigmoid": _hard_sigmoid,
    "elu": _elu,
    "selu": _selu,
}


def activate(x: Value, name: str, layer: str) -> Value:
    """The value after an activation; VFL0701 where the language cannot express it."""
    if name == "linear":
        return x
    if name in PLAIN:
        attrs = {"axis": len(x.shape) - 1} if "softmax" in name else {}
        return unary(PLAIN[name], x, layer, **attrs)
    if name in COMPOSED:
        return COMPOSED[name](x, layer)
    known = ", ".join(sorted({"linear", *PLAIN, *COMPOSED}))
    refuse(
        "VFL0701", f"`{layer}` has the activation `{name}`, which has no counterpart", f"use one of: {known}"
    )
