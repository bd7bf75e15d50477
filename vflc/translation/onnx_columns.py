"""Operators of `ai.onnx.ml` that encode columns, as scikit-learn's exports begin with them, as encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan, prod
from typing import Any

from vflc.onnx_file import Numbers
from vflc.translation import columns
from vflc.translation.graph import Value, part, reshape, stack
from vflc.translation.names import literal
from vflc.translation.onnx_call import NodeCall
from vflc.translation.onnx_values import AGAIN, short

DOMAIN = "ai.onnx.ml"
FIRST = "put it right behind an input: a spec encodes columns before its graph"
UNKNOWN = -1
"""What a LabelEncoder gives for values that it does not know, where it is no id."""


def _columns(call: NodeCall) -> Sequence[Value]:
    """What is encoded, column by column."""
    found = call.input(0)
    if isinstance(found, Value) and found.op == "raws" and "offsets" not in found.attrs:
        return found.inputs
    if isinstance(found, Value) and found.op == "raw" and prod(found.shape) == 1:
        return (found,)
    call.fail("encodes what the model computes", FIRST)


def _alike(call: NodeCall, made: Sequence[Value]) -> Value:
    """Encoded columns, side by side as those were that are encoded."""
    found = call.input(0)
    assert isinstance(found, Value)
    if found.op == "raw":
        return Value("raw", (), found.shape, made[0].attrs)
    return Value("raws", tuple(made), found.shape)


def _listed(call: NodeCall, *names: str) -> list[Any] | None:
    """The setting that is there, of several that say the same in other types."""
    for name in names:
        found = call.node.attrs.get(name)
        if isinstance(found, Numbers):
            return list(found.elements)
        if isinstance(found, list) and found:
            return found
    return None


def _lookup(call: NodeCall, raw: Value, known: Sequence[Any], default: str, rows: int) -> Value:
    """Ids of listed values, in their order."""
    texts = isinstance(known[0], str)
    if raw.attrs["kind"] not in (("string",) if texts else ("int", "float")) or raw.attrs["chain"]:
        call.fail(
            f"looks up {'texts' if texts else 'numbers'}, which its input does not have", AGAIN, "VFL0707"
        )
    if not texts:
        raw.attrs["column"].type = "int"
    if len(set(known)) < len(known):
        call.fail("lists a value twice")
    chain = f"vocab({', '.join([*map(literal, known), *([default] if default else [])])})"
    return columns.encode(raw, chain, "id", rows)


def label_encoder(call: NodeCall) -> Value:
    """Ids of listed values: `vocab`."""
    keys = _listed(call, "keys_strings", "keys_int64s", "keys_tensor")
    values = _listed(call, "values_int64s", "values_tensor")
    if keys is None or values is None or len(keys) != len(values):
        call.fail("does not give whole numbers for texts or whole numbers")
    if not all(isinstance(each, (str, int)) for each in keys) or len({*map(type, keys)}) > 1:
        call.fail("does not look up texts or whole numbers alone")
    given = call.node.attrs.get("default_tensor")
    default = (
        given.elements[0]
        if isinstance(given, Numbers) and given.size
        else call.attr("default_int64", UNKNOWN)
    )
    order = sorted(range(len(keys)), key=lambda i: values[i])
    known, ids = [keys[i] for i in order], [values[i] for i in order]
    first = ids[0] if ids else 0
    if ids != list(range(first, first + len(ids))) or first not in (0, 1) or (first == 1 and default != 0):
        call.fail(f"gives {str(ids[:8])[:40]} for its values, which are no ids from 0 on")
    unknown = "default = other" if first else ""
    if first == 0 and default in ids:
        unknown = f"default = {literal(known[ids.index(default)])}"
    made = [_lookup(call, raw, known, unknown, len(known) + first) for raw in _columns(call)]
    return _alike(call, made)


def one_hot_encoder(call: NodeCall) -> Value:
    """1 at the place of a value; 0 everywhere for those that are not listed, unless these are refused."""
    known, found = _listed(call, "cats_strings", "cats_int64s"), call.input(0)
    if known is None:
        call.fail("lists no values", AGAIN, "VFL0707")
    zeros = bool(call.attr("zeros", 1))
    rows = len(known) + zeros
    made = []
    for raw in _columns(call):
        ids = _lookup(call, raw, known, "default = other" if zeros else "", rows)
        feature = columns.ids(Value("raw", (), (), ids.attrs), rows, call.name)
        hot = Value("one_hot", (feature,), (rows,), {"depth": rows}, call.name)
        made.append(part(hot, 0, 1, rows, call.name) if zeros else hot)
    assert isinstance(found, Value)
    if found.op == "raws":
        return stack(made, 0, call.name)
    return reshape(made[0], (*found.shape, len(known)), call.name)


def _of_each(call: NodeCall, name: str, count: int, usual: float) -> list[float]:
    """A number for each column; one may stand for all."""
    listed = _listed(call, name) or [usual]
    if len(listed) not in (1, count) or not all(isinstance(each, (int, float)) for each in listed):
        call.fail(f"has {len(listed)} numbers in {name} for {count} columns", AGAIN, "VFL0707")
    return [short(each) for each in (listed * count if len(listed) == 1 else listed)]


def scaler(call: NodeCall) -> Value:
    """(x - offset) * scale: `standardize`."""
    raws = _columns(call)
    offsets, scales = (
        _of_each(call, name, len(raws), usual) for name, usual in (("offset", 0.0), ("scale", 1.0))
    )
    if any(scale <= 0 or scale > 1e30 for scale in scales):
        call.fail(f"has a scale of {min(scales)}")
    made = [
        columns.encode(
            _number(call, raw), f"standardize(mean = {literal(offset)}, std = {literal(1 / scale)})", "float"
        )
        for raw, offset, scale in zip(raws, offsets, scales, strict=True)
    ]
    return _alike(call, made)


def imputer(call: NodeCall) -> Value:
    """A number in place of a missing one: `missing`."""
    raws = _columns(call)
    if (
        not isnan(call.node.attrs.get("replaced_value_float", 0.0))
        or "imputed_value_int64s" in call.node.attrs
    ):
        call.fail(
            "replaces numbers that are not missing", "let it replace not-a-number, which a missing value is"
        )
    filled = _of_each(call, "imputed_value_floats", len(raws), 0.0)
    made = [
        columns.encode(_number(call, raw), f"missing({literal(value)})", "float")
        for raw, value in zip(raws, filled, strict=True)
    ]
    return _alike(call, made)


def _number(call: NodeCall, raw: Value) -> Value:
    if raw.attrs["kind"] not in ("int", "float"):
        call.fail("computes with what is no number")
    return raw


COLUMNS: dict[str, Callable[[NodeCall], Value]] = {
    "LabelEncoder": label_encoder,
    "OneHotEncoder": one_hot_encoder,
    "Scaler": scaler,
    "Imputer": imputer,
}
