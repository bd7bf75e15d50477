"""Expressions over a party's raw columns, as data that its runtime evaluates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vflc_common.dates import DAY, moment_of
from vflc_common.encoder import MANY
from vflc_common.expressions import CALLS, COMPARISONS, CROSSED, operation_type, type_of
from vflc_common.text import quote
from vflc_common.words import DATES, kind_of, vector_width

from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.model import PartyInfo
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.values import Poison, Scope
from vflc.syntax import tree


def lower_expression(
    ev: Evaluator,
    party: str,
    expr: tree.Expr,
    raw: dict[str, str],
    made: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[dict[str, Any] | None, str]:
    """An expression as JSON data and its kind; None after a mistake.

    `raw` has the types of the table's columns, `made` the expressions that other columns stand for.
    """

    def inner(part: tree.Expr) -> tuple[dict[str, Any] | None, str]:
        return lower_expression(ev, party, part, raw, made)

    match expr:
        case tree.Number():
            value = ev.evaluate(expr, Scope())
            known = None if isinstance(value, Poison) else {"number": value}
            return known, "int" if isinstance(value, int) else "float"
        case tree.String():
            return {"string": expr.value}, "string"
        case tree.Bool():
            return {"number": int(expr.value)}, "int"
        case tree.Ref() if _is_many(kind := kind_of(raw.get(expr.name, ""))):
            help = "select one of its values in a query, as a column of its own"
            what = "list" if kind in MANY else "vector"
            text = f"`{expr.name}` is a {what}, and expressions compute with single values"
            ev.error("VFL0021", text, expr.span, help)
            return None, "float"
        case tree.Ref() if expr.name in raw:
            return {"column": expr.name}, kind_of(raw[expr.name])
        case tree.Ref() if made is not None and expr.name in made:
            return dict(made[expr.name]), type_of(made[expr.name], raw)
        case tree.Ref():
            near = did_you_mean(expr.name, raw)
            ev.error(
                "VFL0105",
                f"{party} has no column `{expr.name}`",
                expr.span,
                f"did you mean `{near}`?" if near else f"declare it: column {expr.name}: float",
            )
            return None, "float"
        case tree.Attribute(value=tree.Ref(name=owner)) if owner == party:
            return inner(tree.Ref(expr.name.text, expr.name.span))
        case tree.Unary():
            value, kind = inner(expr.value)
            if kind in DATES:
                return _no_number(ev, expr.value)
            name = "neg" if expr.operator == "-" else "not"
            return ({"op": name, "args": [value]} if value else None), kind
        case tree.Binary():
            return _binary_expression(ev, expr, inner(expr.left), inner(expr.right))
        case tree.Call(function=tree.Ref(name="cross")):
            return _crossed(ev, expr, [inner(argument.value) for argument in expr.arguments])
        case tree.Call(function=tree.Ref(name=name)) if name in CALLS and len(expr.arguments) == 1:
            value, kind = inner(expr.arguments[0].value)
            if kind in DATES and name != "is_missing":
                return _no_number(ev, expr.arguments[0].value)
            return ({"call": name, "args": [value]} if value else None), CALLS[name]
    ev.error(
        "VFL0204",
        "this cannot be computed from raw columns",
        expr.span,
        f"use only columns, numbers, text, operators and {', '.join(CALLS)}",
    )
    return None, "float"


def _is_many(kind: str) -> bool:
    """Whether a row has several values of a column of this kind."""
    return kind in MANY or vector_width(kind) is not None


def is_text(value: Mapping[str, Any], party: PartyInfo) -> bool:
    """Whether a lowered expression over a party's columns gives text."""
    if "column" in value:
        column = party.column(value["column"])
        return column is not None and column.type == "string"
    return "string" in value or CALLS.get(value.get("call", "")) == "string"


def _crossed(
    ev: Evaluator, expr: tree.Call, parts: list[tuple[dict[str, Any] | None, str]]
) -> tuple[dict[str, Any] | None, str]:
    """`cross(City, Gender)`: one text of several."""
    values = [value for value, _ in parts if value is not None]
    named = next((argument for argument in expr.arguments if argument.name is not None), None)
    if len(parts) < 2 or named is not None:
        text = "`cross` takes two columns or more, without names"
        ev.error("VFL0107", text, named.span if named else expr.span, "write cross(City, Gender)")
        return None, "string"
    for (value, kind), argument in zip(parts, expr.arguments, strict=True):
        if value is not None and kind not in CROSSED:
            help = "cross texts and whole numbers; a number in steps of 10 is floor(Age / 10)"
            ev.error("VFL0204", "`cross` is of texts and whole numbers", argument.span, help)
            return None, "string"
    return ({"call": "cross", "args": values} if len(values) == len(parts) else None), "string"


LoweredExpression = tuple[dict[str, Any] | None, str]
"""An expression as data, None after a mistake, and its kind."""
_DATES_HELP = (
    'dates can be compared, as in Day >= "2024-01-31", and subtracted: Seen - Joined is a number of days; '
    "parts of them are taken by encoders: -> month"
)


def _no_number(ev: Evaluator, expr: tree.Expr) -> LoweredExpression:
    ev.error("VFL0204", "a date is no number", expr.span, _DATES_HELP)
    return None, "float"


def _of_dates(
    ev: Evaluator, expr: tree.Binary, left: LoweredExpression, right: LoweredExpression
) -> LoweredExpression:
    """Dates and timestamps, and texts of them, compared; or the days between two."""
    sides: list[dict[str, Any] | None] = []
    for (value, kind), part in ((left, expr.left), (right, expr.right)):
        if value is None:
            return None, "float"
        if "string" in value:
            moment = moment_of(value["string"])
            if moment is None:
                help = 'write it as in "2024-01-31" or "2024-01-31 08:00:00"'
                ev.error("VFL0213", f"{quote(value['string'])} is no date", part.span, help)
                return None, "float"
            sides.append({"number": moment})
        elif kind in DATES:
            sides.append(value)
        else:
            return _no_number(ev, expr)
    if expr.operator in COMPARISONS:
        return {"op": expr.operator, "args": sides}, "float"
    if expr.operator != "-":
        return _no_number(ev, expr)
    return {"op": "/", "args": [{"op": "-", "args": sides}, {"number": DAY}]}, "float"


def _binary_expression(
    ev: Evaluator, expr: tree.Binary, left: tuple[Any, str], right: tuple[Any, str]
) -> tuple[dict[str, Any] | None, str]:
    if left[0] is None or right[0] is None:
        return None, "float"
    if left[1] in DATES or right[1] in DATES:
        return _of_dates(ev, expr, left, right)
    text = [side[1] == "string" for side in (left, right)]
    compares = expr.operator in COMPARISONS
    if any(text) and (not compares or not all(text)):
        message, help = (
            f"`{expr.operator}` cannot combine text and a number",
            "declare both columns with the same type",
        )
        if all(text):
            message = f"`{expr.operator}` needs numbers, but both sides are text"
            help = "text can only be compared, and crossed: cross(City, Gender)"
        ev.error("VFL0204", message, expr.span, help)
        return None, "float"
    if expr.operator == "@":
        ev.error("VFL0204", "`@` works only on values of the graph", expr.span)
        return None, "float"
    kind = operation_type(expr.operator, (left[1], right[1]))
    return {"op": expr.operator, "args": [left[0], right[0]]}, kind
