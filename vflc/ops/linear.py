"""Matrix products, as numpy's `matmul`: the last two axes are matrices, those before are stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import TensorType
from vflc.ops.parts import Parts, leading
from vflc.ops.registry import Attrs, KerasLayer, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients, broadcast, need_float, sum_to, tensor
from vflc.ops.traits import COPY, mix
from vflc.ops.users import contracted, levelled, multiplied

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node
    from vflc.ops.summands import Summands


def infer_matmul(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    x, y = types
    need_float(types, "matmul")
    shown = f"matmul of {x} and {y}"
    if min(x.rank, y.rank) < 2:
        raise OpError(f"{shown}: both need two axes")
    for t, transposed in ((x, attrs["transpose_x"]), (y, attrs["transpose_y"])):
        if t.batched and t.rank == 2 and (transposed or t is y):
            raise OpError(f"{shown}: the batch axis cannot be summed over or moved")
    rows, inner = (x.axes[-1], x.axes[-2]) if attrs["transpose_x"] else (x.axes[-2], x.axes[-1])
    also_inner, columns = (y.axes[-1], y.axes[-2]) if attrs["transpose_y"] else (y.axes[-2], y.axes[-1])
    if inner.size != also_inner.size:
        raise OpError(f"{shown}: {inner} values meet {also_inner}", "the inner sizes must be equal")
    if x.rank == 2 and x.batched and y.rank > 2:
        raise OpError(f"{shown}: the batch axis cannot be an axis of the matrix")
    stacked = broadcast([t.with_axes(t.axes[:-2]) for t in types])
    name = None if columns.name == rows.name else columns.name
    return x.with_axes((*stacked, rows, type(columns)(name, columns.size)))


def onnx_matmul(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    flips = node.attrs["transpose_x"], node.attrs["transpose_y"]
    if any(flips) and all(t.rank == 2 for t in types):
        return w("Gemm", *inputs, transA=int(flips[0]), transB=int(flips[1]))
    x, y = (
        w("Transpose", name, perm=[*range(t.rank - 2), t.rank - 1, t.rank - 2]) if flip else name
        for name, t, flip in zip(inputs, types, flips, strict=True)
    )
    return w("MatMul", x, y)


def keras_matmul(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    x = k.ops.swapaxes(inputs[0], -1, -2) if node.attrs["transpose_x"] else inputs[0]
    y = k.ops.swapaxes(inputs[1], -1, -2) if node.attrs["transpose_y"] else inputs[1]
    return k.ops.matmul(x, y)


def reference_matmul(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    x = np.swapaxes(inputs[0], -1, -2) if node.attrs["transpose_x"] else inputs[0]
    y = np.swapaxes(inputs[1], -1, -2) if node.attrs["transpose_y"] else inputs[1]
    return np.asarray(np.matmul(x, y))


def _product(b: Build, x: Node, y: Node, transpose_x: bool = False, transpose_y: bool = False) -> Node:
    return b.op("matmul", x, y, transpose_x=transpose_x, transpose_y=transpose_y)


def vjp_matmul(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    x, y = inputs
    flip_x, flip_y = node.attrs["transpose_x"], node.attrs["transpose_y"]
    if flip_x:
        by_x = sum_to(b, _product(b, y, g, flip_y, True), x)
    else:
        by_x = sum_to(b, _product(b, g, y, False, not flip_y), x)
    if y.type.rank == 2 and not flip_x:
        by_y = b.op("contract", g, x) if flip_y else b.op("contract", x, g)
    elif flip_y:
        by_y = sum_to(b, _product(b, g, x, True, flip_x), y)
    else:
        by_y = sum_to(b, _product(b, x, g, not flip_x), y)
    return by_x, by_y


def plain(types: Sequence[TensorType], attrs: Attrs) -> bool:
    """Whether rows meet one matrix, and neither is transposed."""
    return types[1].rank == 2 and not (attrs["transpose_x"] or attrs["transpose_y"])


def rows_along(types: Sequence[TensorType], attrs: Attrs, axis: int) -> int | None:
    """Every axis but the last, where rows meet one matrix."""
    return leading(types, attrs, axis) if plain(types, attrs) else None


# --- linear: the fully connected layer ----------------------------------------------------------


def infer_linear(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    x, kernel, *bias = types
    need_float(types, "linear")
    if x.rank < 2 or kernel.rank != 2 or kernel.batched or x.axes[-1].size != kernel.axes[0].size:
        raise OpError(f"a linear map of {x} by a kernel of shape {kernel}")
    if bias and (bias[0].rank != 1 or bias[0].batched or bias[0].sizes[0] != kernel.sizes[1]):
        raise OpError(f"a bias of shape {bias[0]} for a kernel of shape {kernel}")
    return x.with_axes((*x.axes[:-1], kernel.axes[1]))


def onnx_linear(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    if types[0].rank == 2 and len(inputs) == 3:
        return w("Gemm", *inputs)
    product = w("MatMul", *inputs[:2])
    return w("Add", product, inputs[2]) if len(inputs) == 3 else product


def keras_linear(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    product = k.ops.matmul(inputs[0], inputs[1])
    return k.ops.add(product, inputs[2]) if len(inputs) == 3 else product


def make_dense(node: Node, types: Sequence[TensorType], name: str, dtype: str) -> Any:
    from keras import layers

    bias = len(types) == 3
    return layers.Dense(
        types[1].sizes[1], use_bias=bias, kernel_initializer="zeros", name=name, dtype=dtype
    )  # fmt: skip


def call_dense(
    k: KerasOps, layer: Any, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]
) -> Any:
    return layer(inputs[0])


def reference_linear(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    product = np.matmul(inputs[0], inputs[1])
    return np.asarray(product + inputs[2] if len(inputs) == 3 else product)


def vjp_linear(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    x, kernel = inputs[:2]
    gradients = (_product(b, g, kernel, transpose_y=True), b.op("contract", x, g))
    return (*gradients, sum_to(b, g, inputs[2])) if len(inputs) == 3 else gradients


# --- contract: the gradient of a kernel -----------------------------------------------------------


def infer_contract(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    x, y = types
    need_float(types, "contract")
    if x.rank < 2 or x.sizes[:-1] != y.sizes[:-1] or x.batched != y.batched:
        raise OpError(f"contract of {x} and {y}: all axes but the last must be the same")
    left, right = x.axes[-1], y.axes[-1]
    return x.with_axes((left, type(right)(None if right.name == left.name else right.name, right.size)))


def onnx_contract(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    def rows(name: str, type_: TensorType) -> str:
        return name if type_.rank == 2 else w("Reshape", name, w.constant([-1, type_.sizes[-1]], "int64"))

    return w("Gemm", rows(inputs[0], types[0]), rows(inputs[1], types[1]), transA=1)


def keras_contract(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    x, y = (k.ops.reshape(v, (-1, t.sizes[-1])) for v, t in zip(inputs, types, strict=True))
    return k.ops.matmul(k.ops.transpose(x), y)


def reference_contract(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    x, y = (v.reshape(-1, v.shape[-1]) for v in inputs)
    return np.asarray(x.T @ y)


def vjp_contract(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    x, y = inputs
    return _product(b, y, g, transpose_y=True), _product(b, x, g)


def summands_contract(b: Build, node: Node, inputs: Sequence[Node]) -> Summands:
    """A row's own outer product, or its sum of several."""
    from vflc.ops.summands import Each, Outer, matrix  # few specs need it

    x, y = inputs
    if x.type.rank == 2:
        return Outer(x, y)
    x, y = (matrix(b, value) for value in inputs)
    return Each(_product(b, x, y, transpose_x=True))


