"""Parties: columns, encoder chains and label expressions, checked and turned into plain data.

The data that comes out is what `vflc_runtime.data` executes; nothing of it is a graph op,
because encoders run where the raw table is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from vflc_common.encoder import MANY, TEXTS, shape_of, width_of
from vflc_common.encoders import length, record
from vflc_common.expressions import columns as columns_read
from vflc_common.expressions import type_of
from vflc_common.text import composed, quote
from vflc_common.words import COLUMN_TYPES, DATES, LISTS, WIDEST, is_column_type, kind_of, vector_width

from vflc.diagnostics import RelatedSpan, Span
from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.budget import MOST_COLUMNS
from vflc.ir.graph import Node, SecretSource
from vflc.ir.model import ColumnInfo, PartyInfo
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.passes.lower import foreign
from vflc.passes.lower.encoders import FilesOfColumn, lower_chain
from vflc.passes.lower.evaluate import Evaluator, Stop
from vflc.passes.lower.expressions import lower_expression
from vflc.passes.lower.keys import has_many, lower_key, may_lack
from vflc.passes.lower.labels import marked, marks
from vflc.passes.lower.values import PartyValue, Scope
from vflc.syntax import tree


def lower_party(
    ev: Evaluator, party: tree.Party, scope: Scope, folder: Path | None
) -> tuple[PartyInfo, PartyValue]:
    """Checks a party's columns and adds its features and labels to the graph.

    Files that encoders name are in the spec's `folder`.
    """
    seen: dict[str, tree.Column] = {}
    read: dict[str, tuple[str, Span]] = {}
    columns: list[ColumnInfo] = []
    _within_budget(ev, party)
    raw = _raw_types(party)
    for column in party.columns:
        for name in _names(column):
            if name in seen:
                ev.error(
                    "VFL0102",
                    f"{party.name.text} has two columns `{name}`",
                    column.name.span,
                    None,
                    RelatedSpan(seen[name].name.span, "first here"),
                )
                continue
            seen[name] = column
            if _is_read_twice(ev, party, column, name, read):
                continue
            for lowered in _columns(ev, party, column, name, raw, scope, folder):
                if lowered.name == name and (column.family is not None or column.table not in (None, name)):
                    family = column.name.text if column.family is not None else None
                    table = None if column.table == name else column.table
                    lowered = replace(lowered, family=family, table=table)
                columns.append(lowered)
    if party.columns and not party.key:
        ev.error(
            "VFL0109",
            f"{party.name.text} has columns but no key",
            party.name.span,
            "say which column identifies a row: key ID",
        )
    span = party.key[0].span.to(party.key[-1].span) if party.key else party.span
    _beside(ev, party, columns, seen)
    info = PartyInfo(
        party.name.text,
        lower_key(ev, party),
        tuple(columns),
        span,
        party.name.span,
        party.population,
        has_many(ev, party),
        may_lack(ev, party),
    )
    broken = frozenset(seen) - {column_info.name for column_info in columns}
    plain = frozenset(c.name for c in columns if c.kind == "column")
    value = PartyValue(party.name.text, {}, {}, {}, plain, broken)
    groups = {"feature": value.features, "label": value.labels, "weight": value.weights}
    for column_info in columns:
        if column_info.kind in groups:
            groups[column_info.kind][column_info.name] = column_node(ev, info, column_info)
    return info, value


def _columns(
    ev: Evaluator,
    party: tree.Party,
    column: tree.Column,
    name: str,
    raw: dict[str, str],
    scope: Scope,
    folder: Path | None,
) -> list[ColumnInfo]:
    """A column with what it declares beside itself; nothing after a mistake."""
    given = marks(ev, column, party.population)
    lowered = _column(ev, party, given[0], name, raw, scope, folder) if given is not None else None
    if given is None or lowered is None:
        return []
    text = lowered.type == "string" or (lowered.value is not None and type_of(lowered.value, raw) == "string")
    return marked(lowered, given[1], text)


def _beside(
    ev: Evaluator, party: tree.Party, columns: list[ColumnInfo], seen: dict[str, tree.Column]
) -> None:
    """Refuses a weight beside a label whose name another column has."""
    for label in columns:
        for name in (label.present, label.evens):
            if name is not None and name in seen:
                text = f"the label `{label.name}` of {party.name.text} makes a weight `{name}`"
                related = RelatedSpan(label.span, "for this label")
                help = "give the column another name"
                ev.error("VFL0102", text, seen[name].name.span, help, related)


def _within_budget(ev: Evaluator, party: tree.Party) -> None:
    """Counts columns before families of them are written out."""
    for column in party.columns:
        low, high = column.family or (1, 1)
        ev.columns += high - low + 1
        if ev.columns > MOST_COLUMNS:
            ev.error("VFL0206", f"the spec has more than {MOST_COLUMNS:,} columns", column.span, None)
            raise Stop


def _names(column: tree.Column) -> list[str]:
    if column.family is None:
        return [column.name.text]
    low, high = column.family
    return [f"{column.name.text}{i}" for i in range(low, high + 1)]


def _is_read_twice(
    ev: Evaluator, party: tree.Party, column: tree.Column, name: str, read: dict[str, tuple[str, Span]]
) -> bool:
    """Whether a column of the table has another name already: it has one, by which others learn of it."""
    if column.type is None:
        return False
    called = composed(column.table or name)
    first, span = read.setdefault(called, (name, column.span))
    if first != name:
        ev.error(
            "VFL0020",
            f"`{first}` and `{name}` are one column of {party.name.text}'s table, {quote(called)}",
            column.name.span,
            f"declare it once; to encode it in another way as well: {column.kind} {name} = {first}",
            RelatedSpan(span, "it is read here"),
        )
    return first != name


def _raw_types(party: tree.Party) -> dict[str, str]:
    """Declared types of the columns that lie in the table as they are."""
    columns = (c for c in party.columns if c.type is not None)
    return {name: kind_of(c.type.text) for c in columns if c.type is not None for name in _names(c)}


def _type_help(declared: str) -> str:
    """What to write instead of a type that there is none of."""
    if declared.startswith("vector"):
        return f"write how many numbers each row has: vector(128), at most {WIDEST:,}"
    if declared.startswith("list"):
        return "write list(int) or list(string)"
    if declared.startswith("float("):
        return 'numbers with a decimal comma are float(",")'
    near = did_you_mean(declared, [*COLUMN_TYPES, "vector"])
    near = "vector(128)" if near == "vector" else near
    return foreign.instead(foreign.TYPES, declared) or (
        f"did you mean `{near}`?" if near else f"use {', '.join(COLUMN_TYPES)} or vector(128)"
    )


OPS = {"feature": "feature", "label": "label", "weight": "example_weight", "group": "group"}
"""The op of a column that enters the graph, by its kind."""


def column_node(ev: Evaluator, party: PartyInfo, column: ColumnInfo) -> Node:
    """Adds the input that a column of a party is to the graph."""
    node_id = f"{party.name}.{column.name}"
    attrs = {"party": party.name, "name": column.name, "kind": column.shape, "rows": column.rows}
    for name, other in (("present", column.present), ("evens", column.evens)):
        if other is not None:
            attrs[name] = f"{party.name}.{other}"
    return ev.build.graph.add(
        Node(
            node_id,
            OPS[column.kind],
            (),
            attrs,
            _type(column),
            _secrets(party, column),
            party.name,
            "forward",
            column.span,
        )
    )


def _type(column: ColumnInfo) -> TensorType:
    """Of the input that a column is."""
    match column.shape:
        case "id":
            return TensorType((ROWS,), "int")
        case "ids":
            return TensorType((ROWS, Axis("value", length(column.encoders))), "int")
        case "vector":
            return TensorType((ROWS, Axis(None, width_of(column.type))))
        case _:
            return TensorType((ROWS, Axis(None, 1)))


def _secrets(party: PartyInfo, column: ColumnInfo) -> frozenset[SecretSource]:
    """A column's own secret; a weight has, too, those of the labels that share a column with it."""
    own = SecretSource(party.name, column.name, column.kind == "label")
    if column.kind != "weight":
        return frozenset({own})
    read = _read_by(column)
    shared = (other for other in party.columns if other.kind == "label" and _read_by(other) & read)
    return frozenset({own, *(SecretSource(party.name, label.name, True) for label in shared)})


