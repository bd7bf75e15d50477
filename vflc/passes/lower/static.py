"""Calls that are answered while the graph is built: sizes of values, and choices between blocks.

They make no node. `size(x)` is a number, to give to `dense` or to a range; `where` with a condition
that is true or false already builds only what it chooses, so that a block may use itself.
"""

from __future__ import annotations

from typing import Any

from vflc.ir.graph import Node
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.values import POISON, Poison, Scope, describe
from vflc.syntax import tree

STATIC = ("size", "where")


def call_static(ev: Evaluator, name: str, expr: tree.Call, scope: Scope, direct: bool) -> tuple[bool, Any]:
    """Whether the call can be answered without a node, and its value."""
    if name == "size":
        return True, _size(ev, expr, scope)
    condition = expr.arguments[0].value if len(expr.arguments) == 3 else None
    if condition is None or any(argument.name for argument in expr.arguments) or not _plain(condition):
        return False, None
    value = ev.evaluate(condition, scope)
    if isinstance(value, Poison):
        return True, POISON
    if not isinstance(value, bool):
        return False, None
    return True, ev.evaluate(expr.arguments[1 if value else 2].value, scope, direct)


def _plain(expr: tree.Expr) -> bool:
    """Whether evaluating the expression twice is evaluating it once: it makes no weights."""
    match expr:
        case tree.Bool() | tree.Number() | tree.String() | tree.Ref():
            return True
        case tree.Unary():
            return _plain(expr.value)
        case tree.Attribute():
            return _plain(expr.value)
        case tree.Index():
            return _plain(expr.value) and _plain(expr.index)
        case tree.Binary():
            return _plain(expr.left) and _plain(expr.right)
        case tree.Call(function=tree.Ref(name="size")):
            return all(_plain(argument.value) for argument in expr.arguments)
    return False


def _size(ev: Evaluator, expr: tree.Call, scope: Scope) -> int | Poison:
    """How many items a list has, or positions an axis (the last where none is named)."""
    usage = "write size(list), size(x) or size(x, axis = field)"
    values = [a for a in expr.arguments if a.name is None or a.name.text == "x"]
    named = [a for a in expr.arguments if a.name is not None and a.name.text == "axis"]
    if len(values) == 2 and not named and values[1].name is None:
        values, named = values[:1], values[1:]
    if len(values) != 1 or len(named) > 1 or len(values) + len(named) != len(expr.arguments):
        return ev.error("VFL0107", "`size` takes a list, or a value and an axis", expr.span, usage)
    value = ev.evaluate(values[0].value, scope)
    if isinstance(value, Poison):
        return POISON
    if isinstance(value, list) and not named:
        return len(value)
    if not isinstance(value, Node) or not value.type.row_axes:
        return ev.error("VFL0203", f"{describe(value)} has no size", expr.span, usage)
    axes = value.type.row_axes
    axis = axes[-1]
    if named:
        name = named[0].value.name if isinstance(named[0].value, tree.Ref) else ""
        found = [a for a in axes if a.name == name]
        if not found:
            return ev.error("VFL0202", f"there is no axis `{name}` in {value.type}", named[0].span, usage)
        axis = found[0]
    if axis.size is None:
        help = "for ids, fix the length (it is known only in a run): `-> sequence(max = 20)`"
        return ev.error("VFL0205", f"an axis of {value.type} has no fixed size", expr.span, help)
    return axis.size


__all__ = ["STATIC", "call_static"]
