"""Arguments as what the parameters of functions ask for."""

from __future__ import annotations

from typing import Any

from vflc.ir.graph import Node
from vflc.ops.registry import Function, FunctionParameter
from vflc.passes.lower.operators import is_categorical
from vflc.passes.lower.values import Evaluating, PartyValue, Poison, Record, Scope, describe
from vflc.syntax import tree

READS_IDS = frozenset({"fields", "feature", "ids", "label"})
"""Parameters that take categorical features; everything else wants numbers."""


def coerce(
    ev: Evaluating, function: Function, parameter: FunctionParameter, expr: tree.Expr, scope: Scope
) -> Any:
    """The argument as what the parameter's annotation asks for, or POISON with a diagnostic."""
    kinds = [kind.strip() for kind in parameter.kind.split("|")]
    if isinstance(expr, tree.Ref) and (found := scope.find(expr.name)) is None:
        if "None" in kinds and expr.name == "none":
            return None
        if "AxisName" in kinds or "str" in kinds:
            return expr.name
    elif isinstance(expr, tree.Ref) and "AxisName" in kinds:
        value = ev.force(*found) if found else None
        return value if isinstance(value, str) else expr.name
    value = ev.evaluate(expr, scope)
    if isinstance(value, Poison) or (value is None and "None" in kinds):
        return value
    reads_ids = parameter.name in READS_IDS
    for kind in kinds:
        fits, result = _fit(ev, kind, value, reads_ids)
        if fits:
            return result
    if _holds_ids(value) and not reads_ids:
        which = value.id if isinstance(value, Node) else next(v.id for v in value if is_categorical(v))
        text = f"{which} is categorical, but `{function.name}` needs numbers"
        return ev.error("VFL0203", text, expr.span, "embed it first: embed(…, dim = 8)")
    words = _WORDS if parameter.name == "axis" else {**_WORDS, "AxisName": "a word"}
    wanted = " or ".join(words.get(kind, kind) for kind in kinds if kind != "None")
    text = f"`{parameter.name}` of `{function.name}` must be {wanted}; this is {describe(value)}"
    return ev.error("VFL0203", text, expr.span, _instead(parameter.name, kinds, value, expr))


def _instead(parameter: str, kinds: list[str], value: Any, expr: tree.Expr) -> str | None:
    """How to make what a parameter takes of what was given."""
    if "Node" in kinds and isinstance(value, list) and value and all(isinstance(v, Node) for v in value):
        return f"join them into one value: concat({' '.join(expr.span.text.split())})"
    if "Node" in kinds and isinstance(value, Record) and value.fields:
        return f"name one of its fields: {' '.join(expr.span.text.split())}.{next(iter(value.fields))}"
    if "Node" in kinds and isinstance(value, PartyValue):
        return f"name its columns: concat({value.name}.numbers), or embed({value.name}.features, dim = 8)"
    if parameter == "axis" and isinstance(value, int):
        return (
            "give the axis by name, `axis = field`; without it, the op works on the last axis or on the "
            "whole row"
        )
    if "int" in kinds and isinstance(value, list):
        return "give a layer one size; for several layers, write mlp(x, [64, 32])"
    if "Ints" in kinds and isinstance(value, float):
        return "write it without a decimal point"
    return None


_WORDS = {
    "Node": "a value",
    "Nodes": "a list of values",
    "WeightNodes": "weights",
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "a word",
    "Ints": "a list of whole numbers",
    "AxisName": "the name of an axis",
}


def _holds_ids(value: Any) -> bool:
    return is_categorical(value) or (isinstance(value, list) and any(is_categorical(v) for v in value))


def _fit(ev: Evaluating, kind: str, value: Any, reads_ids: bool) -> tuple[bool, Any]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = isinstance(value, int) and not isinstance(value, bool)
    match kind:
        case "Node" | "Nodes" | "WeightNodes" if _holds_ids(value) and not reads_ids:
            return False, None
        case "Node" if isinstance(value, Node):
            return True, value
        case "Node" if number:
            return True, ev.build.constant(float(value))
        case "Nodes" | "WeightNodes" if isinstance(value, Node):
            return True, value
        case "Nodes" | "WeightNodes" if isinstance(value, list) and value:
            flat = [inner for item in value for inner in (item if isinstance(item, list) else [item])]
            return all(isinstance(item, Node) for item in flat), flat
        case "float" if number:
            return True, float(value)
        case "int" if whole:
            return True, value
        case "bool" if isinstance(value, bool):
            return True, value
        case "str" | "AxisName" if isinstance(value, str):
            return True, value
        case "Ints" if whole:
            return True, [value]
        case "Ints" if isinstance(value, list):
            return all(isinstance(item, int) and not isinstance(item, bool) for item in value), value
    return False, None
