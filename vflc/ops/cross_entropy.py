"""The terms of cross-entropies, each as one op: stable, and with the short gradient.

No term is a product of 0 and the logarithm of 0: with logits far apart that would be no number where
an evaluator computes `LogSoftmax` as the logarithm of `Softmax`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.numpy import np

from vflc.ir.types import Axis, TensorType
from vflc.ops.activation import write_softplus
from vflc.ops.registry import Array, Attrs, KerasOps, OnnxWriter, Op, OpError, Sample, register
from vflc.ops.rules import Gradients, broadcast, need_float, sum_to, tensor
from vflc.ops.traits import ANY
from vflc.ops.users import alike

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def infer_bce_terms(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    z, y = types
    need_float(types, "bce")
    if z.sizes != y.sizes:
        raise OpError(f"bce of a prediction {z} and a label {y}")
    return TensorType(broadcast(types))


def onnx_bce_terms(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    z, y = inputs
    tail = write_softplus(w, w("Neg", w("Abs", z)))
    return w("Add", w("Sub", w("Relu", z), w("Mul", z, y)), tail)


def keras_bce_terms(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.binary_crossentropy(inputs[1], inputs[0], from_logits=True)


def reference_bce_terms(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    z, y = inputs
    return np.asarray(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))


def vjp_bce_terms(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
    z, y = inputs
    by_logit = b.op("mul", g, b.op("sub", b.op("sigmoid", z), y))
    return sum_to(b, by_logit, z), sum_to(b, b.op("neg", b.op("mul", g, z)), y)


register(
    Op(
        "bce_terms", "max(z, 0) - z·y + log(1 + exp(-|z|)) of a logit z and a label y, for each row.",
        infer_bce_terms, onnx_bce_terms, keras_bce_terms, reference_bce_terms, vjp_bce_terms,
        (
            Sample((tensor(None, 1), tensor(None, 1))),
            Sample(
                (tensor(None, 2), tensor(None, 2)), {},
                lambda rng: (rng.normal(0, 20, (5, 2)), rng.integers(0, 2, (5, 2)).astype(float)),
            ),
        ),
        slopes=ANY, elementwise=True,
    )
)  # fmt: skip


# --- several classes ------------------------------------------------------------------------------------


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


def vjp_cce_terms(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> Gradients:
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
            Sample((tensor(None, 4), tensor(None, dtype="int")), {}, _labelled((5,), 4, 1)),
            Sample((tensor(None, 3), tensor(None, dtype="int")), {}, _labelled((5,), 3, 20)),
            Sample(
                (tensor(None, ("task", 2), 3), tensor(None, 2, dtype="int")), {}, _labelled((5, 2), 3, 1)
            ),
            Sample((tensor(None, 4), tensor(None, 4))),
        ),
        slopes=ANY, users=alike,
    )
)  # fmt: skip