# --- registration -----------------------------------------------------------------------------------


def _flips(x: bool, y: bool) -> dict[str, bool]:
    return {"transpose_x": x, "transpose_y": y}


register(
    Op(
        "matmul", "The matrix product over the last two axes, either matrix transposed on demand.",
        infer_matmul, onnx_matmul, keras_matmul, reference_matmul, vjp_matmul,
        (
            OpSample((tensor(None, 3), tensor(3, 4)), _flips(False, False)),
            OpSample((tensor(None, 3), tensor(4, 3)), _flips(False, True)),
            OpSample((tensor(3, 2), tensor(4, 3)), _flips(True, True)),
            OpSample((tensor(3, 2), tensor(3, 4)), _flips(True, False)),
            OpSample((tensor(None, 2, 3), tensor(3, 4)), _flips(False, False)),
            OpSample((tensor(None, 2, 3), tensor(4, 3)), _flips(False, True)),
            OpSample((tensor(None, 2, 3), tensor(None, 3, 4)), _flips(False, False)),
            OpSample((tensor(None, 3, 2), tensor(None, 4, 3)), _flips(True, True)),
            OpSample((tensor(2, 3), tensor(None, 3, 4)), _flips(False, False)),
            OpSample((tensor(None, 1, 2, 3), tensor(None, 5, 2, 3)), _flips(False, True)),
        ),
        slopes=(mix(1), mix(0)), users=levelled, parts=Parts(along=rows_along, product=plain),
    )
)  # fmt: skip
register(
    Op(
        "linear", "A linear map of the last axis by a kernel [in, out], plus a bias [out] where given.",
        infer_linear, onnx_linear, keras_linear, reference_linear, vjp_linear,
        (
            OpSample((tensor(None, 3), tensor(3, 4), tensor(4))),
            OpSample((tensor(None, 3), tensor(3, 1))),
            OpSample((tensor(None, ("field", 2), 3), tensor(3, 4), tensor(4))),
            OpSample((tensor(None, 2, 2, 3), tensor(3, 4))),
        ),
        KerasLayer(lambda node: tuple(range(1, len(node.inputs))), make_dense, call_dense, "kernel"),
        slopes=(mix(1), mix(0), COPY), users=multiplied,
        parts=Parts(along=leading, product=lambda types, attrs: True),
    )
)  # fmt: skip
register(
    Op(
        "contract", "The sum over all axes but the last of outer products: [.., m] and [.., n] give [m, n].",
        infer_contract, onnx_contract, keras_contract, reference_contract, vjp_contract,
        (
            OpSample((tensor(None, 3), tensor(None, 4))),
            OpSample((tensor(None, 2, 3), tensor(None, 2, 4))),
            OpSample((tensor(5, 2), tensor(5, 1))),
        ),
        slopes=(mix(1), mix(0)), users=contracted, summands=summands_contract,
    )
)  # fmt: skip
