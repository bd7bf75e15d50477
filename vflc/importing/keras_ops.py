"""Nodes of `keras.ops` in operations of the language: a function for each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from vflc.importing.keras_layer import plain, snake
from vflc.importing.keras_layers import row_axis
from vflc.translation import columns
from vflc.translation.activations import activate
from vflc.translation.graph import (
    DAMAGED,
    Value,
    binary,
    concat,
    number,
    part,
    reduce,
    refuse,
    reshape,
    stack,
    unary,
)


class KerasCall:
    """A node: its name, its settings, and what it is called with, positional and by name."""

    def __init__(
        self, kind: str, name: str, config: Mapping[str, Any], args: list[Any], named: dict[str, Any]
    ):
        self.kind, self.name, self.config, self.args = kind, name, config, args
        self.settings = {k: v for k, v in {**config, **named}.items() if k not in ("name", "dtype")}

    def value(self, index: int) -> Value:
        """An argument as numbers of the graph."""
        found = self.args[index] if index < len(self.args) else None
        if isinstance(found, Value):
            return columns.numeric(found, self.name)
        return Value("number", attrs={"value": self.plain(found)})

    def plain(self, found: Any) -> float:
        """A number; an array of one number is one, too."""
        while isinstance(found, list) and len(found) == 1:
            found = found[0]
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            refuse(
                "VFL0701",
                f"`{self.name}` ({self.kind}) computes with an array that is part of the model",
                "make it a weight of a layer, or write this part of the spec by hand",
            )
        return plain(found)

    def setting(self, name: str, position: int, default: Any = None) -> Any:
        if name in self.settings:
            return self.settings[name]
        return self.args[position] if position < len(self.args) else default

    def only(self, *allowed: str) -> None:
        """VFL0701 where a setting is not among those that are read here."""
        for key, value in self.settings.items():
            if key not in allowed and value is not None:
                refuse(
                    "VFL0701", f"`{self.name}` ({self.kind}) has {key} = {str(value)[:40]}", "leave it out"
                )


OpReader = Callable[[KerasCall], Value]


def _unary(op: str) -> OpReader:
    def made(call: KerasCall) -> Value:
        call.only()
        return unary(op, call.value(0), call.name)

    return made


def _binary(op: str) -> OpReader:
    def made(call: KerasCall) -> Value:
        call.only()
        x, y = call.value(0), call.value(1)
        if op == "add" and x.op == y.op == "number":
            return number(x.attrs["value"] + y.attrs["value"])
        return binary(op, x, y, call.name)

    return made


def _activation(name: str) -> OpReader:
    def made(call: KerasCall) -> Value:
        call.only("approximate", "axis", "negative_slope", "alpha")
        if call.settings.get("alpha", 1) != 1:
            refuse("VFL0701", f"`{call.name}` is an elu with alpha = {call.settings['alpha']}", "use alpha=1")
        x = call.value(0)
        if call.settings.get("approximate") and name == "gelu":
            refuse("VFL0701", f"`{call.name}` is an approximate gelu", "use approximate=False")
        if name == "leaky_relu":
            return unary(name, x, call.name, alpha=plain(call.settings.get("negative_slope", 0.2)))
        if "softmax" in name:
            return unary(
                name, x, call.name, axis=row_axis(call.setting("axis", 1, -1), len(x.shape), call.name)
            )
        return activate(x, name, call.name)

    return made


def _reduce(op: str) -> OpReader:
    def made(call: KerasCall) -> Value:
        call.only("axis", "keepdims")
        x, axis = call.value(0), call.setting("axis", 1)
        rank = len(x.shape)
        if x.op == "number" and x.attrs["value"] == 0:
            return x
        if axis is None:
            row_axis(0, rank, call.name)
        axes = [row_axis(a, rank, call.name) for a in (axis if isinstance(axis, list) else [axis])]
        return reduce(op, x, axes, bool(call.setting("keepdims", 2, False)), call.name)

    return made


def _listed(call: KerasCall) -> list[Value]:
    given = call.args[0] if call.args and isinstance(call.args[0], list) else call.args
    if not given or not all(isinstance(v, Value) for v in given):
        refuse(
            "VFL0701",
            f"`{call.name}` ({call.kind}) joins arrays that are part of the model",
            "use layers' weights",
        )
    return [columns.numeric(value, call.name) for value in given]


def _concatenate(call: KerasCall) -> Value:
    call.only("axis")
    given = _listed(call)
    return concat(given, row_axis(call.setting("axis", 1, -1), len(given[0].shape), call.name), call.name)


def _stack(call: KerasCall) -> Value:
    call.only("axis", "x")
    given = _listed(call)
    return stack(given, row_axis(call.setting("axis", 1, 0), len(given[0].shape) + 1, call.name), call.name)


def _reshape(call: KerasCall) -> Value:
    call.only("newshape")
    x, target = call.value(0), call.setting("newshape", 1)
    if x.op == "number":
        return x
    if not isinstance(target, list) or not all(isinstance(size, int) or size is None for size in target):
        refuse("VFL0700", f"`{call.name}` (Reshape) has newshape = {str(target)[:40]}", DAMAGED)
    sizes = tuple(-1 if size is None else size for size in target)
    if x.op == "weight" and prod(sizes) == prod(x.shape):
        return Value("weight", (), sizes, x.attrs, x.layer, x.named, x.weights)
    if not sizes or sizes[0] != -1 or prod(sizes[1:]) != prod(x.shape):
        refuse(
            "VFL0703",
            f"`{call.name}` reshapes to {list(sizes)}, which mixes rows of the batch",
            "keep the batch as the first axis: keras.layers.Reshape",
        )
    return reshape(x, sizes[1:], call.name)


def _expand(call: KerasCall) -> Value:
    call.only("axis")
    x, axis = call.value(0), call.setting("axis", 1)
    for each in axis if isinstance(axis, list) else [axis]:
        at = row_axis(each, len(x.shape) + 1, call.name)
        x = reshape(x, (*x.shape[:at], 1, *x.shape[at:]), call.name)
    return x


def _squeeze(call: KerasCall) -> Value:
    call.only("axis")
    x, axis = call.value(0), call.setting("axis", 1)
    axes = [row_axis(a, len(x.shape), call.name) for a in (axis if isinstance(axis, list) else [axis])]
    if any(axis >= len(x.shape) or x.shape[axis] != 1 for axis in axes):
        refuse("VFL0703", f"`{call.name}` drops an axis whose size is not 1", DAMAGED)
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes), call.name)


def _matmul(call: KerasCall) -> Value:
    call.only()
    x, y = call.value(0), call.value(1)
    if min(len(x.shape), len(y.shape)) < 2 or len(x.shape) != len(y.shape) or x.shape[-1] != y.shape[-2]:
        refuse(
            "VFL0703",
            f"`{call.name}` multiplies {list(x.shape)} and {list(y.shape)} of different rows",
            "give both two axes a row, or use Dense or Dot",
        )
    return Value("matmul", (x, y), (*x.shape[:-1], y.shape[-1]), {}, call.name)


def _clip(call: KerasCall) -> Value:
    call.only("x_min", "x_max")
    low, high = (call.plain(call.setting(name, at)) for at, name in enumerate(("x_min", "x_max"), 1))
    return unary("clip", call.value(0), call.name, low=low, high=high)


def _cast(call: KerasCall) -> Value:
    """To numbers; ids stay ids."""
    call.only()
    dtype = str(call.config.get("dtype"))
    found = call.args[0] if call.args else None
    if isinstance(found, Value) and found.op == "raw" and dtype.startswith("int"):
        return found
    if not dtype.startswith("float"):
        refuse("VFL0701", f"`{call.name}` (Cast) makes {dtype} of values", "leave them float32")
    return call.value(0)


def _item(call: KerasCall) -> Value:
    """`x[:, …]`: whole positions, stretches and new axes of a row."""
    x, keys = call.value(0), call.args[1] if len(call.args) > 1 else None
    keys = keys if isinstance(keys, list) else [keys]
    if not keys or not _is_all(keys[0]):
        refuse("VFL0703", f"`{call.name}` takes some rows of the batch", "start with `:`, as in x[:, 0]")
    at, shape = 0, list[int]()
    for key in keys[1:]:
        if key is None:
            shape.append(1)
            continue
        if at >= len(x.shape):
            refuse("VFL0700", f"`{call.name}` takes more axes than there are", DAMAGED)
        size = x.shape[at]
        if isinstance(key, int) and not isinstance(key, bool):
            start = key + size if key < 0 else key
            x = part(x, at, start, start + 1, call.name)
        elif isinstance(key, slice) and key.step in (None, 1):
            start, stop, _ = key.indices(size)
            x = part(x, at, start, stop, call.name)
            shape.append(x.shape[at])
        else:
            refuse(
                "VFL0701", f"`{call.name}` takes {str(key)[:40]} of a row", "use `:`, positions and stretches"
            )
        at += 1
    return reshape(x, (*shape, *x.shape[at:]), call.name)


def _is_all(key: Any) -> bool:
    return isinstance(key, slice) and key == slice(None)


def _part(call: KerasCall) -> Value:
    """What is known as a part of something greater alone: see `keras_many`."""
    refuse(
        "VFL0701",
        f"`{call.name}` is a {call.kind}, which has no counterpart",
        "replace it, or write it by hand",
    )


def _zeros(call: KerasCall) -> Value:
    return number(0)


def _silu(call: KerasCall) -> Value:
    call.only()
    return activate(call.value(0), "silu", call.name)


def _rsqrt(call: KerasCall) -> Value:
    call.only()
    return binary(
        "div", Value("number", attrs={"value": 1}), unary("sqrt", call.value(0), call.name), call.name
    )


UNARY = {
    "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Square": "square", "Absolute": "abs", "Abs": "abs",
    "Sign": "sign", "Floor": "floor", "Cos": "cos", "Negative": "neg", "Erf": "erf",
}  # fmt: skip
BINARY = {
    "Add": "add", "Subtract": "sub", "Multiply": "mul", "Divide": "div", "TrueDivide": "div",
    "Maximum": "maximum", "Minimum": "minimum", "Power": "pow",
}  # fmt: skip
PARTS = ("GreaterEqual", "Where", "OneHot")
"""What `keras_many` knows as a part of reading many ids."""
ACTIVATIONS = (
    "Relu", "Sigmoid", "Tanh", "Softplus", "Gelu", "Softmax", "LogSoftmax", "LeakyRelu", "Softsign", "Elu",
    "Relu6",
)  # fmt: skip
OPS: dict[str, OpReader] = {
    **{kind: _unary(op) for kind, op in UNARY.items()},
    **{kind: _binary(op) for kind, op in BINARY.items()},
    **{kind: _activation(snake(kind)) for kind in ACTIVATIONS},
    **{kind: _reduce(kind.lower()) for kind in ("Sum", "Mean", "Max")},
    "Silu": _silu,
    "ZerosLike": _zeros,
    "StopGradient": _unary("stop_gradient"),
    **dict.fromkeys(PARTS, _part),
    "Rsqrt": _rsqrt,
    "Concatenate": _concatenate,
    "Stack": _stack,
    "Reshape": _reshape,
    "ExpandDims": _expand,
    "Squeeze": _squeeze,
    "Matmul": _matmul,
    "Clip": _clip,
    "Cast": _cast,
    "GetItem": _item,
}
