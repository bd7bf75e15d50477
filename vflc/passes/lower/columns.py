"""Parties: columns, encoder chains and label expressions, checked and turned into plain data.

The data that comes out is what `vflc_runtime.data` executes; nothing of it is a graph op,
because encoders run where the raw table is.
"""

from __future__ import annotations

from typing import Any

from vflc.diagnostics import Label
from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.graph import Node, Source
from vflc.ir.model import ColumnInfo, PartyInfo
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.passes.lower.encoders import TYPES, lower_chain
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.expressions import lower_expression
from vflc.passes.lower.values import PartyValue, Scope
from vflc.syntax import tree


def lower_party(ev: Evaluator, party: tree.Party, scope: Scope) -> tuple[PartyInfo, PartyValue]:
    """Checks a party's columns and adds its features and labels to the graph."""
    seen: dict[str, tree.Column] = {}
    columns: list[ColumnInfo] = []
    raw = _raw_types(party)
    for column in party.columns:
        for name in _names(column):
            if name in seen:
                ev.error(
                    "VFL0102",
                    f"{party.name.text} has two columns `{name}`",
                    column.name.span,
                    None,
                    Label(seen[name].name.span, "first here"),
                )
                continue
            seen[name] = column
            lowered = _column(ev, party, column, name, raw, scope)
            if lowered is not None:
                columns.append(lowered)
    if party.columns and party.key is None:
        ev.error(
            "VFL0109",
            f"{party.name.text} has columns and no key",
            party.name.span,
            "say which column tells the rows apart: key ID",
        )
    key = party.key.text if party.key else None
    span = party.key.span if party.key else party.span
    info = PartyInfo(party.name.text, key, tuple(columns), span, party.population)
    broken = frozenset(seen) - {column_info.name for column_info in columns}
    value = PartyValue(party.name.text, {}, {}, broken)
    for column_info in columns:
        if column_info.kind in ("feature", "label"):
            node = _node(ev, info.name, column_info)
            (value.features if column_info.kind == "feature" else value.labels)[column_info.name] = node
    return info, value


def _names(column: tree.Column) -> list[str]:
    if column.family is None:
        return [column.name.text]
    low, high = column.family
    return [f"{column.name.text}{i}" for i in range(low, high + 1)]


def _raw_types(party: tree.Party) -> dict[str, str]:
    """Declared types of the columns that lie in the table as they are."""
    return {name: c.type.text for c in party.columns if c.type is not None for name in _names(c)}


def _node(ev: Evaluator, party: str, column: ColumnInfo) -> Node:
    node_id = f"{party}.{column.name}"
    length = next((e["max"] for e in column.encoders if e["name"] == "sequence"), None)
    axes = {"id": (ROWS,), "ids": (ROWS, Axis("value", length)), "number": (ROWS, Axis(None, 1))}[
        column.shape
    ]
    label = column.kind == "label"
    attrs = {"party": party, "name": column.name, "kind": column.shape, "rows": column.rows}
    dtype: Any = "float" if column.shape == "number" else "int"
    return ev.build.graph.add(
        Node(
            node_id,
            column.kind,
            (),
            attrs,
            TensorType(axes, dtype),
            frozenset({Source(party, column.name, label)}),
            party,
            "forward",
            column.span,
        )
    )


def _column(
    ev: Evaluator, party: tree.Party, column: tree.Column, name: str, raw: dict[str, str], scope: Scope
) -> ColumnInfo | None:
    value: dict[str, Any] | None = None
    declared: str | None = None
    if column.type is not None:
        declared = kind = column.type.text
        if declared not in TYPES:
            near = did_you_mean(declared, TYPES)
            ev.error(
                "VFL0204",
                f"unknown type `{declared}`",
                column.type.span,
                f"did you mean `{near}`?" if near else "types are string, int and float",
            )
            return None
    else:
        assert column.value is not None
        value, kind = lower_expression(ev, party.name.text, column.value, raw)
        if value is None:
            return None
    if column.kind == "column":
        if column.encoders:
            ev.error(
                "VFL0204",
                "a column is only computed with and has no encoders",
                column.encoders[0].span,
                "write `feature` to put it into the graph",
            )
            return None
        return ColumnInfo(name, "column", declared, value, (), "raw", None, column.span)
    encoders, kind, rows = lower_chain(ev, column, kind, scope)
    if encoders is None:
        return None
    if kind in ("string", "strings"):
        help = "end the chain with hash(buckets) or vocab(values)"
        ev.error(
            "VFL0204", f"`{name}` is text, and the graph computes with ids and numbers", column.span, help
        )
        return None
    shape = {"int": "number", "float": "number"}.get(kind, kind)
    return ColumnInfo(name, column.kind, declared, value, tuple(encoders), shape, rows, column.span)
