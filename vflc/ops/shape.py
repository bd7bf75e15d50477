"""Ops that move, add, drop and name axes. The batch axis stays where it is: first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import BATCH, Axis, TensorType
from vflc.ops.parts import Parts, dropped, inserted, kept, permuted
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients, broadcast, sum_to, tensor
from vflc.ops.traits import COPY, NONE, first, same
from vflc.ops.users import levelled, renamed, reshaped

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


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


def vjp_reshape(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
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


def vjp_transpose(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    perm = node.attrs["perm"]
    return (b.op("transpose", g, perm=tuple(perm.index(i) for i in range(len(perm)))),)


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


def vjp_expand_like(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
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


def vjp_unsqueeze(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
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


def vjp_squeeze(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
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


def vjp_rename(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return (b.op("rename", g, names=tuple(axis.name for axis in inputs[0].type.axes)),)


# --- registration -----------------------------------------------------------------------------------

_FIELDS = tensor(None, ("field", 4), 3)
register(
    Op(
        "reshape", "The same values in other row axes.", infer_reshape, onnx_reshape, keras_reshape,
        reference_reshape, vjp_reshape,
        (
            OpSample((_FIELDS,), {"sizes": (12,), "names": (None,)}),
            OpSample((tensor(None, 6),), {"sizes": (1, 2, 3), "names": (None, "a", None)}),
            OpSample((tensor(4, 2),), {"sizes": (2, 4), "names": (None, None)}),
            OpSample((tensor(None, 3, None, 2),), {"sizes": (None, 6), "names": (None, None)}),
            OpSample((tensor(),), {"sizes": (1,), "names": (None,)}),
        ),
        slopes=COPY, bounds=same, differs="shape", users=reshaped,
    )
)  # fmt: skip
register(
    Op(
        "transpose", "The same values with the axes in another order.", infer_transpose, onnx_transpose,
        keras_transpose, reference_transpose, vjp_transpose,
        (OpSample((_FIELDS,), {"perm": (0, 2, 1)}), OpSample((tensor(2, 3, 4),), {"perm": (2, 0, 1)})),
        slopes=COPY, bounds=same, axes=("perm",), leading={"perm": 0}, parts=Parts(along=permuted),
    )
)  # fmt: skip
register(
    Op(
        "expand_like", "The first value repeated to the shape of the second.", infer_expand_like,
        onnx_expand_like, keras_expand_like, reference_expand_like, vjp_expand_like,
        (
            OpSample((tensor(), tensor(None, 3))),
            OpSample((tensor(None, 1), tensor(None, 3))),
            OpSample((tensor(1, 1, 3), tensor(None, ("field", 4), 3))),
            OpSample((tensor(3), tensor(3))),
        ),
        slopes=(COPY, NONE), bounds=first, shape_only=1, users=levelled,
        broadcasts=lambda attrs: True,
    )
)  # fmt: skip
register(
    Op(
        "unsqueeze", "A new axis of size 1.", infer_unsqueeze, onnx_unsqueeze, keras_unsqueeze,
        reference_unsqueeze, vjp_unsqueeze,
        (
            OpSample((_FIELDS,), {"axis": 1, "name": None}),
            OpSample((tensor(3),), {"axis": 1, "name": "a"}),
            OpSample((tensor(None, dtype="int"),), {"axis": 1, "name": None}),
        ),
        slopes=COPY, bounds=same, axes=("axis",), differs="shape", parts=Parts(along=inserted),
        broadcasts=lambda attrs: bool(attrs["axis"] == 0),
    )
)  # fmt: skip
register(
    Op(
        "squeeze", "The value without an axis of size 1.", infer_squeeze, onnx_squeeze, keras_squeeze,
        reference_squeeze, vjp_squeeze,
        (OpSample((tensor(None, 1),), {"axis": 1}), OpSample((tensor(("a", 1), 3),), {"axis": 0})),
        slopes=COPY, bounds=same, axes=("axis",), differs="shape", parts=Parts(along=dropped),
    )
)  # fmt: skip
register(
    Op(
        "rename", "The same value with other names of axes.", infer_rename, onnx_rename, keras_rename,
        reference_rename, vjp_rename,
        (OpSample((_FIELDS,), {"names": (BATCH, None, "unit")}), OpSample((tensor(3),), {"names": ("a",)})),
        slopes=COPY, bounds=same, differs="names", leading={"names": BATCH}, users=renamed,
        parts=Parts(along=kept),
    )
)  # fmt: skip
