"""Which columns of its table a feature or label is made of, and how many codes it can take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, log2, prod
from typing import Any

from vflc_common.encoders import length, record
from vflc_common.expressions import CONDITIONS
from vflc_common.expressions import columns as columns_read

from vflc.ir.model import ColumnInfo, PartyInfo


def table_columns(column: ColumnInfo) -> tuple[str, ...]:
    """The columns of the table that it is computed from: itself where the table holds it."""
    if column.value is None:
        return (column.name,)
    return tuple(dict.fromkeys(columns_read(column.value)))


_VALUES = {"bool": 2}
"""How many values a column of a type has."""


def codes(column: ColumnInfo) -> float:
    """How many values a number or an id of it can take at most: infinite where nothing bounds it.

    An encoder gives no more values than it reads, but one more where it fills what is missing. What is
    missing is a value of its own, too, where rows without one are told from others.
    """
    taken = _VALUES.get(column.type or "", inf) if column.value is None else _values(column.value)
    taken += column.gaps
    for settings in column.encoders:
        encoder = record(settings)
        most = inf if encoder.different is None else encoder.different
        taken = min(taken + encoder.allows_missing(settings), most)
    return min(taken, inf if column.rows is None else column.rows)


def code_bits(column: ColumnInfo) -> float | None:
    """The most bits that a row's code has: infinite where it is no code, None for any number of ids.

    Infinite, too, where an encoder is fitted: codes of other rows then depend on this row's value, and who
    knows those rows learns more than its own code.
    """
    if column.is_fitted:
        return inf
    if column.shape == "ids":
        most = length(column.encoders)
        return None if most is None or column.rows is None else most * log2(column.rows + 1)
    return log2(codes(column))


def folded(names: Iterable[str], party: PartyInfo) -> list[str]:
    """Columns as a spec names them: members of a family that follow each other are `C{1..3}`."""
    runs: list[list[str]] = []
    for name in names:
        if runs and _follows(runs[-1][-1], name, party):
            runs[-1].append(name)
        else:
            runs.append([name])
    return [run[0] if len(run) == 1 else _family(run[0], run[-1], party) for run in runs]


def _follows(before: str, name: str, party: PartyInfo) -> bool:
    """Whether two columns were declared by one family, one after the other."""
    one, other = party.column(before), party.column(name)
    if one is None or other is None or one.family is None:
        return False
    same = (one.family, one.span) == (other.family, other.span)
    return same and _number(name, party) == _number(before, party) + 1


def _family(first: str, last: str, party: PartyInfo) -> str:
    number = _number(first, party)
    return f"{first.removesuffix(str(number))}{{{number}..{_number(last, party)}}}"


def _number(name: str, party: PartyInfo) -> int:
    """The number of a member of a family."""
    column = party.column(name)
    assert column is not None and column.family is not None, f"{name} is of a family"
    return int(name.removeprefix(column.family))


def _values(value: Mapping[str, Any]) -> float:
    """How many values an expression can take at most; infinite where nothing bounds it."""
    if "number" in value or "string" in value:
        return 1
    if value.get("op") in CONDITIONS or value.get("call") == "is_missing":
        return 2
    return prod(_values(part) for part in value["args"]) if value.get("args") else inf
