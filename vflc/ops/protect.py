"""Primitives of protections: what a run feeds them with, what it computes for them, and two ops more.

All else that mechanisms do is made of the ordinary ops; see `vflc.ops.mechanisms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients, tensor
from vflc.ops.source import fed, infer_input, vjp_none
from vflc.ops.traits import COPY, FREE, MASK, NONE

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def infer_drawn(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    """[batch, width], or [batch] where there is no width: the form of an id. Drawn `once`: [width]."""
    if attrs.get("once"):
        return TensorType((Axis(None, attrs["width"]),), attrs["dtype"])
    if not types[0].batched:
        raise OpError(f"numbers drawn for the rows of {types[0]}, which has none")
    width = attrs["width"]
    return TensorType((ROWS, Axis(None, width)) if width else (ROWS,), attrs["dtype"])


# --- the largest values of a row ------------------------------------------------------------------


def infer_keep_largest(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,) = types
    width = x.axes[-1].size if x.batched and x.rank == 2 and x.dtype == "float" else None
    if width is None or not 1 <= attrs["k"] <= width:
        raise OpError(f"the {attrs['k']} largest of a row {x}", None, "VFL0333")
    return x


def onnx_keep_largest(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    """By position, not by comparison: of equal values no more than k may stay."""
    (x,) = inputs
    positions = w("TopK", w("Abs", x), w.constant([node.attrs["k"]], "int64"), axis=-1)
    kept = w("GatherElements", x, positions, axis=1)
    return w("ScatterElements", w("Mul", x, w.constant(0.0)), positions, kept, axis=1)


def keras_keep_largest(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    (x,) = inputs
    _, positions = k.ops.top_k(k.ops.abs(x), node.attrs["k"])
    chosen = k.ops.one_hot(positions, types[0].axes[-1].size, dtype=k.float_dtype)
    return k.ops.multiply(x, k.ops.sum(chosen, axis=1))


def reference_keep_largest(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    (x,) = inputs
    order = np.argsort(-np.abs(x), axis=-1, kind="stable")[:, : node.attrs["k"]]
    kept = np.zeros_like(x)
    np.put_along_axis(kept, order, np.take_along_axis(x, order, -1), -1)
    return kept


def vjp_keep_largest(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    """Through the values that stay; one that is 0 anyway counts as left out."""
    kept = b.op("cast", b.op("not_equal", node, b.constant(0.0)), dtype="float")
    return (b.op("mul", g, kept),)


# --- randomised labels ------------------------------------------------------------------------------


def infer_shifted(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    label, shift = types
    if label.sizes != shift.sizes or label.dtype != shift.dtype:
        raise OpError(f"a label {label} shifted by {shift}")
    return label


def onnx_shifted(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    moved = w("Add", *inputs)
    classes = w.constant(node.attrs["classes"], types[0].dtype)
    return w("Where", w("GreaterOrEqual", moved, classes), w("Sub", moved, classes), moved)


def keras_shifted(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    moved = k.ops.add(*inputs)
    classes = k.ops.cast(node.attrs["classes"], moved.dtype)
    return k.ops.where(k.ops.greater_equal(moved, classes), k.ops.subtract(moved, classes), moved)


def reference_shifted(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    moved = inputs[0] + inputs[1]
    return np.where(moved >= node.attrs["classes"], moved - node.attrs["classes"], moved).astype(moved.dtype)


def vjp_shifted(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return (g, g) if node.type.dtype == "float" else (None, None)


def infer_answered(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    label, *drawn = types
    if label.dtype != "int" or any(each.sizes != label.sizes or each.dtype != "int" for each in drawn):
        raise OpError(f"a class {label} answered with {' and '.join(map(str, drawn))}")
    return label


def onnx_answered(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    label, shift, other = inputs
    top, count = node.attrs["top"], w.constant(len(node.attrs["top"]), "int")
    ranks = [top.index(name) if name in top else -1 for name in range(node.attrs["classes"])]
    rank = w("Gather", w.constant(ranks, "int"), label)
    moved = w("Add", rank, shift)
    moved = w("Where", w("GreaterOrEqual", moved, count), w("Sub", moved, count), moved)
    place = w("Where", w("GreaterOrEqual", rank, w.constant(0, "int")), moved, other)
    return w("Gather", w.constant(list(top), "int"), place)


def keras_answered(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    label, shift, other = inputs
    top = node.attrs["top"]
    rank = k.ops.subtract(k.ops.multiply(label, 0), 1)
    for place, name in enumerate(top):
        rank = k.ops.where(k.ops.equal(label, name), place, rank)
    moved = k.ops.add(rank, shift)
    moved = k.ops.where(k.ops.greater_equal(moved, len(top)), k.ops.subtract(moved, len(top)), moved)
    chosen = k.ops.where(k.ops.greater_equal(rank, 0), moved, other)
    found = k.ops.multiply(label, 0)
    for place, name in enumerate(top):
        found = k.ops.where(k.ops.equal(chosen, place), name, found)
    return found


def reference_answered(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    label, shift, other = inputs
    top = list(node.attrs["top"])
    answers = [
        top[(top.index(y) + s) % len(top)] if y in top else top[o]
        for y, s, o in zip(label.tolist(), shift.tolist(), other.tolist(), strict=True)
    ]
    return np.array(answers, label.dtype)


def _answers(rng: np.random.Generator) -> tuple[Array, ...]:
    return tuple(rng.integers(0, high, 24).astype(np.int32) for high in (5, 3, 3))


def _classes(rng: np.random.Generator) -> tuple[Array, ...]:
    return rng.integers(0, 3, 5).astype(np.int32), rng.integers(0, 3, 5).astype(np.int32)


def _zero_or_one(rng: np.random.Generator) -> tuple[Array, ...]:
    return rng.integers(0, 2, (5, 1)).astype(float), rng.integers(0, 2, (5, 1)) * 0.75


register(
    Op(
        "drawn", "Numbers that a run feeds a protection with: noise from a cryptographic generator, or what "
        "it keeps for each row.",
        infer_drawn, fed, fed, fed, vjp_none, slopes=NONE, bounds=FREE, shape_only=1,
    )
)  # fmt: skip
register(
    Op(
        "guarded", "What a protection makes of a value that crosses, in a step of its own before it leaves.",
        infer_input, fed, fed, fed, None, slopes=COPY, bounds=FREE,
    )
)  # fmt: skip
register(
    Op(
        "keep_largest", "The k values of a row that are largest in magnitude, 0 for the others.",
        infer_keep_largest, onnx_keep_largest, keras_keep_largest, reference_keep_largest, vjp_keep_largest,
        (OpSample((tensor(None, 7),), {"k": 3}), OpSample((tensor(None, 1),), {"k": 1})),
        slopes=MASK, bounds=FREE,
    )
)  # fmt: skip
register(
    Op(
        "shifted", "A class so many classes further on, counted in a circle: randomised response.",
        infer_shifted, onnx_shifted, keras_shifted, reference_shifted, vjp_shifted,
        (
            OpSample((tensor(None, dtype="int"), tensor(None, dtype="int")), {"classes": 3}, _classes),
            OpSample((tensor(None, 1), tensor(None, 1)), {"classes": 2}, _zero_or_one),
        ),
        slopes=COPY, bounds=FREE,
    )
)  # fmt: skip
register(
    Op(
        "answered", "A class of the `top` ones: of these one so many places further on, counted in a circle, "
        "of others the one that was drawn: randomised response with a prior.",
        infer_answered, onnx_answered, keras_answered, reference_answered, vjp_none,
        (OpSample((tensor(None, dtype="int"),) * 3, {"classes": 5, "top": (3, 0, 4)}, _answers),),
        slopes=NONE, bounds=FREE,
    )
)  # fmt: skip
