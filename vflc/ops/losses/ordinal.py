"""The cumulative logit model of classes in an order."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.build import Initializer
from vflc.ir.types import Axis, TensorType
from vflc.ops.align import align, numeric
from vflc.ops.layers import positive
from vflc.ops.loss import LossRule, loss, mean
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, function, register
from vflc.ops.rules import InputGradients, need_float, number, tensor
from vflc.ops.traits import ANY, ValueRange
from vflc.ops.users import alike

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

LEAST = 1e-3
"""How far thresholds lie apart at least: closer ones would leave a class no room."""


# --- class_shares: from logits of lying above each threshold to the share of each class --------------------


def infer_class_shares(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (z,) = types
    need_float(types, "class_shares")
    size = z.sizes[-1] if z.rank else None
    if size is None:
        raise OpError(f"class_shares of {z}", "give it a logit for each threshold")
    return z.with_axes((*z.axes[:-1], Axis(None, size + 1)))


def onnx_class_shares(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    above, rank = w("Sigmoid", inputs[0]), types[0].rank
    edges = [0] * (2 * rank)
    first, last = list(edges), list(edges)
    first[rank - 1], last[-1] = 1, 1
    one, zero = w.constant(1.0), w.constant(0.0)
    high = w("Pad", above, w.constant(first, "int64"), one)
    return w("Sub", high, w("Pad", above, w.constant(last, "int64"), zero))


def keras_class_shares(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    above = k.ops.sigmoid(inputs[0])
    edge = above[..., :1]
    high = k.ops.concatenate([k.ops.ones_like(edge), above], axis=-1)
    return high - k.ops.concatenate([above, k.ops.zeros_like(edge)], axis=-1)


def reference_class_shares(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    above = 1 / (1 + np.exp(-inputs[0]))
    edge = above[..., :1]
    high = np.concatenate([np.ones_like(edge), above], -1)
    return np.asarray(high - np.concatenate([above, np.zeros_like(edge)], -1))


def vjp_class_shares(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    """What lies above a threshold is taken from the class below it and given to the one above."""
    (z,) = inputs
    last, size = z.type.rank - 1, z.type.sizes[-1]
    above, below = (b.op("slice", g, axis=last, start=start, stop=start + (size or 0)) for start in (1, 0))
    share = b.op("sigmoid", z)
    slope = b.op("mul", share, b.op("sub", number(b, 1.0), share))
    by_logit = b.op("mul", slope, b.op("sub", above, below))
    return (b.op("rename", by_logit, names=tuple(axis.name for axis in z.type.axes)),)


register(
    Op(
        "class_shares", "The share of each of n + 1 classes, of logits of lying above each of n thresholds.",
        infer_class_shares, onnx_class_shares, keras_class_shares, reference_class_shares, vjp_class_shares,
        (
            OpSample((tensor(None, 3),), {}, lambda rng: (-np.sort(-rng.normal(0, 2, (5, 3)), 1),)),
            OpSample((tensor(None, ("task", 2), 1),)),
        ),
        slopes=ANY, bounds=ValueRange(-1, 1), users=alike,  # below 0 where thresholds are in no order
    )
)  # fmt: skip


# --- functions ---------------------------------------------------------------------------------------------


def thresholds(b: Build, classes: int) -> Node:
    """Learned thresholds between so many classes in order, each above the one before: [classes - 1]."""
    if classes < 2:
        raise OpError(f"thresholds between {classes} classes", "give it two classes or more", "VFL0205")
    size = positive("`classes`", classes) - 1
    start = b.weight("thresholds", (Axis(None, size),), Initializer("zeros"))
    if size == 1:
        return start
    first = b.op("slice", start, axis=0, start=0, stop=1)
    gaps = b.op("softplus", b.op("slice", start, axis=0, start=1, stop=size))
    gaps = b.op("unsqueeze", b.op("add", gaps, number(b, LEAST)), axis=0, name=None)
    upto = b.constant(tuple(tuple(float(i <= j) for j in range(size - 1)) for i in range(size - 1)))
    sums = b.op("squeeze", b.op("matmul", gaps, upto, transpose_x=False, transpose_y=False), axis=0)
    middle = (size - 1) / 2 * (log(2) + LEAST)  # so that they start around 0
    return b.op("sub", b.op("add", first, b.op("pad", sums, axis=0, before=1, after=0)), number(b, middle))


def _above(b: Build, score: Node, cuts: Node) -> Node:
    """Logits of lying above each threshold [n]."""
    z = numeric(b, score)
    if z.type.row_size != 1 or cuts.type.batched or cuts.type.rank != 1:
        hint = "give it one score for each row, and `thresholds(5)`"
        raise OpError(f"a score {z.type} between thresholds {cuts.type}", hint)
    return b.op("sub", z, cuts)


def class_shares(b: Build, score: Node, thresholds: Node) -> Node:
    """The share of each class in order, of a score and `thresholds(classes)`: what `ordinal` learns."""
    return b.op("class_shares", _above(b, score, thresholds))


def ordinal(b: Build, score: Node, label: Node, thresholds: Node, weight: Node | None = None) -> Node:
    """-log of the share of the true class, by a score and ordered `thresholds(classes)`; mean over the batch.

    The label is an id of classes in order, as `vocab(1..5)` makes them (McCullagh, "Regression models for
    ordinal data", 1980). Predict `class_shares(score, thresholds)`.
    """
    z = _above(b, score, thresholds)
    size, rows = z.type.sizes[-1] or 0, label.attrs.get("rows")
    if label.type.dtype != "int" or label.type.rank != 1:
        hint = "encode the label as classes in order: `label x = column -> vocab(1..5)`"
        raise OpError(f"ordinal of a label {label.type}", hint)
    if rows is not None and rows != size + 1:
        raise OpError(f"ordinal of {size + 1} classes and a label of {rows}", f"write thresholds({rows})")
    hot = b.op("one_hot", label, depth=size + 1)
    up = b.op("slice", hot, axis=1, start=1, stop=size + 1)  # the class lies above the threshold before it
    down = b.op("slice", hot, axis=1, start=0, stop=size)  # and below the one after it
    costs = [
        b.op("mul", up, b.op("softplus", b.op("neg", z))),
        b.op("mul", down, b.op("softplus", z)),
    ]
    terms = b.op("sum", b.op("add", *costs), axes=(1,), keep=True)
    if size > 1:
        terms = b.op("add", terms, _crowding(b, hot, thresholds, size))
    return mean(b, "ordinal", terms, weight, score, label)


def _crowding(b: Build, hot: Node, thresholds: Node, size: int) -> Node:
    """What a class between two thresholds costs besides: σ(a) - σ(c) = σ(a)·σ(-c)·(1 - exp(c - a))."""
    low, high = (b.op("slice", thresholds, axis=0, start=i, stop=size - 1 + i) for i in (0, 1))
    room = b.op("sub", number(b, 1.0), b.op("exp", b.op("sub", low, high)))
    room = b.op("maximum", room, number(b, LEAST / 2))
    inner = b.op("slice", hot, axis=1, start=1, stop=size)
    return b.op("neg", b.op("sum", b.op("mul", *align(b, inner, b.op("log", room))), axes=(1,), keep=True))


function(thresholds)
function(class_shares)
loss(
    ordinal,
    LossRule(
        "ordinal",
        tells="its sign tells on which side of the score the class lies, row by row",
        predicted="multiclass",
        shares="class_shares",
        classifies=True,
    ),
)
