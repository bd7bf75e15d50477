"""Ops that join values along an axis, and cut them apart again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import Axis, TensorType
from vflc.ops.parts import Parts, beside
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients, same_dtype, tensor
from vflc.ops.traits import COPY, same, with_zero

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def _check_axis(op: str, type_: TensorType, axis: int, last: int) -> None:
    if not int(type_.batched) <= axis <= last:
        raise OpError(f"{op} at axis {axis} of {type_}")


# --- concat and stack -----------------------------------------------------------------------------


def infer_concat(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    first, axis = types[0], attrs["axis"]
    same_dtype(types, "concat")
    shown = ", ".join(str(t) for t in types)
    _check_axis("concat", first, axis, first.rank - 1)
    if any(t.rank != first.rank or t.batched != first.batched for t in types):
        raise OpError(f"concat of values with different axes: {shown}")
    sizes = [t.axes[axis].size for t in types]
    if None in sizes:
        raise OpError(f"concat of {shown} along an axis of unknown size", "concat along another axis")
    total = sum(s for s in sizes if s is not None)
    joined = []
    for index, axis_ in enumerate(first.axes):
        others = [t.axes[index] for t in types]
        name = next((a.name for a in others if a.name), None)
        if index != axis and len({a.size for a in others}) > 1:
            raise OpError(f"concat along axis {axis} of {shown}: the other axes must be of equal size")
        joined.append(Axis(name, total) if index == axis else Axis(name, axis_.size))
    return first.with_axes(tuple(joined))


def onnx_concat(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("Concat", *inputs, axis=node.attrs["axis"])


def keras_concat(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.concatenate(list(inputs), axis=node.attrs["axis"])


def reference_concat(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.concatenate(list(inputs), axis=node.attrs["axis"])


def vjp_concat(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    axis, start, parts = node.attrs["axis"], 0, []
    for x in inputs:
        size = x.type.axes[axis].size
        assert size is not None, "infer refuses concat along an axis of unknown size"
        parts.append(b.op("slice", g, axis=axis, start=start, stop=start + size))
        start += size
    return tuple(parts)


def infer_stack(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    first, axis = types[0], attrs["axis"]
    same_dtype(types, "stack")
    _check_axis("stack", first, axis, first.rank)
    different = [first, *(t for t in types if t != first)]
    if any(t.sizes != first.sizes or t.batched != first.batched for t in different):
        raise OpError(
            f"stack of values of different shapes: {', '.join(str(t) for t in types)}",
            "use `concat` for values of different sizes: `stack` needs values of one shape",
        )
    merged = tuple(
        next((t.axes[i] for t in different if t.axes[i].name), a) for i, a in enumerate(first.axes)
    )
    return first.with_axes((*merged[:axis], Axis(attrs["name"], len(types)), *merged[axis:]))


def onnx_stack(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    axis = w.constant([node.attrs["axis"]], "int64")
    return w("Concat", *(w("Unsqueeze", x, axis) for x in inputs), axis=node.attrs["axis"])


def keras_stack(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.stack(list(inputs), axis=node.attrs["axis"])


def reference_stack(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.stack(list(inputs), axis=node.attrs["axis"])


def vjp_stack(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    axis = node.attrs["axis"]
    return tuple(
        b.op("squeeze", b.op("slice", g, axis=axis, start=i, stop=i + 1), axis=axis)
        for i in range(len(inputs))
    )


# --- slice and its gradient, pad --------------------------------------------------------------------


def infer_slice(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,), axis, start, stop = types, attrs["axis"], attrs["start"], attrs["stop"]
    _check_axis("slice", x, axis, x.rank - 1)
    size = x.axes[axis].size
    if size is None or not 0 <= start < stop <= size:
        raise OpError(
            f"slice {start} to {stop} of an axis of size {size if size is not None else '?'} in {x}"
        )
    cut = Axis(x.axes[axis].name, stop - start)
    return x.with_axes((*x.axes[:axis], cut, *x.axes[axis + 1 :]))


def _window(node: Node, rank: int) -> tuple[slice, ...]:
    a = node.attrs
    return tuple(slice(a["start"], a["stop"]) if i == a["axis"] else slice(None) for i in range(rank))


def onnx_slice(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    start, stop, axis = (w.constant([node.attrs[key]], "int64") for key in ("start", "stop", "axis"))
    return w("Slice", inputs[0], start, stop, axis)


def keras_slice(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return inputs[0][_window(node, types[0].rank)]


def reference_slice(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return inputs[0][_window(node, inputs[0].ndim)]


def vjp_slice(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    a = node.attrs
    size = inputs[0].type.axes[a["axis"]].size
    assert size is not None, "infer refuses slices of an axis of unknown size"
    return (b.op("pad", g, axis=a["axis"], before=a["start"], after=size - a["stop"]),)


def stretch(attrs: Attrs) -> tuple[int, int, int]:
    """The axis that is cut, and where."""
    return attrs["axis"], attrs["start"], attrs["stop"]


def infer_pad(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,), axis = types, attrs["axis"]
    _check_axis("pad", x, axis, x.rank - 1)
    size = x.axes[axis].size
    if size is None or min(attrs["before"], attrs["after"]) < 0:
        raise OpError(f"pad of axis {axis} of {x} by {attrs['before']} and {attrs['after']}")
    grown = Axis(x.axes[axis].name, attrs["before"] + size + attrs["after"])
    return x.with_axes((*x.axes[:axis], grown, *x.axes[axis + 1 :]))


def _margins(node: Node, rank: int) -> list[tuple[int, int]]:
    a = node.attrs
    return [(a["before"], a["after"]) if i == a["axis"] else (0, 0) for i in range(rank)]


def onnx_pad(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    margins = _margins(node, types[0].rank)
    return w(
        "Pad", inputs[0], w.constant([low for low, _ in margins] + [high for _, high in margins], "int64")
    )


def keras_pad(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.pad(inputs[0], _margins(node, types[0].rank))


def reference_pad(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.pad(inputs[0], _margins(node, inputs[0].ndim))


def vjp_pad(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    a = node.attrs
    size = inputs[0].type.axes[a["axis"]].size
    assert size is not None, "infer refuses to pad an axis of unknown size"
    return (b.op("slice", g, axis=a["axis"], start=a["before"], stop=a["before"] + size),)


# --- registration -----------------------------------------------------------------------------------

_FIELDS = tensor(None, ("field", 4), 3)
register(
    Op(
        "concat", "Values one after another along an axis.", infer_concat, onnx_concat, keras_concat,
        reference_concat, vjp_concat,
        (
            OpSample((tensor(None, 3), tensor(None, 1)), {"axis": 1}),
            OpSample((_FIELDS, tensor(None, 2, 3), _FIELDS), {"axis": 1}),
            OpSample((tensor(2), tensor(3)), {"axis": 0}),
        ),
        slopes=COPY, bounds=same, axes=("axis",), places="joined",
    )
)  # fmt: skip
register(
    Op(
        "stack", "Values of one shape along a new axis.", infer_stack, onnx_stack, keras_stack,
        reference_stack, vjp_stack,
        (
            OpSample((tensor(None, 3), tensor(None, 3)), {"axis": 1, "name": "expert"}),
            OpSample((tensor(2), tensor(2), tensor(2)), {"axis": 1, "name": None}),
        ),
        slopes=COPY, bounds=same, axes=("axis",), places="stacked",
    )
)  # fmt: skip
register(
    Op(
        "slice", "The part of an axis from `start` up to, not including, `stop`.", infer_slice, onnx_slice,
        keras_slice, reference_slice, vjp_slice,
        (
            OpSample((_FIELDS,), {"axis": 1, "start": 1, "stop": 3}),
            OpSample((tensor(4),), {"axis": 0, "start": 0, "stop": 1}),
        ),
        slopes=COPY, bounds=same, axes=("axis",), keeps_zero=True, parts=Parts(along=beside, cuts=stretch),
    )
)  # fmt: skip
register(
    Op(
        "pad", "Zeros before and after the values along an axis.", infer_pad, onnx_pad, keras_pad,
        reference_pad, vjp_pad,
        (
            OpSample((_FIELDS,), {"axis": 1, "before": 1, "after": 2}),
            OpSample((tensor(4),), {"axis": 0, "before": 0, "after": 1}),
        ),
        slopes=COPY, bounds=with_zero, axes=("axis",), places="padded", parts=Parts(along=beside),
    )
)  # fmt: skip
