"""Ops that depend on whether a graph trains or predicts, and on whether gradients pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array

from vflc.ir.types import TensorType
from vflc.ops.registry import Attrs, KerasOps, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients, onnx_node, tensor
from vflc.ops.source import vjp_none
from vflc.ops.traits import COPY, NONE, same

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

RESOLVED = frozenset({"when_training"})
"""Ops that a pass replaces by one of their inputs before a graph is emitted."""


def infer_when_training(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    a, b = types
    if a.sizes != b.sizes or a.dtype != b.dtype:
        raise OpError(f"{a} while training but {b} otherwise")
    return a


def resolved(*_: Any) -> Any:
    raise TypeError("when_training is replaced by one of its inputs before a graph is emitted")


def reference_when_training(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return inputs[0]


def vjp_when_training(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    """Gradients exist in training only."""
    return g, None


def infer_same(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    return types[0]


def keras_stop_gradient(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.stop_gradient(inputs[0])


register(
    Op(
        "when_training", "The first value in training, the second in evaluation and prediction.",
        infer_when_training, resolved, resolved, reference_when_training, vjp_when_training,
        slopes=COPY, bounds=same,
    )
)  # fmt: skip
register(
    Op(
        "stop_gradient", "The same value, through which no gradient flows.", infer_same,
        onnx_node("Identity"), keras_stop_gradient, lambda node, inputs, types: inputs[0], vjp_none,
        (OpSample((tensor(None, 3),)), OpSample((tensor(2, 3),))),
        slopes=NONE, bounds=same, elementwise=True, keeps_zero=True,
    )
)  # fmt: skip
