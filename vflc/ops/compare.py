"""Comparisons, truth values, choice, and changes of element type."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import TensorType
from vflc.ops.arithmetic import vjp_flat
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import (
    Infer,
    InputGradients,
    broadcast,
    keras_call,
    number,
    numpy_call,
    onnx_node,
    same_dtype,
    sum_to,
    tensor,
)  # fmt: skip
from vflc.ops.traits import MASK, NONE, UNIT, chosen, first

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

PAIRS = (
    OpSample((tensor(None, 3), tensor(None, 3))),
    OpSample((tensor(None, 2, 3), tensor(3))),
    OpSample((tensor(None, 3, dtype="int"), tensor(dtype="int"))),
)
TRUTHS = (
    OpSample((tensor(None, 3, dtype="bool"), tensor(None, 3, dtype="bool"))),
    OpSample((tensor(None, 2, 3, dtype="bool"), tensor(3, dtype="bool"))),
)


def infer_compare(name: str) -> Infer:
    def infer(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
        same_dtype(types, name)
        if types[0].dtype == "bool":
            raise OpError(f"{name} of truth values", "use `and`, `or` and `not`")
        return TensorType(broadcast(types), "bool")

    return infer


def infer_logical(name: str) -> Infer:
    def infer(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
        if any(t.dtype != "bool" for t in types):
            raise OpError(f"{name} needs truth values", "compare first: `x > 0`")
        return TensorType(broadcast(types), "bool")

    return infer


def infer_where(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    if types[0].dtype != "bool":
        raise OpError("`where` needs a condition first", "compare: `where(x > 0, a, b)`")
    same_dtype(types[1:], "where")
    if types[1].dtype == "bool":
        raise OpError("`where` chooses between numbers", "use `and` and `or` for truth values")
    return TensorType(broadcast((*types[1:], types[0])), types[1].dtype)


def vjp_where(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    condition, x, y = inputs
    zero = number(b, 0)
    return (
        None,
        sum_to(b, b.op("where", condition, g, zero), x),
        sum_to(b, b.op("where", condition, zero, g), y),
    )


def infer_cast(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    return types[0].with_dtype(attrs["dtype"])


def onnx_cast(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("Cast", inputs[0], to={"float": w.float_type(), "int": 6, "bool": 9}[node.attrs["dtype"]])


def keras_cast(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.cast(
        inputs[0], {"float": k.float_dtype, "int": "int32", "bool": "bool"}[node.attrs["dtype"]]
    )


def reference_cast(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    kinds: dict[str, Any] = {"float": np.float64, "int": np.int32, "bool": np.bool_}
    return inputs[0].astype(kinds[node.attrs["dtype"]])


for _name, _onnx, _holds, _doc in (
    ("less", "Less", operator.lt, "Whether the first value is less than the second."),
    ("less_equal", "LessOrEqual", operator.le, "Whether the first value is at most the second."),
    ("greater", "Greater", operator.gt, "Whether the first value is greater than the second."),
    ("greater_equal", "GreaterOrEqual", operator.ge, "Whether the first value is at least the second."),
    ("equal", "Equal", operator.eq, "Whether two values are equal."),
):
    register(
        Op(
            _name, _doc, infer_compare(_name), onnx_node(_onnx), keras_call(_name), numpy_call(_name),
            vjp_flat, PAIRS, slopes=NONE, bounds=UNIT, elementwise=True, jumps=True, holds=_holds,
        )
    )  # fmt: skip


def onnx_not_equal(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w("Not", w("Equal", *inputs))


register(
    Op(
        "not_equal", "Whether two values differ.", infer_compare("not_equal"), onnx_not_equal,
        keras_call("not_equal"), numpy_call("not_equal"), vjp_flat, PAIRS, slopes=NONE, bounds=UNIT,
        elementwise=True, jumps=True, holds=operator.ne,
    )
)  # fmt: skip

for _name, _onnx, _doc in (
    ("logical_and", "And", "Whether both conditions hold."),
    ("logical_or", "Or", "Whether at least one condition holds."),
):
    register(
        Op(
            _name, _doc, infer_logical(_name), onnx_node(_onnx), keras_call(_name), numpy_call(_name),
            vjp_flat, TRUTHS, slopes=NONE, bounds=UNIT, elementwise=True,
        )
    )  # fmt: skip
register(
    Op(
        "logical_not", "Whether the condition does not hold.", infer_logical("logical_not"), onnx_node("Not"),
        keras_call("logical_not"), numpy_call("logical_not"), vjp_flat,
        (OpSample((tensor(None, 3, dtype="bool"),)),), slopes=NONE, bounds=UNIT, elementwise=True,
    )
)  # fmt: skip
register(
    Op(
        "where", "The second value where the condition (the first) holds, the third elsewhere.",
        infer_where, onnx_node("Where"), keras_call("where"), numpy_call("where"), vjp_where,
        (
            OpSample((tensor(None, 3, dtype="bool"), tensor(None, 3), tensor(None, 3))),
            OpSample((tensor(None, 2, 3, dtype="bool"), tensor(3), tensor())),
            OpSample((tensor(3, dtype="bool"), tensor(None, 1), tensor(None, 3))),
        ), slopes=(NONE, MASK, MASK), bounds=chosen, elementwise=True,
    )
)  # fmt: skip
register(
    Op(
        "cast", "The value as another element type; truth values become 1 and 0. No gradient.",
        infer_cast, onnx_cast, keras_cast, reference_cast, vjp_flat,
        (
            OpSample((tensor(None, 3, dtype="bool"),), {"dtype": "float"}),
            OpSample((tensor(None, dtype="int"),), {"dtype": "float"}),
            OpSample((tensor(2, 3, dtype="bool"),), {"dtype": "int"}),
        ), slopes=NONE, bounds=first, elementwise=True, differs="type", reads_codes=True, keeps_zero=True,
    )
)  # fmt: skip
