"""Binary cross-entropy.

The terms are one op: stable, and with the short gradient. None is a product of 0 and the logarithm of 0:
with logits far apart that would be no number where an evaluator computes `LogSoftmax` as the logarithm of
`Softmax`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import TensorType
from vflc.ops.activation import write_softplus
from vflc.ops.loss import LossRule, binary_pair, loss, mean, smoothed
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients, broadcast, need_float, sum_to, tensor
from vflc.ops.traits import ANY

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


def vjp_bce_terms(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    z, y = inputs
    by_logit = b.op("mul", g, b.op("sub", b.op("sigmoid", z), y))
    return sum_to(b, by_logit, z), sum_to(b, b.op("neg", b.op("mul", g, z)), y)


register(
    Op(
        "bce_terms", "max(z, 0) - z·y + log(1 + exp(-|z|)) of a logit z and a label y, for each row.",
        infer_bce_terms, onnx_bce_terms, keras_bce_terms, reference_bce_terms, vjp_bce_terms,
        (
            OpSample((tensor(None, 1), tensor(None, 1))),
            OpSample(
                (tensor(None, 2), tensor(None, 2)), {},
                lambda rng: (rng.normal(0, 20, (5, 2)), rng.integers(0, 2, (5, 2)).astype(float)),
            ),
        ),
        slopes=ANY, elementwise=True,
    )
)  # fmt: skip


def bce(b: Build, logit: Node, label: Node, smoothing: float = 0.0, weight: Node | None = None) -> Node:
    """Binary cross-entropy of a logit (before `sigmoid`) and a label of 0 or 1; mean over the batch.

    With `smoothing`, so much of each label is spread over both classes: 0.1 makes 0.05 and 0.95 of 0 and 1.
    """
    z, y = binary_pair(b, "bce", logit, label)
    terms = smoothed(b, smoothing, "bce", b.op("bce_terms", z, y), lambda: b.op("bce_terms", z, _even(b, z)))
    return mean(b, "bce", terms, weight, logit, label)


def _even(b: Build, like: Node) -> Node:
    """A label of equal shares."""
    return b.op("expand_like", b.constant(0.5), like)


loss(
    bce,
    LossRule(
        "bce",
        tells="its sign is the label, row by row",
        predicted="binary",
        shares="sigmoid",
        terms="bce_terms",
        classifies=True,
    ),
)
