"""Which columns of its table a feature or label is made of, and how many codes it can take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, log2, prod
from typing import Any

from vflc.ir.model import ColumnInfo

CONDITIONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "and", "or", "not"})


def table_columns(column: ColumnInfo) -> tuple[str, ...]:
    """The columns of the table that it is computed from: itself where the table holds it."""
    if column.value is None:
        return (column.name,)
    return tuple(dict.fromkeys(_columns(column.value)))


def code_bits(column: ColumnInfo) -> float | None:
    """The most bits that a row's code has: infinite where it is no code, None for any number of ids."""
    taken = inf if column.value is None else _values(column.value)
    if column.shape == "ids":
        most = next((e["max"] for e in column.encoders if e["name"] == "sequence"), None)
        return None if most is None or column.rows is None else most * log2(column.rows + 1)
    return log2(min(taken, inf if column.rows is None else column.rows))


def _columns(value: Mapping[str, Any]) -> Iterator[str]:
    if "column" in value:
        yield value["column"]
    for part in value.get("args", ()):
        yield from _columns(part)


def _values(value: Mapping[str, Any]) -> float:
    """How many values an expression can take at most; infinite where nothing bounds it."""
    if "number" in value or "string" in value:
        return 1
    if value.get("op") in CONDITIONS or value.get("call") == "is_missing":
        return 2
    return prod(_values(part) for part in value["args"]) if value.get("args") else inf
