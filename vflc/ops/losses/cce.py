"""Categorical cross-entropy.

The terms are one op: stable, and with the short gradient. None is a product of 0 and the logarithm of 0:
with logits far apart that would be no number where an evaluator computes `LogSoftmax` as the logarithm of
`Softmax`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import Axis, TensorType
from vflc.ops.align import numeric
from vflc.ops.loss import LossRule, loss, mean, smoothed
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients, need_float, tensor
from vflc.ops.traits import ANY
from vflc.ops.users import alike

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def infer_cce_terms(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    z, y = types
    need_float((z,), "cce")
    wanted = z.sizes[:-1] if y.dtype == "int" else z.sizes
    if not z.rank or y.sizes != wanted or y.dtype == "bool":
        raise OpError(f"cce of logits {z} and a label {y}")
    return z.with_axes((*z.axes[:-1], Axis(None, 1)))


def onnx_cce_terms(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    """From logits less their largest: log Σ exp(z) - z of the class, or the mean of that by shares."""
    last = w.constant([-1], "int64")
    z = w("Sub", inputs[0], w("ReduceMax", inputs[0], last, keepdims=1))
    norm = w("Log", w("ReduceSum", w("Exp", z), last, keepdims=1))
    if types[1].dtype == "int":
        return w("Sub", norm, w("GatherElements", z, w("Unsqueeze", inputs[1], last), axis=types[0].rank - 1))
    return w("ReduceSum", w("Mul", inputs[1], w("Sub", norm, z)), last, keepdims=1)


def keras_cce_terms(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    z, y = inputs
    norm = k.ops.logsumexp(z, axis=-1, keepdims=True)
    if types[1].dtype == "int":
        return norm - k.ops.take_along_axis(z, k.ops.expand_dims(y, -1), axis=-1)
    return k.ops.sum(y * (norm - z), axis=-1, keepdims=True)


def reference_cce_terms(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    z, y = inputs
    z = z - z.max(-1, keepdims=True)
    norm = np.log(np.exp(z).sum(-1, keepdims=True))
    if types[1].dtype == "int":
        return np.asarray(norm - np.take_along_axis(z, y[..., None].astype(np.int64), -1))
    return np.asarray((y * (norm - z)).sum(-1, keepdims=True))


def vjp_cce_terms(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    """softmax(z) less the label, of shares times their sum; by shares, what each class would cost."""
    z, y = inputs
    last = z.type.rank - 1
    shares = b.op("softmax", z, axis=last)
    if y.type.dtype == "int":
        hot = b.op("one_hot", y, depth=z.type.sizes[-1])
        return b.op("mul", g, b.op("sub", shares, hot)), None
    whole = b.op("mul", shares, b.op("sum", y, axes=(last,), keep=True))
    by_label = b.op("neg", b.op("mul", g, b.op("log_softmax", z, axis=last)))
    return b.op("mul", g, b.op("sub", whole, y)), by_label


def _labelled(shape: tuple[int, ...], classes: int, scale: float) -> Any:
    return lambda rng: (
        rng.normal(0, scale, (*shape, classes)),
        rng.integers(0, classes, shape).astype(np.int32),
    )


register(
    Op(
        "cce_terms", "log Σ exp(z) - z of the class y, for each row; of shares y, the mean of it by them.",
        infer_cce_terms, onnx_cce_terms, keras_cce_terms, reference_cce_terms, vjp_cce_terms,
        (
            OpSample((tensor(None, 4), tensor(None, dtype="int")), {}, _labelled((5,), 4, 1)),
            OpSample((tensor(None, 3), tensor(None, dtype="int")), {}, _labelled((5,), 3, 20)),
            OpSample(
                (tensor(None, ("task", 2), 3), tensor(None, 2, dtype="int")), {}, _labelled((5, 2), 3, 1)
            ),
            OpSample((tensor(None, 4), tensor(None, 4))),
        ),
        slopes=ANY, users=alike,
    )
)  # fmt: skip


def cce(b: Build, logits: Node, label: Node, smoothing: float = 0.0, weight: Node | None = None) -> Node:
    """Categorical cross-entropy of logits [classes] (before `softmax`) and a class; mean over the batch.

    The label is an id (`vocab` or `index`), or a probability for each class: [classes]. With `smoothing`, so
    much of each label is spread over all classes.
    """
    z = numeric(b, logits)
    classes = z.type.axes[-1].size if len(z.type.row_axes) == 1 else None
    if classes is None:
        raise OpError(f"cce of logits {z.type}", "give it one axis with one logit per class")
    if label.type.dtype == "int":
        rows = label.attrs.get("rows")
        if label.type.rank > 1 or (rows is not None and rows > classes):
            raise OpError(
                f"cce of {classes} logits and a label {label.type} of {rows} classes",
                f"make {rows} logits: `dense(x, {rows})`",
            )
        y = label
    else:
        y = numeric(b, label)
        if y.type.sizes != z.type.sizes:
            hint = "encode the label as classes: `label x = column -> vocab(…)`"
            raise OpError(f"cce of {classes} logits and a label {label.type}", hint)
    terms = smoothed(b, smoothing, "cce", b.op("cce_terms", z, y), lambda: _even_terms(b, z))
    return mean(b, "cce", terms, weight, logits, label)


def _even_terms(b: Build, z: Node) -> Node:
    """The loss of a label of equal shares: what the classes cost on average."""
    costs = b.op("neg", b.op("log_softmax", z, axis=z.type.rank - 1))
    return b.op("mean", costs, axes=(z.type.rank - 1,), keep=True)


loss(
    cce,
    LossRule(
        "cce",
        tells="its direction is the class, row by row",
        predicted="multiclass",
        shares="softmax",
        terms="cce_terms",
        classifies=True,
    ),
)
