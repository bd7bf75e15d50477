"""`train { validation where … }`: which rows are kept for validation, where a party's columns decide it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import replace
from vflc_common.expressions import columns as columns_read
from vflc_common.words import HeldOutBy

from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.model import ColumnInfo, HeldOut, PartyInfo
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.expressions import lower_expression
from vflc.passes.lower.values import Poison, Scope, describe
from vflc.syntax import tree

CALLS: dict[str, HeldOutBy] = {"groups": "groups", "stratified": "strata"}
"""`validation groups(user, 0.2)` and `validation stratified(liked, 0.2)`."""
NAME = "validation"
"""What the column is called that decides it; grants name it so."""


def lower_held_out(
    ev: Evaluator, setting: tree.Setting, scope: Scope, parties: dict[str, PartyInfo]
) -> tuple[float, HeldOut] | None:
    """The fraction of the rows and what decides which they are; None after a mistake.

    The party whose columns decide gets a column that is computed from them: all others are told of it.
    """
    expr, fraction = setting.values[0], 0.0
    by: HeldOutBy = "where"
    if not setting.condition:
        assert isinstance(expr, tree.Call) and isinstance(expr.function, tree.Ref)
        by = CALLS[expr.function.name]
        found = _share(ev, expr, expr.function.name, scope)
        if found is None:
            return None
        expr, fraction = found
    party = _party(ev, expr, parties)
    if party is None:
        return None
    raw = dict.fromkeys(party.key, "string")  # as which keys are compared
    raw |= {column.name: column.type for column in party.columns if column.type is not None}
    made = {column.name: column.value for column in party.columns if column.value is not None}
    value, _ = lower_expression(ev, party.name, expr, raw, made)
    if value is None:
        return None
    keys = [key for key in party.key if party.column(key) is None and key in columns_read(value)]
    name = NAME
    while party.column(name) is not None:
        name += "_rows"
    gaps = by != "where"  # rows without a value are a group, or a class, of their own
    column = ColumnInfo(name, "column", None, value, (), "raw", None, expr.span, gaps=gaps)
    read = (ColumnInfo(key, "column", "string", None, (), "raw", None, expr.span) for key in keys)
    parties[party.name] = replace(party, columns=(*party.columns, *read, column))
    return fraction, HeldOut(by, party.name, name)


def _share(ev: Evaluator, call: tree.Call, name: str, scope: Scope) -> tuple[tree.Expr, float] | None:
    """What is grouped by, or stratified, and the fraction of the rows; None after a mistake."""
    arguments = call.arguments
    if len(arguments) != 2 or any(argument.name for argument in arguments):
        help = f"as in: validation {name}(COLUMN, 0.2)"
        ev.error("VFL0107", f"`{name}` takes a column and a fraction", call.span, help)
        return None
    given = ev.evaluate(arguments[1].value, scope)
    if isinstance(given, Poison):
        return None
    if not isinstance(given, (int, float)) or isinstance(given, bool) or not 0 < given < 1:
        text = f"the fraction of the rows lies between 0 and 1; this is {describe(given)}"
        ev.error("VFL0205", text, arguments[1].value.span, "as in: 0.2")
        return None
    return arguments[0].value, float(given)


def _party(ev: Evaluator, expr: tree.Expr, parties: dict[str, PartyInfo]) -> PartyInfo | None:
    """The one party whose columns an expression reads; None where there is none, which is reported."""
    found: dict[str, None] = {}
    for part in _parts(expr):
        if isinstance(part, tree.Attribute) and isinstance(part.value, tree.Ref):
            owners: Iterable[str] = [part.value.name] if part.value.name in parties else []
            name = part.name.text
        else:
            assert isinstance(part, tree.Ref)
            name = part.name
            owners = [owner for owner, info in parties.items() if info.column(name) or name in info.key]
        owners = list(owners)
        if len(owners) > 1:
            help = f"say whose: {' or '.join(f'{owner}.{name}' for owner in owners)}"
            ev.error("VFL0022", f"{' and '.join(owners)} each have a column `{name}`", part.span, help)
            return None
        if not owners:
            near = did_you_mean(name, [c.name for info in parties.values() for c in info.columns])
            help = f"did you mean `{near}`?" if near else "name a column that a party declares"
            ev.error("VFL0105", f"no party has a column `{name}`", part.span, help)
            return None
        found[owners[0]] = None
    if len(found) != 1:
        text = "this reads no column"
        if found:
            text = f"the columns of {' and '.join(found)} do not lie in one table"
        help = "use columns of one party, which tells the others which rows are kept for validation"
        ev.error("VFL0022", text, expr.span, help)
        return None
    return parties[next(iter(found))]


def _parts(expr: tree.Expr) -> Iterator[tree.Expr]:
    """The names of columns in an expression; what is none of one is reported where it is lowered."""
    match expr:
        case tree.Ref() | tree.Attribute(value=tree.Ref()):
            yield expr
        case tree.Unary():
            yield from _parts(expr.value)
        case tree.Binary():
            yield from _parts(expr.left)
            yield from _parts(expr.right)
        case tree.Call():
            for argument in expr.arguments:
                yield from _parts(argument.value)


def is_held_out(setting: tree.Setting) -> bool:
    """Whether a setting `validation` says more than a fraction of the rows."""
    expr: Any = setting.values[0] if len(setting.values) == 1 else None
    if setting.condition:
        return True
    return isinstance(expr, tree.Call) and isinstance(expr.function, tree.Ref) and expr.function.name in CALLS
