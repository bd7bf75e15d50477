"""Operators: of numbers, texts and lists, and of values of the graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from vflc_common.encoder import IDS

from vflc.diagnostics import Span
from vflc.ir.graph import Node
from vflc.passes.lower.values import POISON, Evaluating, PartyValue, Poison, Scope, describe
from vflc.syntax import tree
from vflc.syntax.expressions import LARGEST_FLOAT

ELEMENTWISE = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "**": "pow",
    "@": "matmul",
    "//": "floordiv",
    "%": "mod",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "==": "equal",
    "!=": "not_equal",
    "and": "logical_and",
    "or": "logical_or",
}
NUMERIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
}
MOST_ITEMS = 100_000
"""Of a list, those of the lists in it not counted."""
MOST_LETTERS = 10_000
"""Of a text that `+` makes."""
LARGEST = 2**63
"""Whole numbers beyond this are not computed with."""


def unary(ev: Evaluating, expr: tree.Unary, scope: Scope) -> Any:
    """`-x` and `not x`."""
    value = ev.evaluate(expr.value, scope)
    if isinstance(value, Poison):
        return POISON
    if isinstance(value, Node):
        return ev.op("neg" if expr.operator == "-" else "logical_not", expr.span, value)
    if expr.operator == "not" and isinstance(value, bool):
        return not value
    if expr.operator == "-" and isinstance(value, (int, float)):
        return -value
    return ev.error("VFL0203", f"`{expr.operator}` does not apply to {describe(value)}", expr.span)


def binary(ev: Evaluating, expr: tree.Binary, scope: Scope) -> Any:
    """`x + y` and its like: of numbers, texts and lists at once, of values of the graph as a node."""
    left = ev.evaluate(expr.left, scope)
    right = ev.evaluate(expr.right, scope)
    if isinstance(left, Poison) or isinstance(right, Poison):
        return POISON
    if isinstance(left, Node) or isinstance(right, Node):
        return _graph_binary(ev, expr, left, right)
    if isinstance(left, list) and isinstance(right, list) and expr.operator == "+":
        return bounded(ev, left + right, expr.span)
    same_text = isinstance(left, str) and isinstance(right, str) and expr.operator in ("==", "!=", "+")
    if same_text or (isinstance(left, (int, float)) and isinstance(right, (int, float))):
        return _plain(ev, expr, left, right)
    text = f"`{expr.operator}` does not apply to {describe(left)} and {describe(right)}"
    listed = next((e for e, v in ((expr.left, left), (expr.right, right)) if isinstance(v, list)), None)
    help = (
        f"join the list into one value first: concat({' '.join(listed.span.text.split())})"
        if listed
        else None
    )
    if isinstance(left, PartyValue) and isinstance(right, PartyValue):
        help = f"a model reads features: {left.name}.features {expr.operator} {right.name}.features"
    return ev.error("VFL0203", text, expr.span, help)


def _plain(ev: Evaluating, expr: tree.Binary, left: Any, right: Any) -> Any:
    if expr.operator == "**" and abs(right) > 64:
        return ev.error("VFL0205", "the exponent is larger than 64", expr.right.span)
    try:
        result = NUMERIC[expr.operator](left, right)
    except (ArithmeticError, KeyError) as wrong:
        return ev.error("VFL0205", f"cannot compute this: {wrong}", expr.span)
    if isinstance(result, complex):
        return ev.error("VFL0205", "this is a root of a negative number", expr.span)
    return bounded(ev, result, expr.span)


def bounded(ev: Evaluating, value: Any, span: Span) -> Any:
    """The value, unless it is larger than anything that was meant."""
    match value:
        case int() if abs(value) >= LARGEST:
            help = "write it with a decimal point or exponent: 1e30"
            return ev.error("VFL0205", "a whole number has at most 63 bits", span, help)
        case float() if not abs(value) <= LARGEST_FLOAT:
            return ev.error("VFL0205", "this number is larger than float32 holds, 3.4e38", span)
        case str() if len(value) > MOST_LETTERS:
            return ev.error("VFL0206", f"a text has at most {MOST_LETTERS:,} letters", span)
        case list() if len(value) > MOST_ITEMS:
            return ev.error("VFL0206", f"a list has at most {MOST_ITEMS:,} items", span)
    return value


def _graph_binary(ev: Evaluating, expr: tree.Binary, left: Any, right: Any) -> Any:
    for value, side in ((left, expr.left), (right, expr.right)):
        if isinstance(value, bool) or not isinstance(value, (Node, int, float)):
            help = "name one of its items, or join them: concat(…)" if isinstance(value, list) else None
            text = f"`{expr.operator}` needs a value of the graph; this is {describe(value)}"
            return ev.error("VFL0203", text, side.span, help)
        if isinstance(value, Node) and is_categorical(value):
            return ev.error(
                "VFL0203",
                f"{value.id} is categorical",
                side.span,
                f"embed it: embed({value.id}, dim = 8)",
            )
    if expr.operator not in ELEMENTWISE:
        return ev.error(
            "VFL0203", f"`{expr.operator}` is for numbers, not for values of the graph", expr.span
        )
    left, right = (v if isinstance(v, Node) else ev.build.constant(float(v)) for v in (left, right))
    return ev.op(ELEMENTWISE[expr.operator], expr.span, left, right)


def is_categorical(value: Any) -> bool:
    """Whether a value is ids of a feature, which only embeddings can read."""
    return isinstance(value, Node) and value.op in ("feature", "label") and value.attrs["kind"] in IDS
