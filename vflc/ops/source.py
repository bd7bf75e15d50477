"""Values that enter the graph: constants, and inputs that a run feeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.graph import STEPS
from vflc.ir.types import Axis, TensorType
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients
from vflc.ops.traits import NONE, ValueRange, of_constant

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

COLUMNS = frozenset({"feature", "label", "example_weight", "group"})
"""Inputs that a run feeds from columns of a party's table."""
FED = COLUMNS | {"present"}
"""Inputs that a run feeds for each row of a batch."""
INPUTS = FED | {"weight", "random", "drawn"} | STEPS
"""Ops without a lowering: values that come from outside the emitted graphs."""


def infer_constant(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    axes, value = [], attrs["value"]
    while isinstance(value, (tuple, list)):
        axes.append(Axis(None, len(value)))
        value = value[0]
    return TensorType(tuple(axes), attrs["dtype"])


def onnx_constant(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    return w.constant(node.attrs["value"], node.attrs["dtype"])


def keras_constant(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    dtype = {"float": k.float_dtype, "int": "int32", "bool": "bool"}[node.attrs["dtype"]]
    return k.ops.convert_to_tensor(reference_constant(node, inputs, types), dtype=dtype)


def reference_constant(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    kinds: dict[str, Any] = {"float": np.float64, "int": np.int32, "bool": np.bool_}
    return np.asarray(node.attrs["value"], kinds[node.attrs["dtype"]])


def vjp_none(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return tuple(None for _ in inputs)


def infer_input(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    raise TypeError("the maker of an input sets its type")


def infer_random(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    if types[0].dtype != "float":
        raise OpError(f"random numbers in the shape of {types[0].dtype} values")
    return types[0]


def fed(*_: Any) -> NoReturn:
    raise TypeError("an input is fed by the run, not computed")


register(
    Op(
        "constant", "A number or an array of numbers that the spec fixes.", infer_constant, onnx_constant,
        keras_constant, reference_constant, vjp_none,
        (
            OpSample((), {"value": 0.5, "dtype": "float"}),
            OpSample((), {"value": ((1, 2, 3), (4, 5, 6)), "dtype": "int"}),
            OpSample((), {"value": True, "dtype": "bool"}),
        ),
        slopes=NONE, bounds=of_constant,
    )
)  # fmt: skip
register(
    Op("weight", "A weight: initialised by its name, kept and trained by a run.", infer_input, fed, fed, fed)
)
register(Op("feature", "A feature column of a party, encoded: ids [B], many ids [B, n], or a number [B, 1].",
            infer_input, fed, fed, fed))  # fmt: skip
register(
    Op(
        "present", "Whether a party has a row: 1 or 0, [B, 1]; alignment tells.", infer_input, fed, fed, fed,
        bounds=ValueRange(0, 1),
    )
)  # fmt: skip
register(Op("label", "A label column of a party, encoded.", infer_input, fed, fed, fed))
register(
    Op(
        "example_weight", "A column of a party that says how much each row counts in losses and metrics.",
        infer_input, fed, fed, fed,
        bounds=ValueRange(0.0),
    )
)  # fmt: skip
register(
    Op("group", "A column of a party by which metrics group rows: a number for each value.",
       infer_input, fed, fed, fed, slopes=NONE)
)  # fmt: skip
register(
    Op(
        "random", "Uniform random numbers in [0, 1) of the shape of a value, from seed, step and id alone.",
        infer_random, fed, fed, fed, vjp_none,
        slopes=NONE, bounds=ValueRange(0, 1, open_high=True), shape_only=1,
    )
)  # fmt: skip
