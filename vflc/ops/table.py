"""Tables of rows: reading them by id, the gradient of that, and the ids of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import Axis, TensorType
from vflc.ops.arithmetic import vjp_flat
from vflc.ops.registry import Attrs, KerasLayer, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients, tensor
from vflc.ops.traits import COPY, NONE, UNIT, with_zero
from vflc.ops.users import alike

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

TOUCHED = "touched"
"""The axis of the distinct ids of a batch."""


def _need_ids(op: str, type_: TensorType) -> None:
    if type_.dtype != "int":
        raise OpError(f"{op} needs ids, not {type_.dtype} values {type_}")


# --- gather: rows of a table by id ---------------------------------------------------------------


def infer_gather(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    table, ids = types
    _need_ids("gather", ids)
    if table.rank < 1 or table.batched:
        raise OpError(f"gather from {table}, which is not a table")
    return table.with_axes((*ids.axes, *table.axes[1:]))


def _missing_mask(rank_of_row: int) -> list[int]:
    return list(range(-rank_of_row, 0))


def onnx_gather(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    table, ids = inputs
    if not node.attrs["missing"]:
        return w("Gather", table, ids)
    zero = w.constant(0, "int")
    present = w("Cast", w("GreaterOrEqual", ids, zero), to=w.float_type())
    if types[0].rank > 1:
        present = w("Unsqueeze", present, w.constant(_missing_mask(types[0].rank - 1), "int64"))
    # A product, as `Where` takes three times as long where it copies a condition out to a row. It
    # differs where row 0 is not finite, which no training survives.
    return w("Mul", w("Gather", table, w("Max", ids, zero)), present)


def keras_gather(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return _keras_read(k, node, lambda ids: k.ops.take(inputs[0], ids, axis=0), inputs[1], types[0])


def _keras_read(k: KerasOps, node: Node, read: Callable[[Any], Any], ids: Any, table: TensorType) -> Any:
    """`read` with zeros in place of the rows of -1."""
    if not node.attrs["missing"]:
        return read(ids)
    present = k.ops.greater_equal(ids, 0)
    if table.rank > 1:
        present = k.ops.expand_dims(present, tuple(_missing_mask(table.rank - 1)))
    taken = read(k.ops.maximum(ids, 0))
    return k.ops.where(present, taken, k.ops.zeros_like(taken))


def make_embedding(node: Node, types: Sequence[TensorType], name: str, dtype: str) -> Any:
    from keras import layers

    rows, width = types[0].sizes
    return layers.Embedding(rows, width, embeddings_initializer="zeros", name=name, dtype=dtype)


def call_embedding(
    k: KerasOps, layer: Any, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]
) -> Any:
    return _keras_read(k, node, layer, inputs[1], types[0])


def reference_gather(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    table, ids = inputs
    present = (ids >= 0).reshape(ids.shape + (1,) * (table.ndim - 1))
    return np.where(present, table[np.maximum(ids, 0)], 0)


def vjp_gather(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    table, ids = inputs
    return b.op("rows", ids, g, axes=table.type.axes), None


# --- rows: the gradient of a table -----------------------------------------------------------------


def infer_rows(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    ids, g = types
    _need_ids("rows", ids)
    table = TensorType(tuple(attrs["axes"]), g.dtype)
    if g.sizes != (*ids.sizes, *table.sizes[1:]) or g.dtype != "float":
        raise OpError(f"rows {g} for ids {ids} of a table {table}")
    return table


def onnx_rows(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    """A sum into zeros. Ids of -1 go to a row too many, which is cut off again."""
    rows, *row = (size or 0 for size in node.type.sizes)
    ids = w("Where", w("Less", inputs[0], w.constant(0, "int")), w.constant(rows, "int"), inputs[0])
    indices = w("Reshape", w("Cast", ids, to=7), w.constant([-1, 1], "int64"))
    updates = w("Reshape", inputs[1], w.constant([-1, *row], "int64"))
    zero = np.zeros(1, np.float64 if w.double else np.float32)
    zeros = w("ConstantOfShape", w.constant([rows + 1, *row], "int64"), value=zero)
    total = w("ScatterND", zeros, indices, updates, reduction="add")
    start, stop, axis = (w.constant([n], "int64") for n in (0, rows, 0))
    return w("Slice", total, start, stop, axis)


def keras_rows(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    rows, *row = (size or 0 for size in node.type.sizes)
    ids, updates = k.ops.reshape(inputs[0], (-1,)), k.ops.reshape(inputs[1], (-1, *row))
    present = k.ops.reshape(k.ops.greater_equal(ids, 0), (-1, *(1 for _ in row)))
    updates = k.ops.where(present, updates, k.ops.zeros_like(updates))
    return k.ops.segment_sum(updates, k.ops.maximum(ids, 0), num_segments=rows)


def reference_rows(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    ids, g = inputs[0].reshape(-1), inputs[1]
    table = np.zeros([size or 0 for size in node.type.sizes], g.dtype)
    np.add.at(table, ids[ids >= 0], g.reshape(-1, *table.shape[1:])[ids >= 0])
    return table


def vjp_rows(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return None, b.op("gather", g, inputs[0], missing=True)


# --- unique: the ids a batch touches ------------------------------------------------------------------


def infer_unique(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    for type_ in types:
        _need_ids("unique", type_)
    return TensorType((Axis(TOUCHED, None),), "int")


def onnx_unique(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    flat = [w("Reshape", x, w.constant([-1], "int64")) for x in inputs]
    ids = w("Concat", *flat, axis=0) if len(flat) > 1 else flat[0]
    found = w("Cast", w("Unique", w("Cast", ids, to=7), sorted=1), to=6)
    return w("Compress", found, w("GreaterOrEqual", found, w.constant(0, "int")))


def keras_unique(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    found = k.ops.unique(k.ops.concatenate([k.ops.reshape(x, (-1,)) for x in inputs]))
    (present,) = k.ops.nonzero(k.ops.greater_equal(found, 0))
    return k.ops.take(found, present)


def reference_unique(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    found = np.unique(np.concatenate([x.reshape(-1) for x in inputs]))
    return np.asarray(found[found >= 0], np.int32)


# --- one_hot --------------------------------------------------------------------------------------------


def infer_one_hot(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (ids,) = types
    _need_ids("one_hot", ids)
    if attrs["depth"] < 1:
        raise OpError(f"one_hot of depth {attrs['depth']}")
    return TensorType((*ids.axes, Axis(None, attrs["depth"])))


def onnx_one_hot(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    """By comparison: onnxruntime has no OneHot kernel for int32 ids in every precision."""
    ids = w("Unsqueeze", inputs[0], w.constant([-1], "int64"))
    return w("Cast", w("Equal", ids, w.constant(list(range(node.attrs["depth"])), "int")), to=w.float_type())


def keras_one_hot(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    return k.ops.one_hot(inputs[0], node.attrs["depth"], dtype=k.float_dtype)


def reference_one_hot(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    return np.asarray(inputs[0][..., None] == np.arange(node.attrs["depth"]), np.float64)


# --- registration -----------------------------------------------------------------------------------------


def _ids(shape: tuple[int, ...], low: int, high: int) -> Any:
    """Draws ids from `low` up to, not including, `high`, and a value for every other input."""

    def draw(*others: tuple[int, ...]) -> Any:
        def values(rng: np.random.Generator) -> tuple[Array, ...]:
            ids = rng.integers(low, high, shape).astype(np.int32)
            return (*(rng.normal(size=s) for s in others), ids)

        return values

    return draw


def _reversed(draw: Any) -> Any:
    return lambda rng: tuple(reversed(draw(rng)))


_TABLE = (Axis("row", 6), Axis(None, 3))
_READ = TensorType(_TABLE)
_ID, _IDS = tensor(None, dtype="int"), tensor(None, ("value", None), dtype="int")
_DISTINCT = TensorType((Axis(TOUCHED, None),), "int")
register(
    Op(
        "gather", "The rows of a table that ids name; with `missing`, an id of -1 gives a row of zeros.",
        infer_gather, onnx_gather, keras_gather, reference_gather, vjp_gather,
        (
            OpSample((_READ, _ID), {"missing": False}, _ids((5,), 0, 6)((6, 3))),
            OpSample((_READ, _IDS), {"missing": True}, _ids((5, 4), -1, 6)((6, 3))),
            OpSample((_READ, _ID), {"missing": True}, _ids((5,), -1, 6)((6, 3))),
            OpSample((tensor(4), tensor(None, 2, dtype="int")), {"missing": True}, _ids((5, 2), -1, 4)((4,))),
            OpSample((_READ, _DISTINCT), {"missing": False}, _ids((3,), 0, 6)((6, 3))),
        ),
        KerasLayer(lambda node: (0,), make_embedding, call_embedding, "embeddings"),
        slopes=(COPY, NONE), bounds=with_zero, by_id="reads", reads_codes=True,
        zero_for_none=lambda attrs: bool(attrs["missing"]),
    )
)  # fmt: skip
register(
    Op(
        "rows", "The sum of rows by id in the shape of a table, the gradient of `gather`; -1 is no id.",
        infer_rows, onnx_rows, keras_rows, reference_rows, vjp_rows,
        (
            OpSample((_ID, tensor(None, 3)), {"axes": _TABLE}, _reversed(_ids((5,), 0, 6)((5, 3)))),
            OpSample(
                (_IDS, tensor(None, ("value", None), 3)), {"axes": _TABLE},
                _reversed(_ids((5, 4), -1, 6)((5, 4, 3))),
            ),
        ),
        slopes=(NONE, COPY), by_id="sums",
        # onnxruntime's ScatterND with reduction="add" is a race in a session of several threads, and adds up
        # wrongly there; ScatterElements is not, and is five to ten times slower.
        serial=True,
    )
)  # fmt: skip
register(
    Op(
        "unique", "The distinct ids among all inputs, ascending, without -1; no gradient.", infer_unique,
        onnx_unique, keras_unique, reference_unique, vjp_flat,
        (
            OpSample((_ID,), {}, _ids((7,), 0, 4)()),
            OpSample((_IDS,), {}, _ids((5, 3), -1, 9)()),
            OpSample(
                (_ID, tensor(None, 2, dtype="int")), {},
                lambda rng: (np.array([3, 1, 3], np.int32), np.array([[0, 3], [-1, 7], [1, 1]], np.int32)),
            ),
        ),
        slopes=NONE, by_id="distinct",
    )
)  # fmt: skip
register(
    Op(
        "one_hot", "1 at the position of the id, 0 elsewhere; all 0 for -1. No gradient.", infer_one_hot,
        onnx_one_hot, keras_one_hot, reference_one_hot, vjp_flat,
        (
            OpSample((_ID,), {"depth": 4}, _ids((5,), -1, 4)()),
            OpSample((tensor(None, 2, dtype="int"),), {"depth": 3}, _ids((5, 2), 0, 3)()),
        ),
        slopes=NONE, bounds=UNIT, reads_codes=True, zero_for_none=lambda attrs: True, users=alike,
    )
)  # fmt: skip
