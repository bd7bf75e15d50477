"""Many ids a row, and ids as ones and zeros: the nodes by which an export computes them, as one value each.

Padding is -1: `table[max(ids, 0)] * (ids >= 0)`, summed over the ids of a row.
"""

from __future__ import annotations

from msgspec.structs import replace

from vflc.translation import columns
from vflc.translation.graph import Value, reduce, reshape
from vflc.translation.onnx_call import NodeCall
from vflc.translation.onnx_values import NodeValue, OnnxConstant


def step(call: NodeCall) -> NodeValue:
    """What a node is on the way; None where it is none of these."""
    first, second = call.input(0), call.input(1)
    match call.node.op:
        case "GreaterOrEqual" if _ids(first, "ids") and _is(second, [0]):
            return Value("present", (first,))  # type: ignore[arg-type]
        case "Max" if _ids(first, "ids") and _is(second, [0]) and len(call.inputs) == 2:
            return Value("kept", (first,))  # type: ignore[arg-type]
        case "Cast" | "Unsqueeze" if _made(first, "present"):
            return first
        case "Unsqueeze" if _ids(first, "ids", "id") and _is(second, [-1]):
            return Value("spread", (first,))  # type: ignore[arg-type]
        case "Equal" if _made(first, "spread") and isinstance(second, OnnxConstant):
            return _hots(call, first, second)  # type: ignore[arg-type]
        case "Cast" if _made(first, "hots", "one_hot"):
            return first
        case "Gather" if isinstance(first, OnnxConstant) and _made(second, "kept"):
            return _rows(call, first, second)  # type: ignore[arg-type]
        case "Mul" if _made(first, "rows") and _made(second, "present"):
            return _masked(first, second)  # type: ignore[arg-type]
        case "ReduceSum" if _made(first, "masked", "hots", "present"):
            return _summed(call, first)  # type: ignore[arg-type]
        case "ReduceSum" if isinstance(first, Value) and "masked" in first.attrs:
            return _summed(call, first.attrs["masked"])
        case "Max" if _made(first, "count") and _is(second, [1]) and len(call.inputs) == 2:
            return replace(first, attrs={"floor": True})  # type: ignore[type-var]
        case "Div" if _made(first, "embed") and _made(second, "count"):
            return _averaged(first, second)  # type: ignore[arg-type]
        case "MatMul" if isinstance(first, Value) and isinstance(second, OnnxConstant):
            return _fields(call, first, second)
    return None


def _ids(value: NodeValue, *kinds: str) -> bool:
    return isinstance(value, Value) and value.op == "raw" and value.attrs["kind"] in kinds


def _made(value: NodeValue, *ops: str) -> bool:
    return isinstance(value, Value) and value.op in ops


def _is(value: NodeValue, listed: list[int]) -> bool:
    return isinstance(value, OnnxConstant) and value.numbers.size == 1 and [*value.numbers.elements] == listed


def _hots(call: NodeCall, spread: Value, positions: OnnxConstant) -> Value | None:
    depth, (ids,) = positions.numbers.size, spread.inputs
    if positions.shape != (depth,) or [*positions.numbers.elements] != list(range(depth)):
        return None
    feature = columns.ids(ids, depth, call.name)
    op = "hots" if ids.attrs["kind"] == "ids" else "one_hot"
    return Value(op, (feature,), (depth,), {"depth": depth}, call.name)


def _rows(call: NodeCall, table: OnnxConstant, kept: Value) -> Value | None:
    if len(table.shape) != 2 or call.attr("axis", 0) != 0:
        return None
    (ids,) = kept.inputs
    made = call.model.embed(call.node, ids, table)
    return replace(made, op="rows", shape=made.shape[-1:], attrs={**made.attrs, "ids": ids})


def _masked(rows: Value, present: Value) -> Value | None:
    """Rows of a table, and zeros where there is no id; one by one where each row has as many ids."""
    ids = rows.attrs["ids"]
    if ids is not present.inputs[0]:
        return None
    masked, length = replace(rows, op="masked"), ids.attrs.get("length")
    if length is None:
        return masked
    (feature,) = rows.inputs
    attrs = {**rows.attrs, "masked": masked}
    several = replace(feature, shape=(length,))
    shape = (length, *rows.shape)
    return replace(rows, op="embed", inputs=(several,), shape=shape, attrs=attrs, many=True)


def _summed(call: NodeCall, x: Value) -> Value | None:
    """Over the ids of a row, which are the axis behind the batch."""
    keep = bool(call.attr("keepdims", 1))
    if call.whole(1, "axes") != [1] or keep != (x.op == "present"):
        return None
    if x.op == "present":
        return Value("count", x.inputs)
    if x.op == "hots":
        return replace(x, op="one_hot")
    return replace(x, op="embed", attrs={**x.attrs, "combiner": "sum"})


def _averaged(total: Value, count: Value) -> Value | None:
    whole = count.attrs.get("floor") and total.attrs.get("ids") is count.inputs[0]
    return replace(total, attrs={**total.attrs, "combiner": "mean"}) if whole else None


def _fields(call: NodeCall, x: Value, kernel: OnnxConstant) -> Value | None:
    """A sum over fields, which an export of vflc computes as a product with ones and zeros."""
    if call.model.graph.producer != "vflc" or len(kernel.shape) != 2 or len(x.shape) != 1:
        return None
    rows, width = kernel.shape
    if x.shape != (rows,) or rows % width or call.model.is_weight(kernel):
        return None
    wanted = [float(row % width == column) for row in range(rows) for column in range(width)]
    if [*kernel.numbers.elements] != wanted:
        return None
    fields = (rows // width, width)
    flat = x.op == "reshape" and x.inputs[0].shape == fields
    return reduce("sum", x.inputs[0] if flat else reshape(x, fields, call.name), [0], False, call.name)
