"""Many ids a row: the operations by which an export reads a table for them and adds up, as one value.

Padding is -1: `where(ids >= 0, embedding(maximum(ids, 0)), 0)`, summed over the ids of a row.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from vflc.importing.keras_ops import OPS, KerasCall
from vflc.translation import columns
from vflc.translation.graph import Value


def _many(value: object) -> bool:
    """Whether it is the ids of rows that have many."""
    return isinstance(value, Value) and value.op == "raw" and value.attrs["kind"] == "ids"


def _is(value: object, op: str) -> bool:
    return isinstance(value, Value) and value.op == op


def _number(call: KerasCall, wanted: float) -> bool:
    given = call.args[1] if len(call.args) == 2 else None
    return not isinstance(given, Value) and given is not None and call.plain(given) == wanted


def _step(call: KerasCall) -> Value | None:
    """What the operation is on the way; None where it is none of these."""
    first: Any = call.args[0] if call.args else None
    axis = call.setting("axis", 1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    match call.kind:
        case "Maximum" if _many(first) and _number(call, 0):
            return Value("kept", (first,))
        case "GreaterEqual" if _many(first) and _number(call, 0):
            return Value("present", (first,))
        case "ExpandDims" if _is(first, "present") and axis in (-1, 2):
            return Value("present", first.inputs)
        case "Cast" if _is(first, "present"):
            return Value("present", first.inputs, attrs={"numbers": True})
        case "Where" if _is(first, "present") and len(call.args) == 3 and _is(call.args[1], "rows"):
            rows, zero = call.args[1:]
            if _is(zero, "number") and zero.attrs["value"] == 0 and rows.attrs["ids"] is first.inputs[0]:
                masked: Value = replace(rows, attrs={**rows.attrs, "masked": True})
                return masked
        case "OneHot" if isinstance(first, Value) and first.op == "raw":
            depth = int(call.plain(call.setting("num_classes", 1)))
            many, feature = _many(first), columns.ids(first, depth, call.name)
            return Value("hots" if many else "one_hot", (feature,), (depth,), {"depth": depth}, call.name)
        case "Sum" if axis == 1 and (_is(first, "hots") or _is(first, "rows")):
            return _summed(call, first)
        case "Sum" if axis == 1 and _is(first, "present") and call.setting("keepdims", 2):
            return Value("count", first.inputs)
        case "Maximum" if _is(first, "count") and _number(call, 1):
            return Value("count", first.inputs, attrs={"floor": True})
        case "Divide" | "TrueDivide" if _is(call.args[1], "count") and _is(first, "embed"):
            count = call.args[1]
            if count.attrs.get("floor") and first.attrs.get("ids") is count.inputs[0]:
                averaged: Value = replace(first, attrs={**first.attrs, "combiner": "mean"})
                return averaged
    return None


def _summed(call: KerasCall, x: Value) -> Value | None:
    if call.setting("keepdims", 2):
        return None
    if x.op == "hots":
        return replace(x, op="one_hot")
    if not x.attrs.get("masked"):
        return None
    attrs = {name: value for name, value in x.attrs.items() if name != "masked"}
    return replace(x, op="embed", attrs={**attrs, "combiner": "sum"})


def operation(call: KerasCall) -> Value:
    """An operation of `keras.ops` as a value of the graph."""
    found = _step(call) if any(isinstance(value, Value) for value in call.args) else None
    return found if found is not None else OPS[call.kind](call)
