"""What many ops share: broadcasting of types, sums that undo it, and plain lowerings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import BATCH, Axis, TensorType
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, OpError

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

Infer = Callable[[Sequence[TensorType], Attrs], TensorType]
OnnxRule = Callable[[OnnxWriter, "Node", Sequence[str], Sequence[TensorType]], str]
KerasRule = Callable[[KerasOps, "Node", Sequence[Any], Sequence[TensorType]], Any]
Reference = Callable[["Node", Sequence[Array], Sequence[TensorType]], Array]
InputGradients = tuple["Node | None", ...]


def as_node(made: Any) -> Node:
    """What another package's code made, for `Records.using`; TypeError where that is no value of a graph."""
    from vflc.ir.graph import Node

    if not isinstance(made, Node):
        raise TypeError(f"it makes {made!r:.60}, which is no value of a graph")
    return made


def merge_axes(x: Axis, y: Axis) -> Axis | None:
    """The axis of two that stand at the same position, or None where they do not fit.

    A size of 1 gives way; of two equal sizes the named one stays.
    """
    if BATCH in (x.name, y.name):
        if x.name == y.name:
            return x
        batch, other = (x, y) if x.name == BATCH else (y, x)
        return batch if other.size == 1 else None
    if x.size == y.size:
        return x if x.name is not None else y
    if x.size == 1:
        return y
    return x if y.size == 1 else None


def broadcast(types: Sequence[TensorType]) -> tuple[Axis, ...]:
    """The axes of values broadcast together as numpy does: aligned from the right.

    Raises:
        OpError: two sizes differ, or an axis of a row would meet the batch axis.
    """
    axes: tuple[Axis, ...] = ()
    for type_ in types:
        merged = []
        for x, y in zip_longest(reversed(axes), reversed(type_.axes)):
            both = merge_axes(x, y) if x and y else x or y
            if both is None:
                shown = " and ".join(str(t) for t in types)
                raise OpError(f"shapes {shown} are incompatible: {x} against {y}")
            merged.append(both)
        axes = tuple(reversed(merged))
    if any(axis.name == BATCH for axis in axes[1:]):
        raise OpError(f"shapes {' and '.join(str(t) for t in types)} are incompatible")
    return axes


def same_dtype(types: Sequence[TensorType], op: str) -> None:
    if len({t.dtype for t in types}) > 1:
        raise OpError(f"{op} of {' and '.join(t.dtype for t in types)} values")


def need_float(types: Sequence[TensorType], op: str) -> None:
    for type_ in types:
        if type_.dtype != "float":
            raise OpError(f"{op} needs numbers, not {type_.dtype} values {type_}")


def sum_to(b: Build, g: Node, like: Node) -> Node:
    """Sums a gradient over the axes along which `like` was broadcast to the shape of `g`."""
    extra = g.type.rank - like.type.rank
    if extra:
        g = b.op("sum", g, axes=tuple(range(extra)), keep=False)
    shrunk = tuple(
        i
        for i, (have, want) in enumerate(zip(g.type.axes, like.type.axes, strict=True))
        if want.size == 1 and have.size != 1
    )
    return b.op("sum", g, axes=shrunk, keep=True) if shrunk else g


def number(b: Build, value: float) -> Node:
    """A scalar constant that broadcasts against anything."""
    return b.constant(float(value))


def onnx_node(op_type: str) -> OnnxRule:
    """The lowering to one ONNX node without attributes."""
    return lambda w, node, inputs, types: w(op_type, *inputs)


def keras_call(name: str) -> KerasRule:
    """The lowering to one function of `keras.ops`."""
    return lambda k, node, inputs, types: getattr(k.ops, name)(*inputs)


def numpy_call(name: str) -> Reference:
    """The definition by one function of numpy."""
    return lambda node, inputs, types: getattr(np, name)(*inputs)


def tensor(*sizes: int | tuple[str, int | None] | None, dtype: Any = "float") -> TensorType:
    """A type for samples: `tensor(None, 3, ("field", 4))`; a leading None is the batch axis."""
    axes = []
    for index, size in enumerate(sizes):
        if isinstance(size, tuple):
            axes.append(Axis(*size))
        else:
            axes.append(Axis(BATCH if index == 0 and size is None else None, size))
    return TensorType(tuple(axes), dtype)
