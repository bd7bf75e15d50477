"""Convolutions and pooling over axes of a row [.., channels]: windows, and a product or a reduction of each.

Positions, padding and weights are those of Keras, channels last.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from vflc.ir.build import Initializer
from vflc.ir.types import Axis
from vflc.ops.align import numeric
from vflc.ops.kinds import AxisName, Ints
from vflc.ops.layers import activate, layer, pick, positive
from vflc.ops.registry import OpError, function
from vflc.ops.windows import NOTHING, places

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

PADDING = ("valid", "same", "causal")
SHOWN = ("reshape(alice.Series, 50, 1)", "reshape(alice.Image, 28, 28, 1)")
MOST_READS = 4_000_000
"""Elements that all windows of a row read together: where each lies is part of the graph."""


def conv1d(
    b: Build,
    x: Node,
    filters: int,
    size: int,
    stride: int = 1,
    padding: AxisName = "valid",
    dilation: int = 1,
    activation: AxisName = "linear",
    bias: bool = True,
) -> Node:
    """A convolution over a sequence [time, channels]: [time, filters]: `conv1d(x, 32, size = 3)`.

    `padding = same` keeps the length (divided by the `stride`) with zeros on both sides, `causal` with zeros
    before. As Keras's `Conv1D`.
    """
    return _convolved(b, "conv1d", x, filters, size, stride, padding, dilation, activation, bias)


def conv2d(
    b: Build,
    x: Node,
    filters: int,
    size: int | Ints,
    stride: int | Ints = 1,
    padding: AxisName = "valid",
    dilation: int | Ints = 1,
    activation: AxisName = "linear",
    bias: bool = True,
) -> Node:
    """A convolution over an image [height, width, channels]: `conv2d(x, 32, size = [3, 3])`.

    One number stands for two equal ones. `padding = same` keeps height and width (divided by the `stride`)
    with zeros around. A vector becomes an image with `reshape(alice.Image, 28, 28, 1)`. As Keras's `Conv2D`.
    """
    return _convolved(b, "conv2d", x, filters, size, stride, padding, dilation, activation, bias)


def max_pool1d(
    b: Build, x: Node, size: int = 2, stride: int | None = None, padding: AxisName = "valid"
) -> Node:
    """The largest value of each window of a sequence [time, channels]; `stride` is `size` unless given."""
    return _pooled(b, "max_pool1d", "max", x, size, stride, padding)


def average_pool1d(
    b: Build, x: Node, size: int = 2, stride: int | None = None, padding: AxisName = "valid"
) -> Node:
    """The mean of each window of a sequence [time, channels]; `stride` is `size` unless given.

    With `padding = same`, what lies outside does not count.
    """
    return _pooled(b, "average_pool1d", "mean", x, size, stride, padding)


def max_pool2d(
    b: Build, x: Node, size: int | Ints = 2, stride: int | Ints | None = None, padding: AxisName = "valid"
) -> Node:
    """The largest value of each window of an image [height, width, channels].

    `stride` is `size` unless given.
    """
    return _pooled(b, "max_pool2d", "max", x, size, stride, padding)


def average_pool2d(
    b: Build, x: Node, size: int | Ints = 2, stride: int | Ints | None = None, padding: AxisName = "valid"
) -> Node:
    """The mean of each window of an image [height, width, channels].

    `stride` is `size` unless given. With `padding = same`, what lies outside does not count.
    """
    return _pooled(b, "average_pool2d", "mean", x, size, stride, padding)


def _convolved(
    b: Build,
    name: str,
    x: Node,
    filters: int,
    size: int | Ints,
    stride: int | Ints,
    padding: str,
    dilation: int | Ints,
    activation: str,
    bias: bool,
) -> Node:
    x, axes = _channels_last(b, name, x)
    attrs = _window(name, x, size, stride, padding, dilation)
    channels, reads = Axis(None, x.type.sizes[-1]), prod(attrs["window"])
    with b.within(scope=layer(b, name)):
        out = Axis(None, positive("`filters`", filters))
        kernel = b.weight(
            "kernel",
            (*(Axis(None, n) for n in attrs["window"]), channels, out),
            Initializer("glorot_uniform"),
        )
        windows = b.op("windows", x, **attrs)
        found = windows.type.axes[1 : 1 + axes]
        wide = reads * (channels.size or 0)
        flat = b.op(
            "reshape", windows, sizes=(*(a.size for a in found), wide), names=(*(a.name for a in found), None)
        )
        inputs = [flat, b.op("reshape", kernel, sizes=(wide, filters), names=(None, None))]
        if bias:
            inputs.append(b.weight("bias", (out,), Initializer("zeros")))
        return activate(b, b.op("linear", *inputs), activation)


def _pooled(
    b: Build, name: str, op: str, x: Node, size: int | Ints, stride: int | Ints | None, padding: str
) -> Node:
    x, axes = _channels_last(b, name, x)
    if padding == "causal":
        pick("padding", padding, PADDING[:2])
    attrs = _window(name, x, size, size if stride is None else stride, padding, 1)
    padded = any((*attrs["before"], *attrs["after"]))
    if op == "max":  # an element at the edge stands for what lies outside: it is in the window, too
        return b.op("max", b.op("windows", x, **attrs | {"nearest": True}), axes=(1 + axes,), keep=False)
    windows = b.op("windows", x, **attrs)
    if not padded:
        return b.op("mean", windows, axes=(1 + axes,), keep=False)
    total = b.op("sum", windows, axes=(1 + axes,), keep=False)
    return b.op("div", total, b.constant(_inside(attrs, total.type.sizes[1 : 1 + axes])))


def _inside(attrs: dict[str, Any], sizes: Sequence[int | None]) -> Any:
    """How many elements of each window do not lie outside, in the shape of the windows and a channel."""
    found: Any = [(float(sum(place != NOTHING for place in window)),) for window in places(attrs)]
    for size in reversed(sizes[1:]):
        assert size is not None, "windows go over axes of known size"
        found = [tuple(found[i : i + size]) for i in range(0, len(found), size)]
    return tuple(found)


def _channels_last(b: Build, name: str, x: Node) -> tuple[Node, int]:
    """The value as numbers, and over how many axes its windows go."""
    x, axes = numeric(b, x), int(name[-2])
    if not x.type.batched or len(x.type.row_axes) != axes + 1 or None in x.type.sizes[1:]:
        wanted = ("a sequence [time, channels]", "an image [height, width, channels]")[axes - 1]
        raise OpError(f"{name} of {x.type}", f"give it {wanted} of fixed sizes: `{SHOWN[axes - 1]}`")
    return x, axes


def _window(
    name: str, x: Node, size: int | Ints, stride: int | Ints, padding: str, dilation: int | Ints
) -> dict[str, Any]:
    """What `windows` is told."""
    pick("padding", padding, PADDING if name == "conv1d" else PADDING[:2])
    sizes = tuple(n or 0 for n in x.type.sizes[1:-1])
    size, stride, dilation = (
        _one_each(f"`{what}`", given, len(sizes))
        for what, given in (("size", size), ("stride", stride), ("dilation", dilation))
    )
    if max(stride) > 1 and max(dilation) > 1:
        raise OpError(f"{name} with a stride and a dilation", "leave one of them at 1", "VFL0205")
    margins = [_margins(padding, *each) for each in zip(sizes, size, stride, dilation, strict=True)]
    attrs = {
        "axis": 1, "sizes": sizes, "window": size, "stride": stride, "dilation": dilation,
        "before": tuple(low for low, _ in margins), "after": tuple(high for _, high in margins),
        "nearest": False,
    }  # fmt: skip
    reads = prod(size) * prod(-(-n // s) for n, s in zip(sizes, stride, strict=True))
    if reads > MOST_READS:
        raise OpError(
            f"{name}: the windows of a row read {reads:,} elements",
            "make images and windows smaller, or the stride larger",
            "VFL0205",
        )
    return attrs


def _one_each(what: str, given: int | Ints, axes: int) -> tuple[int, ...]:
    found = (given,) * axes if isinstance(given, int) else tuple(given)
    if len(found) != axes:
        raise OpError(f"{what} is {list(found)}", f"give one number, or {axes}", "VFL0205")
    return tuple(positive(f"a number of {what}" if axes > 1 else what, each) for each in found)


def _margins(padding: str, length: int, size: int, stride: int, dilation: int) -> tuple[int, int]:
    """How much longer an axis is made, before and after: with `same`, the greater half is after it."""
    reach = (size - 1) * dilation
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return reach, 0
    missing = max((-(-length // stride) - 1) * stride + reach + 1 - length, 0)
    return missing // 2, missing - missing // 2


for _function in (conv1d, conv2d, max_pool1d, average_pool1d, max_pool2d, average_pool2d):
    function(_function)