def _read_by(column: ColumnInfo) -> frozenset[str]:
    """The columns of the table that a column is made of."""
    return frozenset({column.name}) if column.value is None else frozenset(columns_read(column.value))


def _is_elsewhere(settings: Mapping[str, Any]) -> bool:
    """Whether an encoder's values are found by a run, or lie in a file."""
    lookup = record(settings).lookup
    return lookup is not None and lookup.room(settings) is not None


def _column(
    ev: Evaluator,
    party: tree.Party,
    column: tree.Column,
    name: str,
    raw: dict[str, str],
    scope: Scope,
    folder: Path | None,
) -> ColumnInfo | None:
    value: dict[str, Any] | None = None
    declared: str | None = None
    if column.type is not None:
        declared = column.type.text
        kind = kind_of(declared)
        if not is_column_type(declared):
            ev.error("VFL0204", f"unknown type `{declared}`", column.type.span, _type_help(declared))
            return None
        if column.kind != "feature" and (vector_width(declared) is not None or declared in LISTS):
            what = "list" if declared in LISTS else "vector"
            text = f"the {column.kind} `{name}` is a {what}: only a feature can be one"
            help = "declare each of its numbers as a column of its own, selected in a query"
            ev.error("VFL0021", text, column.type.span, help)
            return None
    else:
        assert column.value is not None
        value, kind = lower_expression(ev, party.name.text, column.value, raw)
        if value is None or (kind in raw.values() and not is_column_type(kind)):  # said where it is declared
            return None
    if column.kind == "column":
        if column.encoders:
            ev.error(
                "VFL0204",
                "a `column` cannot have encoders",
                column.encoders[0].span,
                "declare it as a `feature` to use it in the graph",
            )
            return None
        return ColumnInfo(name, "column", declared, value, (), "raw", None, column.span)
    files = FilesOfColumn(folder)
    encoders, kind, rows = lower_chain(ev, column, kind, scope, files)
    if encoders is None:
        return None
    if column.kind == "label" and any(_is_elsewhere(e) for e in encoders):
        text = f"the classes of the label `{name}` are not in the spec"
        ev.error("VFL0214", text, column.span, 'list them: vocab("a", "b", "c")')
        return None
    if kind in (*TEXTS, *MANY):
        help = "end the chain with hash(buckets) or vocab(values)"
        text = f"`{name}` is {'text' if kind in TEXTS else 'a list'}, but the graph needs ids or numbers"
        if column.kind == "weight":
            text, help = f"the weight `{name}` is text", "an example weight must be a number"
        ev.error("VFL0204", text, column.span, help)
        return None
    if kind in DATES:
        help = 'take a part of it: month, weekday, hour, …, or a number of days: days(since = "2020-01-01")'
        ev.error("VFL0204", f"`{name}` is a {kind}, but the graph needs ids or numbers", column.span, help)
        return None
    shape = shape_of(kind)
    if column.kind != "feature" and shape == "vector":
        text = f"the {column.kind} `{name}` is a pair of numbers: only a feature can be one"
        ev.error("VFL0021", text, column.span, "leave out the last encoder")
        return None
    if column.kind == "weight" and shape != "number":
        help = "remove the encoders that make ids; for a weight by class: weight W = 1 + 9 * (Class == 2)"
        ev.error(
            "VFL0204", f"the weight `{name}` is {'an id' if shape == 'id' else 'ids'}", column.span, help
        )
        return None
    return ColumnInfo(
        name, column.kind, declared, value, tuple(encoders), shape, rows, column.span, listed=files.listed
    )
