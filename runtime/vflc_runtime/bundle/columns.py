"""Does encoders.json hold together: columns of tables, expressions over them, and chains of encoders?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vflc_common.encoder import IDS, examined, shape_of
from vflc_common.encoders import ENCODERS
from vflc_common.expressions import CALLS, CONDITIONS, CROSSED, type_of
from vflc_common.plugins import BrokenPlugin, Plugin
from vflc_common.words import (
    COLUMN_KINDS,
    COLUMN_TYPES,
    ENCODERS_FILE,
    GROUPING,
    LISTS,
    SHAPES,
    is_column_type,
    kind_of,
    vector_width,
)

from vflc_runtime.bundle.contents import Contents
from vflc_runtime.bundle.plugins import load, unusable
from vflc_runtime.bundle.reading import Json

ONE, TWO = ("neg", "not"), ("+", "-", "*", "/", "//", "%", "**", *CONDITIONS[:-1])
"""Operators of one and of two arguments."""


def check_columns(contents: Contents, declared: Sequence[Plugin]) -> None:
    """Checks what a place reads of its tables; what passes can be read and encoded without looking again.

    Args:
        contents: the place's files.
        declared: what the manifest names of other packages.

    Raises:
        Failure: VFL0613, it does not hold together, or asks for a package that is not declared; VFL0695, an
            encoder of another package cannot be used.
    """
    for _, party in contents.json(ENCODERS_FILE)["parties"].items():
        check_key(party.get("key"))
        if party.get("rows_per_key") is not None:
            party["rows_per_key"].one_of("many")
        _check_part(party)
        _check_where(party)
        columns = [*party["columns"]]
        types = {column["name"].text(): _type(column) for column in columns if column.get("value") is None}
        for column in columns:
            _check_column(column, types, declared)


def check_key(key: Json | None) -> None:
    """A key is a column's name, or the names of several."""
    if key is not None and isinstance(key.value, list):
        names = [name.text() for name in key]
        if len(set(names)) < 2 or len(set(names)) < len(names):
            raise key.wrong("the names of several columns")
    elif key is not None:
        key.text()


def _check_part(party: Json) -> None:
    """Of a key that is a part of another, whose which columns it is."""
    part = party.get("part_of_key")
    if part is not None:
        found = [each.integer(0) for each in part]
        names = party["key"].value
        if len(found) != (len(names) if isinstance(names, list) else 1) or len(set(found)) < len(found):
            raise part.wrong("a different number for each column of the key")


def _type(column: Json) -> str:
    """The declared type of a column of the table; only a feature may be a vector."""
    declared = column["type"].text()
    if not is_column_type(declared):
        raise column["type"].wrong(f"one of {', '.join(COLUMN_TYPES)}, or a vector")
    if _is_many(declared) and column["kind"].text() != "feature":
        raise column["type"].wrong("no vector or list, for what is no feature")
    return declared


def _is_many(declared: str) -> bool:
    """Whether a row has many values of a column, with which expressions cannot compute."""
    return vector_width(declared) is not None or declared in LISTS


def _check_column(column: Json, types: Mapping[str, str], declared: Sequence[Plugin]) -> None:
    column["name"].text()
    if column.get("table") is not None:
        column["table"].text()
    _check_where(column)
    value = column.get("value")
    if value is not None:
        try:
            _check_expression(value, types)
        except RecursionError:
            raise column.wrong("an expression that is less deep") from None
    if column["kind"].one_of(*COLUMN_KINDS) == "column":
        return
    kind = kind_of(types[column["name"].text()]) if value is None else type_of(value.value, types)
    if column["kind"].value == "group":
        _check_group(column, kind)
        return
    kind, rows = _check_chain(column["encoders"], kind, declared)
    shape = column["shape"].one_of(*SHAPES)
    if shape_of(kind) != shape:
        raise column["shape"].wrong(f"what its encoders give, {kind}")
    if (rows or None) != (column.value.get("rows") or None):
        raise column.wrong(f"rows as its encoders give, {rows}")


def _check_group(column: Json, kind: str) -> None:
    """What metrics group rows by is a column as it is."""
    if kind not in GROUPING or [*column["encoders"]] or column.value.get("rows") is not None:
        raise column.wrong(f"a group: {' or '.join(GROUPING)}, without encoders")
    column["shape"].one_of("id")


def _check_where(item: Json) -> None:
    """The place in the spec, which messages show."""
    where = item.get("where")
    if where is not None:
        for name in ("line", "column", "end_column"):
            where[name].integer(1)
        if not isinstance(where["text"].value, str):
            raise where["text"].wrong("a text")
        where["file"].text()


def _check_expression(tree: Json, types: Mapping[str, str]) -> None:
    keys = {key for key, _ in tree.items()}
    if "column" in keys:
        tree["column"].one_of(*(name for name, type in types.items() if not _is_many(type)))
    elif "number" in keys:
        tree["number"].number()
    elif "string" in keys:
        if not isinstance(tree["string"].value, str):
            raise tree["string"].wrong("a text")
    else:
        alone = ("call" in keys and tree["call"].one_of(*CALLS)) or tree["op"].one_of(*ONE, *TWO) in ONE
        arguments = [*tree["args"]]
        if tree.value.get("call") == "cross":
            _check_crossed(tree, arguments, types)
            return
        if len(arguments) != (1 if alone else 2):
            raise tree["args"].wrong("one argument" if alone else "two arguments")
        for argument in arguments:
            _check_expression(argument, types)


def _check_crossed(tree: Json, arguments: Sequence[Json], types: Mapping[str, str]) -> None:
    """What is crossed are two texts or whole numbers, or more."""
    for argument in arguments:
        _check_expression(argument, types)
        if type_of(argument.value, types) not in CROSSED:
            raise argument.wrong("a text or a whole number, which is crossed")
    if len(arguments) < 2:
        raise tree["args"].wrong("two arguments or more")


def _check_chain(chain: Json, kind: str, declared: Sequence[Plugin]) -> tuple[str, int | None]:
    """What a chain gives of a kind, and how many ids that are."""
    rows: int | None = None
    for item in chain:
        name = item["name"].text()
        if name not in ENCODERS:
            raise item["name"].wrong(f"one of {', '.join(ENCODERS.names())}")
        load(ENCODERS, [name], declared)
        encoder = ENCODERS[name]
        known = {"name", *(parameter.name for parameter in encoder.parameters)}
        if strange := {key for key, _ in item.items()} - known:
            raise item.wrong(f"no {', '.join(sorted(strange))}")
        if not encoder.takes(kind):
            raise item.wrong(f"an encoder of {kind}")
        settings: dict[str, Any] = {key: item.value.get(key) for key in known}
        try:
            with ENCODERS.using(name):
                wrong, count = examined(encoder, settings, kind)
        except BrokenPlugin as broken:
            raise unusable(broken) from broken
        if wrong is not None:
            raise item.wrong(f"settings that fit ({wrong})")
        kind = encoder.after(kind)
        rows = count if count is not None or kind not in IDS else rows
    return kind, rows
