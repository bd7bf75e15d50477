"""Other rows of the batch beside a row: ops of training alone, and what losses take as negatives.

The rows of a batch come in the order of the epoch, which the seed draws: the next ones are a sample of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import Axis, TensorType
from vflc.ops.align import numeric
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, function, register
from vflc.ops.rules import InputGradients, need_float, tensor
from vflc.ops.traits import ANY, same

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

MOST = 1000
"""Rows that may stand beside each row as a sample."""
OTHER = Axis("other", None)
"""The rows of the batch, once more."""


# --- next_rows: the batch moved up by some rows, the first ones after the last -----------------------------


def infer_next_rows(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,) = types
    need_float(types, "next_rows")
    if not x.batched:
        raise OpError(f"the next rows of {x}", "give it values of the rows")
    return x


def onnx_next_rows(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    (x,) = inputs
    rows = w("Shape", x, start=0, end=1)
    start = w("Mod", w.constant([node.attrs["by"]], "int64"), w("Max", rows, w.constant([1], "int64")))
    zero = w.constant([0], "int64")
    return w("Concat", w("Slice", x, start, rows, zero), w("Slice", x, zero, start, zero), axis=0)


def keras_next_rows(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.roll(inputs[0], -node.attrs["by"], axis=0)


def reference_next_rows(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.roll(inputs[0], -node.attrs["by"], axis=0)


def vjp_next_rows(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return (b.op("next_rows", g, by=-node.attrs["by"]),)


# --- pairs, from_pairs: every row beside every row ---------------------------------------------------------


def infer_pairs(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    x, y = types
    need_float(types, "pairs")
    if not (x.batched and y.batched and x.rank == y.rank == 2) or x.sizes != y.sizes:
        raise OpError(f"all pairs of rows of {x} and {y}", "give both one axis of the same size")
    return TensorType((x.axes[0], OTHER))


def onnx_pairs(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("MatMul", inputs[0], w("Transpose", inputs[1], perm=[1, 0]))


def keras_pairs(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.matmul(inputs[0], k.ops.transpose(inputs[1]))


def reference_pairs(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.asarray(inputs[0] @ inputs[1].T)


def vjp_pairs(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    x, y = inputs
    return b.op("from_pairs", g, y, turned=False), b.op("from_pairs", g, x, turned=True)


def infer_from_pairs(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    p, x = types
    need_float(types, "from_pairs")
    if not (p.batched and x.batched and p.rank == x.rank == 2) or p.axes[1].size is not None:
        raise OpError(f"sums of {x} by pairs {p}")
    return x


def onnx_from_pairs(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    p, x = inputs
    return w("MatMul", w("Transpose", p, perm=[1, 0]) if node.attrs["turned"] else p, x)


def keras_from_pairs(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    p, x = inputs
    return k.ops.matmul(k.ops.transpose(p) if node.attrs["turned"] else p, x)


def reference_from_pairs(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    p, x = inputs
    return np.asarray((p.T if node.attrs["turned"] else p) @ x)


def vjp_from_pairs(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    p, x = inputs
    turned = node.attrs["turned"]
    by_pairs = b.op("pairs", x, g) if turned else b.op("pairs", g, x)
    return by_pairs, b.op("from_pairs", p, g, turned=not turned)


def _pairs_of(rows: int, width: int) -> Any:
    return lambda rng: (rng.normal(0, 1, (rows, rows)), rng.normal(0, 1, (rows, width)))


register(
    Op(
        "next_rows", "The row that follows by so many in the batch; after the last row comes the first.",
        infer_next_rows, onnx_next_rows, keras_next_rows, reference_next_rows, vjp_next_rows,
        (
            OpSample((tensor(None, 3),), {"by": 1}),
            OpSample((tensor(None, ("field", 2), 2),), {"by": -2}),
            OpSample((tensor(None, 1),), {"by": 12}, lambda rng: (rng.normal(0, 1, (5, 1)),)),
        ),
        slopes=ANY, bounds=same, mixes_rows=True, of_batch=True,
    )
)  # fmt: skip
register(
    Op(
        "pairs", "The product of each row with each row of the batch.",
        infer_pairs, onnx_pairs, keras_pairs, reference_pairs, vjp_pairs,
        (OpSample((tensor(None, 3), tensor(None, 3))), OpSample((tensor(None, 1), tensor(None, 1)))),
        slopes=ANY, mixes_rows=True, of_batch=True,
    )
)  # fmt: skip
register(
    Op(
        "from_pairs", "The rows of the batch, added up for each row by what stands at the pairs of both.",
        infer_from_pairs, onnx_from_pairs, keras_from_pairs, reference_from_pairs, vjp_from_pairs,
        (
            OpSample((tensor(None, ("other", None)), tensor(None, 3)), {"turned": False}, _pairs_of(5, 3)),
            OpSample((tensor(None, ("other", None)), tensor(None, 2)), {"turned": True}, _pairs_of(4, 2)),
        ),
        slopes=ANY, mixes_rows=True, of_batch=True,
    )
)  # fmt: skip


def sampled(b: Build, x: Node, n: int = 1) -> Node:
    """The value in `n` other rows of the batch, as negatives of a loss: [sample n, …].

    The seed draws them anew in each epoch: they are the `n` rows that follow in the batch, after the last
    one the first. In a batch of at most `n` rows, a row meets itself. A prediction cannot depend on it.
    """
    if not 1 <= n <= MOST:
        raise OpError(f"sampled with n = {n}", f"n must be from 1 to {MOST:,}", "VFL0205")
    x = numeric(b, x)
    if not x.type.batched:
        raise OpError(f"sampled of {x.type}", "give it a value of the rows")
    return b.op("stack", *(b.op("next_rows", x, by=i + 1) for i in range(n)), axis=1, name="sample")


function(sampled)
