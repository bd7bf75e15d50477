"""Ops that move, join, cut and name axes. The batch axis stays where it is: first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vflc.ir.types import BATCH, Axis, TensorType
from vflc.ops.registry import Array, Attrs, KerasOps, OnnxWriter, Op, OpError, Sample, register
from vflc.ops.rules import Gradients, broadcast, same_dtype, sum_to, tensor

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def _check_axis(op: str, type_: TensorType, axis: int, last: int) -> None:
    if not int(type_.batched) <= axis <= last:
        raise OpError(f"{op} at axis {axis} of {type_}")


# --- reshape: sizes and names of the row axes, or of all axes where there is no batch -------------


def infer_reshape(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,), sizes = types, attrs["sizes"]
    axes = tuple(Axis(name, size) for name, size in zip(attrs["names"], sizes, strict=True))
    new = x.with_axes((x.axes[0], *axes) if x.batched else axes)
    unknown = [t.sizes[int(t.batched) :].count(None) for t in (x, new)]
    if unknown[0] != unknown[1] or unknown[0] > 1 or _known_product(x) != _known_product(new):
        raise OpError(f"{x} cannot be reshaped to {new}", "the number of values in a row must stay the same")
    return new


def _known_product(type_: TensorType) -> int:
    count = 1
    for size in type_.sizes[int(type_.batched) :]:
        count *= 1 if size is None else size
    return count


def _target(node: Node, batch: int) -> list[int]:
    sizes = [-1 if size is None else size for size in node.attrs["sizes"]]
    return [batch, *sizes] if node.type.batched else sizes


def onnx_reshape(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    """0 copies the batch axis, whatever its size."""
    return w("Reshape", inputs[0], w.constant(_target(node, 0), "int64"))


def keras_reshape(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    if None not in node.attrs["sizes"]:
        return k.ops.reshape(inputs[0], _target(node, -1))
    from keras import layers  # a layer is the one way to leave two sizes open, of batch and axis

    return layers.Reshape(_target(node, 0)[1:], dtype=k.float_dtype)(inputs[0])


def reference_reshape(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.reshape(inputs[0], _target(node, inputs[0].shape[0] if inputs[0].ndim else 1))


def vjp_reshape(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
    axes = inputs[0].type.row_axes
    sizes, names = tuple(axis.size for axis in axes), tuple(axis.name for axis in axes)
    return (b.op("reshape", g, sizes=sizes, names=names),)


# --- transpose ------------------------------------------------------------------------------------


def infer_transpose(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,), perm = types, tuple(attrs["perm"])
    if sorted(perm) != list(range(x.rank)) or (x.batched and perm[0] != 0):
        raise OpError(f"transpose of {x} to axes {list(perm)}")
    return x.with_axes(tuple(x.axes[i] for i in perm))


def onnx_transpose(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("Transpose", inputs[0], perm=list(node.attrs["perm"]))


def keras_transpose(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.transpose(inputs[0], node.attrs["perm"])


def reference_transpose(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.transpose(inputs[0], node.attrs["perm"])


def vjp_transpose(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
    perm = node.attrs["perm"]
    return (b.op("transpose", g, perm=tuple(perm.index(i) for i in range(len(perm)))),)


# --- concat and stack -----------------------------------------------------------------------------


def infer_concat(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    first, axis = types[0], attrs["axis"]
    same_dtype(types, "concat")
    shown = ", ".join(str(t) for t in types)
    _check_axis("concat", first, axis, first.rank - 1)
    if any(t.rank != first.rank or t.batched != first.batched for t in types):
        raise OpError(f"concat of values with different axes: {shown}")
    sizes = [t.axes[axis].size for t in types]
    total = None if None in sizes else sum(s for s in sizes if s is not None)
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


def vjp_concat(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
    axis, start, parts = node.attrs["axis"], 0, []
    for x in inputs:
        size = x.type.axes[axis].size
        if size is None:
            raise OpError("no gradient through a concat along an axis of unknown size")
        parts.append(b.op("slice", g, axis=axis, start=start, stop=start + size))
        start += size
    return tuple(parts)


def infer_stack(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    first, axis = types[0], attrs["axis"]
    same_dtype(types, "stack")
    _check_axis("stack", first, axis, first.rank)
    if any(t.sizes != first.sizes or t.batched != first.batched for t in types):
        raise OpError(
            f"stack of values of different shapes: {', '.join(str(t) for t in types)}",
            "only values of one shape can be stacked; `concat` joins values of different sizes",
        )
    merged = tuple(next((t.axes[i] for t in types if t.axes[i].name), a) for i, a in enumerate(first.axes))
    return first.with_axes((*merged[:axis], Axis(attrs["name"], len(types)), *merged[axis:]))


def onnx_stack(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    axis = w.constant([node.attrs["axis"]], "int64")
    return w("Concat", *(w("Unsqueeze", x, axis) for x in inputs), axis=node.attrs["axis"])


def keras_stack(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.stack(list(inputs), axis=node.attrs["axis"])


def reference_stack(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.stack(list(inputs), axis=node.attrs["axis"])


def vjp_stack(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
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


def vjp_slice(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
    a = node.attrs
    size = inputs[0].type.axes[a["axis"]].size
    assert size is not None, "infer refuses slices of an axis of unknown size"
    return (b.op("pad", g, axis=a["axis"], before=a["start"], after=size - a["stop"]),)


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


def vjp_pad(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
    a = node.attrs
    size = inputs[0].type.axes[a["axis"]].size
    assert size is not None, "infer refuses to pad an axis of unknown size"
    return (b.op("slice", g, axis=a["axis"], start=a["before"], stop=a["before"] + size),)


# --- expand_like, unsqueeze, squeeze, rename ----------------------------------------------------------


def infer_expand_like(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    x, like = types
    if broadcast((x, like)) and [a.size for a in broadcast((x, like))] != [a.size for a in like.axes]:
        raise OpError(f"{x} cannot be broadcast to the shape of {like}")
    return x.with_axes(like.axes)


def onnx_expand_like(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    if types[0].sizes == types[1].sizes:
        return w("Identity", inputs[0])
    return w("Expand", inputs[0], w("Shape", inputs[1]))


def keras_expand_like(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    """Adds zeros: `broadcast_to` needs sizes that a symbolic tensor does not have."""
    return k.ops.add(inputs[0], k.ops.zeros_like(inputs[1], dtype=k.float_dtype))


def reference_expand_like(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.broadcast_to(inputs[0], inputs[1].shape)


def vjp_expand_like(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
    return sum_to(b, g, inputs[0]), None


def infer_unsqueeze(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,), axis = types, attrs["axis"]
    if not 0 <= axis <= x.rank:
        raise OpError(f"a new axis at position {axis} of {x}")
    return x.with_axes((*x.axes[:axis], Axis(attrs["name"], 1), *x.axes[axis:]))


def onnx_unsqueeze(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("Unsqueeze", inputs[0], w.constant([node.attrs["axis"]], "int64"))


def keras_unsqueeze(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.expand_dims(inputs[0], node.attrs["axis"])


def reference_unsqueeze(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.expand_dims(inputs[0], node.attrs["axis"])


def vjp_unsqueeze(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
    return (b.op("squeeze", g, axis=node.attrs["axis"]),)


def infer_squeeze(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,), axis = types, attrs["axis"]
    if not 0 <= axis < x.rank or x.axes[axis].size != 1:
        raise OpError(f"axis {axis} of {x} cannot be dropped: its size is not 1")
    return x.with_axes((*x.axes[:axis], *x.axes[axis + 1 :]))


def onnx_squeeze(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("Squeeze", inputs[0], w.constant([node.attrs["axis"]], "int64"))


def keras_squeeze(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.squeeze(inputs[0], node.attrs["axis"])


def reference_squeeze(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.squeeze(inputs[0], node.attrs["axis"])


def vjp_squeeze(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
    axis = node.attrs["axis"]
    return (b.op("unsqueeze", g, axis=axis, name=inputs[0].type.axes[axis].name),)


def infer_rename(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,), names = types, attrs["names"]
    if len(names) != x.rank or any(
        (n == BATCH) != (a.name == BATCH) for n, a in zip(names, x.axes, strict=True)
    ):
        raise OpError(f"rename of {x} to axes {list(names)}")
    given = [name for name in names if name]
    if len(set(given)) != len(given):
        raise OpError(f"rename of {x} would give two axes one name: {', '.join(given)}")
    return x.with_axes(tuple(Axis(name, axis.size) for name, axis in zip(names, x.axes, strict=True)))


def onnx_rename(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return inputs[0]


def keras_rename(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return inputs[0]


def reference_rename(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return inputs[0]


def vjp_rename(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
    return (b.op("rename", g, names=tuple(axis.name for axis in inputs[0].type.axes)),)


# --- registration -----------------------------------------------------------------------------------

_FIELDS = tensor(None, ("field", 4), 3)
register(
    Op(
        "reshape", "The same values in other row axes.", infer_reshape, onnx_reshape, keras_reshape,
        reference_reshape, vjp_reshape,
        (
            Sample((_FIELDS,), {"sizes": (12,), "names": (None,)}),
            Sample((tensor(None, 6),), {"sizes": (1, 2, 3), "names": (None, "a", None)}),
            Sample((tensor(4, 2),), {"sizes": (2, 4), "names": (None, None)}),
            Sample((tensor(None, 3, None, 2),), {"sizes": (None, 6), "names": (None, None)}),
            Sample((tensor(),), {"sizes": (1,), "names": (None,)}),
        ),
    )
)  # fmt: skip
register(
    Op(
        "transpose", "The same values with the axes in another order.", infer_transpose, onnx_transpose,
        keras_transpose, reference_transpose, vjp_transpose,
        (Sample((_FIELDS,), {"perm": (0, 2, 1)}), Sample((tensor(2, 3, 4),), {"perm": (2, 0, 1)})),
    )
)  # fmt: skip
register(
    Op(
        "concat", "Values one after another along an axis.", infer_concat, onnx_concat, keras_concat,
        reference_concat, vjp_concat,
        (
            Sample((tensor(None, 3), tensor(None, 1)), {"axis": 1}),
            Sample((_FIELDS, tensor(None, 2, 3), _FIELDS), {"axis": 1}),
            Sample((tensor(2), tensor(3)), {"axis": 0}),
        ),
    )
)  # fmt: skip
register(
    Op(
        "stack", "Values of one shape along a new axis.", infer_stack, onnx_stack, keras_stack,
        reference_stack, vjp_stack,
        (
            Sample((tensor(None, 3), tensor(None, 3)), {"axis": 1, "name": "expert"}),
            Sample((tensor(2), tensor(2), tensor(2)), {"axis": 1, "name": None}),
        ),
    )
)  # fmt: skip
register(
    Op(
        "slice", "The part of an axis from `start` up to, not including, `stop`.", infer_slice, onnx_slice,
        keras_slice, reference_slice, vjp_slice,
        (
            Sample((_FIELDS,), {"axis": 1, "start": 1, "stop": 3}),
            Sample((tensor(4),), {"axis": 0, "start": 0, "stop": 1}),
        ),
    )
)  # fmt: skip
register(
    Op(
        "pad", "Zeros before and after the values along an axis.", infer_pad, onnx_pad, keras_pad,
        reference_pad, vjp_pad,
        (
            Sample((_FIELDS,), {"axis": 1, "before": 1, "after": 2}),
            Sample((tensor(4),), {"axis": 0, "before": 0, "after": 1}),
        ),
    )
)  # fmt: skip
register(
    Op(
        "expand_like", "The first value repeated to the shape of the second.", infer_expand_like,
        onnx_expand_like, keras_expand_like, reference_expand_like, vjp_expand_like,
        (
            Sample((tensor(), tensor(None, 3))),
            Sample((tensor(None, 1), tensor(None, 3))),
            Sample((tensor(1, 1, 3), tensor(None, ("field", 4), 3))),
            Sample((tensor(3), tensor(3))),
        ),
    )
)  # fmt: skip
register(
    Op(
        "unsqueeze", "A new axis of size 1.", infer_unsqueeze, onnx_unsqueeze, keras_unsqueeze,
        reference_unsqueeze, vjp_unsqueeze,
        (
            Sample((_FIELDS,), {"axis": 1, "name": None}),
            Sample((tensor(3),), {"axis": 1, "name": "a"}),
            Sample((tensor(None, dtype="int"),), {"axis": 1, "name": None}),
        ),
    )
)  # fmt: skip
register(
    Op(
        "squeeze", "The value without an axis of size 1.", infer_squeeze, onnx_squeeze, keras_squeeze,
        reference_squeeze, vjp_squeeze,
        (Sample((tensor(None, 1),), {"axis": 1}), Sample((tensor(("a", 1), 3),), {"axis": 0})),
    )
)  # fmt: skip
register(
    Op(
        "rename", "The same value with other names of axes.", infer_rename, onnx_rename, keras_rename,
        reference_rename, vjp_rename,
        (Sample((_FIELDS,), {"names": (BATCH, None, "unit")}), Sample((tensor(3),), {"names": ("a",)})),
    )
)  # fmt: skip
