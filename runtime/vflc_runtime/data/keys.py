"""The text by which rows are matched: of a key column, or of several as one text.

Several columns are joined so that no two keys become one, whatever their values hold, and so that
texts are ordered as their columns are, one after the other: U+0001 inside a value is followed by
U+0002, and two U+0001 stand between values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from vflc_common.keys import key_columns

from vflc_runtime.data import values
from vflc_runtime.data.advice import what_to_do
from vflc_runtime.data.read import Wanted
from vflc_runtime.data.source import OpenedSource
from vflc_runtime.errors import Failure

_ONE, _ESCAPED, _BETWEEN = "\x01", "\x01\x02", "\x01\x01"


def wanted_keys(info: Mapping[str, Any]) -> list[Wanted]:
    """The key columns that are read of a party's table."""
    return [Wanted(name, info.get("where")) for name in key_columns(info)]


def called(info: Mapping[str, Any]) -> str:
    """A party's key as messages name it: `key column ID`."""
    names = key_columns(info)
    return f"key column{'s' * (len(names) > 1)} {', '.join(names)}"


def key_text(
    types: Sequence[str], columns: Sequence[str], source: OpenedSource, keys: Sequence[Wanted]
) -> str:
    """SQL for the text by which keys are compared; null where one of several columns is blank.

    Args:
        types: of the key columns, as DuckDB calls them.
        columns: SQL that names them.
        source: whose they are.
        keys: the columns as the spec names them.

    Raises:
        Failure: VFL0634, values of a type have no unique text.
    """
    texts = [_column_text(*each) for each in zip(types, columns, [source] * len(keys), keys, strict=True)]
    if len(texts) == 1:
        return texts[0]
    blank = " OR ".join(f"regexp_full_match({text}, '\\s*')" for text in texts)
    joined = " || chr(1) || chr(1) || ".join(f"replace({text}, chr(1), chr(1) || chr(2))" for text in texts)
    return f"CASE WHEN {blank} THEN NULL ELSE {joined} END"


def _column_text(type: str, column: str, source: OpenedSource, key: Wanted) -> str:
    found = values.as_text(type, column)
    if found is None:
        raise Failure(
            "VFL0634",
            f"{source.party}'s key column {key.name} holds {type}, whose values have no unique text to "
            "compare",
            what_to_do(key.name, "string", type, source.server is not None),
            key.where,
        )
    return found.value


def key_part(key: str, part: Sequence[int]) -> str:
    """SQL for the text of some columns of a key of several, given as text, as if they were a key."""
    if len(part) == 1:
        return f"replace({_piece(key, part[0])}, chr(1) || chr(2), chr(1))"
    return " || chr(1) || chr(1) || ".join(_piece(key, at) for at in part)


def _piece(key: str, at: int) -> str:
    return f"string_split({key}, chr(1) || chr(1))[{at + 1}]"


def key_parts(keys: pa.Array, part: Sequence[int]) -> pa.Array:
    """The same of keys [n]."""
    pieces = pc.split_pattern(keys, _BETWEEN)
    texts = [pc.list_element(pieces, at) for at in part]
    if len(part) == 1:
        return pc.replace_substring(texts[0], _ESCAPED, _ONE)
    return pc.binary_join_element_wise(*texts, _BETWEEN)


def readable(key: str) -> str:
    """A key as messages show it: `u7, 2024-01-31` where several columns make it."""
    return ", ".join(part.replace(_ESCAPED, _ONE) for part in key.split(_BETWEEN))


def restored_columns(
    info: Mapping[str, Any], keys: pa.Array, types: Sequence[str], suffix: str
) -> dict[str, pa.Array]:
    """The key columns of a party as its table held them; see `values.restored`.

    Args:
        info: the party's, as encoders.json has it.
        keys: the texts of the keys [n].
        types: of its key columns, as DuckDB calls them.
        suffix: of the file they are written to.
    """
    names = key_columns(info)
    if len(names) == 1:
        return {names[0]: values.restored(keys, types[0], suffix)}
    parts = pc.split_pattern(keys, _BETWEEN)
    found = {}
    for i, (name, type) in enumerate(zip(names, types, strict=True)):
        texts = pc.replace_substring(pc.list_element(parts, i), _ESCAPED, _ONE)
        found[name] = values.restored(texts, type, suffix)
    return found
