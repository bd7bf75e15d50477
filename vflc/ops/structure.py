"""Functions of the language that sum over axes, and join, cut, name and multiply values."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from vflc.ir.types import BATCH
from vflc.ops.align import align, find_axis, numeric
from vflc.ops.kinds import AxisName, Nodes, flat
from vflc.ops.registry import OpError, function

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def reduced(b: Build, op: str, x: Node, axis: str | None) -> Node:
    """Over one axis, or over all axes of a row; a row keeps at least one axis, of size 1."""
    x = numeric(b, x)
    first = int(x.type.batched)
    axes = tuple(range(first, x.type.rank))
    if axis is not None:
        x, position = find_axis(b, x, axis, op)
        axes = (position,)
    y = b.op(op, x, axes=axes, keep=False)
    return b.op("unsqueeze", y, axis=1, name=None) if y.type.batched and y.type.rank == 1 else y


def sum_(b: Build, x: Node, axis: AxisName | None = None) -> Node:
    """The sum over an axis, or over all axes of a row: [1]."""
    return reduced(b, "sum", x, axis)


def mean(b: Build, x: Node, axis: AxisName | None = None) -> Node:
    """The mean over an axis, or over all axes of a row: [1]."""
    return reduced(b, "mean", x, axis)


def max_(b: Build, x: Node, axis: AxisName | None = None) -> Node:
    """The largest value over an axis, or over all axes of a row: [1]."""
    return reduced(b, "max", x, axis)


def concat(b: Build, *values: Nodes, axis: AxisName | None = None) -> Node:
    """Values concatenated along an axis (the last one by default)."""
    nodes = [numeric(b, x) for x in flat(values)]
    if not nodes:
        raise OpError("concat of nothing", "give it at least one value", "VFL0107")
    placed = [find_axis(b, x, axis, "concat") for x in nodes]
    if len({x.type.batched for x in nodes}) > 1:
        raise OpError("concat of values of a row with weights", "add the weight to a value of the row first")
    return nodes[0] if len(nodes) == 1 else b.op("concat", *(x for x, _ in placed), axis=placed[0][1])


def stack(b: Build, values: Nodes, axis: AxisName) -> Node:
    """Values of the same shape, stacked along a new first axis: `stack([x, y], axis = expert)`."""
    nodes = [numeric(b, x) for x in flat([values])]
    if not nodes:
        raise OpError("stack of nothing", "give it at least one value", "VFL0107")
    if axis == BATCH or any(x.type.position(axis) is not None for x in nodes):
        raise OpError(
            f"stack along `{axis}`: the values already have an axis `{axis}`", "choose another name"
        )
    return b.op("stack", *nodes, axis=int(nodes[0].type.batched), name=axis)


def flatten(b: Build, x: Node) -> Node:
    """All values of a row along a single axis without a name."""
    x = numeric(b, x)
    if len(x.type.row_axes) == 1:
        return x
    return b.op("reshape", x, sizes=(x.type.row_size,), names=(None,))


def slice_(b: Build, x: Node, axis: AxisName, start: int, stop: int) -> Node:
    """The part of an axis from position `start` (counted from 0) up to, but not including, `stop`."""
    x, position = find_axis(b, numeric(b, x), axis, "slice")
    return b.op("slice", x, axis=position, start=start, stop=stop)


def reshape(b: Build, x: Node, *sizes: int) -> Node:
    """The values of a row, in axes of these sizes. One size may be -1: it follows from the others."""
    x, wanted = numeric(b, x), list(sizes)
    total = x.type.row_size
    if wanted.count(-1) == 1 and total is not None:
        known = prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = total // known if known > 0 else 0
    if total is None or prod(wanted) != total or min(wanted, default=0) < 1:
        raise OpError(
            f"{x.type} cannot be reshaped to [{', '.join(map(str, sizes))}]",
            f"the sizes must multiply to {total}, the number of values in a row",
        )
    return b.op("reshape", x, sizes=tuple(wanted), names=(None,) * len(wanted))


def rename(b: Build, x: Node, axis: AxisName, to: AxisName) -> Node:
    """The same value with an axis renamed: `rename(x, field, to = position)`."""
    x, position = find_axis(b, numeric(b, x), axis, "rename")
    names = [a.name for a in x.type.axes]
    names[position] = to
    return b.op("rename", x, names=tuple(names))


def matmul(b: Build, x: Node, y: Node) -> Node:
    """The matrix product over the last axis of the first value and the second to last axis of the second.

    A value of a row with a single axis is a vector: [k] and [k, n] give [n].
    """
    x, y = numeric(b, x), numeric(b, y)
    single_x, single_y = len(x.type.row_axes) == 1, len(y.type.row_axes) == 1
    if single_x and single_y:
        raise OpError(f"matmul of the vectors {x.type} and {y.type}", "use `dot` for the product of vectors")
    if single_x and (y.type.batched or not x.type.batched):
        x = b.op("unsqueeze", x, axis=x.type.rank - 1, name=None)
        return b.op("squeeze", _matmul(b, x, y), axis=max(x.type.rank, y.type.rank) - 2)
    if single_y:
        y = b.op("unsqueeze", y, axis=y.type.rank, name=None)
        product = _matmul(b, x, y)
        return b.op("squeeze", product, axis=product.type.rank - 1)
    return _matmul(b, x, y)


def _matmul(b: Build, x: Node, y: Node) -> Node:
    return b.op("matmul", x, y, transpose_x=False, transpose_y=False)


def dot(b: Build, x: Node, y: Node) -> Node:
    """The dot product of two values of the same shape: [1]."""
    return reduced(b, "sum", b.op("mul", *align(b, numeric(b, x), numeric(b, y))), None)


for _function in (
    sum_, mean, max_, concat, stack, flatten, slice_, reshape, rename, matmul, dot,
):  # fmt: skip
    function(_function)
