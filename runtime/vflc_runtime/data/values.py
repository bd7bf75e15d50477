"""One value has one text and one number, whatever wrote it: the one place where that is decided.

`vflc_common.text` says it for a value of a spec, `as_text` for a column of a table, in SQL; both agree.
Keys are compared by it, `string` columns are looked up and hashed by it. docs/columns.md tells it to users.

- A text is itself, in the Unicode form NFC. Nothing is guessed from it: `007` and `1.0` stay.
- A number is written by what it is, not by the type that held it: 1, 1.0 and 1.00 are `1`; one that
  is not whole has the fewest digits that give the same double, `0.1` and `1.5e-05`.
- Truth is `true` or `false`; a day `2024-01-31`; a moment `2024-01-31 08:00:00.5`, and `…+00` in UTC
  where it has a time zone; a time `08:00:00.5`, also where its file says that it is in UTC, as most
  Parquet files say of every time, and `08:00:00.5+08` in another zone; a UUID is lower case.
- Intervals, bytes, bits, and what holds other values have none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from vflc_common.dates import DAY, ISO_MOMENT
from vflc_common.text import DIGITS
from vflc_common.words import DECIMAL_COMMA, LISTS, vector_width

INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"} | {
    "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
}  # fmt: skip
PLAIN = INTEGERS | {
    "BOOLEAN", "DATE", "TIME", "TIME_NS", "UUID",
    "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS",
}  # fmt: skip
"""Types whose values DuckDB itself writes in one way, given that its time zone is UTC."""
_ARROW = {"TINYINT": pa.int8(), "SMALLINT": pa.int16(), "INTEGER": pa.int32(), "BIGINT": pa.int64()} | {
    "UTINYINT": pa.uint8(), "USMALLINT": pa.uint16(), "UINTEGER": pa.uint32(), "UBIGINT": pa.uint64(),
}  # fmt: skip
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_MOMENT = ISO_MOMENT.pattern.replace("(?:", "(")
MACROS = {
    "vfl_finite": """(x) AS CASE WHEN isfinite(x) THEN x END""",
    "vfl_whole": """(x) AS CASE WHEN x = floor(x) AND abs(x) < 9.2e18 THEN CAST(x AS BIGINT) END""",
    "vfl_absent": """(t) AS lower(trim(t)) IN ('', 'nan', 'inf', '+inf', '-inf', 'infinity', '-infinity')""",
    "vfl_number": f"""(t) AS
    CASE WHEN regexp_full_match(trim(t), '{_NUMBER}') THEN vfl_finite(TRY_CAST(trim(t) AS DOUBLE)) END""",
    "vfl_comma": """(t) AS
    CASE WHEN regexp_full_match(trim(t), '[+-]?([0-9]{1,3}([.][0-9]{3})+|[0-9]*)(,[0-9]*)?([eE][+-]?[0-9]+)?')
        THEN vfl_number(replace(replace(t, '.', ''), ',', '.')) END""",
    "vfl_integer": """(t) AS
    CASE WHEN regexp_full_match(trim(t), '[+-]?[0-9]+(\\.0*)?')
        THEN TRY_CAST(regexp_replace(trim(t), '\\.0*$', '') AS BIGINT)
    ELSE vfl_whole(vfl_number(t)) END""",
    "vfl_truth": """(t) AS
    CASE WHEN lower(trim(t)) IN ('true', 't', 'yes', 'y', '1') THEN 1
        WHEN lower(trim(t)) IN ('false', 'f', 'no', 'n', '0') THEN 0 END""",
    "vfl_moment": f"""(t) AS
    CASE WHEN NOT regexp_full_match(trim(t), '{_MOMENT}') OR starts_with(trim(t), '0000') THEN NULL
        WHEN regexp_matches(trim(t), '.{{11}}.*[Z+-]') THEN epoch_us(TRY_CAST(trim(t) AS TIMESTAMPTZ))
        ELSE epoch_us(TRY_CAST(trim(t) AS TIMESTAMP)) END""",
    # Down, as of text: DuckDB's own conversion rounds from version 2.0 on, 23:59:59.9999999 to the next day.
    "vfl_micros": """(n) AS n // 1000 - CASE WHEN n % 1000 < 0 THEN 1 ELSE 0 END""",
    "vfl_real": f"""(x) AS
    CASE WHEN NOT isfinite(x) THEN NULL
    WHEN x = floor(x) AND abs(x) < {DIGITS:.0e} THEN CAST(CAST(x AS HUGEINT) AS VARCHAR)
    ELSE CAST(x AS VARCHAR) END""",
    "vfl_small": """(t, zeros) AS
    concat(left(t, 1), CASE WHEN length(t) > 1 THEN '.' ELSE '' END, substr(t, 2), 'e-',
        lpad(CAST(zeros + 1 AS VARCHAR), 2, '0'))""",
    "vfl_decimal": """(t) AS
    CASE WHEN NOT contains(t, '.') THEN t
    WHEN regexp_full_match(t, '-?0?\\.0*') THEN '0'
    WHEN regexp_matches(t, '^-?0?\\.0000') THEN concat(
        CASE WHEN starts_with(t, '-') THEN '-' ELSE '' END,
        vfl_small(trim(regexp_extract(t, '\\.0*([0-9]*)$', 1), '0'),
            length(regexp_extract(t, '\\.(0*)', 1))))
    ELSE rtrim(rtrim(regexp_replace(t, '^(-?)\\.', '\\10.'), '0'), '.') END""",
    "vfl_nfc": """(t) AS
    CASE WHEN contains(t, chr(0))
        THEN array_to_string(list_transform(string_split(t, chr(0)), lambda p: nfc_normalize(p)), chr(0))
    ELSE nfc_normalize(t) END""",
    "vfl_json": """(j) AS
    CASE WHEN json_type(j) = 'NULL' THEN NULL
    WHEN json_type(j) IN ('VARCHAR', 'BOOLEAN') OR regexp_full_match(j->>'$', '-?[1-9][0-9]*') THEN j->>'$'
    ELSE vfl_real(TRY_CAST(j->>'$' AS DOUBLE)) END""",
}
"""What expressions call, by name: each calls none but those before it."""


@dataclass(frozen=True, slots=True)
class Expression:
    """SQL for a column's value, and for whether there is a value that cannot be had as it was declared."""

    value: str
    bad: str = "false"


def define(connection: duckdb.DuckDBPyConnection, queries: Iterable[str]) -> None:
    """Makes the macros that some SQL calls, where they are not there yet: each takes a millisecond."""
    calling, called = " ".join(queries), list[str]()
    for name, definition in reversed(MACROS.items()):
        if name in calling:
            called.append(name)
            calling += definition
    for name in reversed(called):
        connection.execute(f"CREATE MACRO IF NOT EXISTS {name}{MACROS[name]}")


def typed(declared: str, type: str, name: str) -> Expression | None:
    """A column `name` of DuckDB's `type` as it was declared; None where it cannot be had so."""
    if (width := vector_width(declared)) is not None:
        return _as_vector(width, type, name)
    if declared in LISTS:
        return _as_list(declared, type, name)
    return _TYPED[declared](type, name)


def as_text(type: str, name: str) -> Expression | None:
    """The one text of each value of a column; None where values of its type have none."""
    if type == "JSON":
        return Expression(f"vfl_nfc(vfl_json({name}))", f"json_type({name}) IN ('OBJECT', 'ARRAY')")
    if type == '"NULL"':
        return Expression("CAST(NULL AS VARCHAR)")
    if type == "VARCHAR" or _enumerated(type):
        return Expression(f"vfl_nfc(CAST({name} AS VARCHAR))")
    if type in ("FLOAT", "DOUBLE"):
        return Expression(f"vfl_real(CAST({name} AS DOUBLE))")
    if _decimal(type):
        return Expression(f"vfl_decimal(CAST({name} AS VARCHAR))")
    if type == "TIME WITH TIME ZONE":
        return Expression(f"regexp_replace(CAST({name} AS VARCHAR), '[+]00$', '')")
    return Expression(f"CAST({name} AS VARCHAR)") if type in PLAIN else None


def _as_int(type: str, name: str) -> Expression | None:
    if type == '"NULL"':
        return Expression("CAST(NULL AS BIGINT)")
    if written := _written(type, name):
        return _read(written, f"vfl_integer({written})")
    if type in INTEGERS or type == "BOOLEAN":
        value = f"TRY_CAST({name} AS BIGINT)"
    elif _decimal(type):
        value = f"CASE WHEN {name} = floor({name}) THEN TRY_CAST({name} AS BIGINT) END"
    elif type in ("FLOAT", "DOUBLE"):
        value = f"vfl_whole(vfl_finite(CAST({name} AS DOUBLE)))"
        return Expression(value, f"isfinite({name}) AND {value} IS NULL")
    else:
        return None
    return Expression(value, f"{name} IS NOT NULL AND {value} IS NULL")


def _as_float(type: str, name: str) -> Expression | None:
    if type == '"NULL"':
        return Expression("CAST(NULL AS DOUBLE)")
    if written := _written(type, name):
        return _read(written, f"vfl_number({written})")
    if type in INTEGERS or type in ("BOOLEAN", "FLOAT", "DOUBLE") or _decimal(type):
        return Expression(f"vfl_finite(CAST({name} AS DOUBLE))")
    return None


def _as_comma(type: str, name: str) -> Expression | None:
    """A number, which text has with a decimal comma: `1.234,5`."""
    written = _written(type, name)
    return _read(written, f"vfl_comma({written})") if written else _as_float(type, name)


def _as_list(declared: str, type: str, name: str) -> Expression | None:
    """Lists and arrays of values, each had as a column of them would be."""
    element = declared.removeprefix("list(").removesuffix(")")
    inside = re.fullmatch(r"(.+)\[\d*\]", type)
    items, wrong = name, "false"
    if type == "JSON":
        items = f"CASE WHEN json_type({name}) = 'ARRAY' THEN json_extract({name}, '$[*]') END"
        wrong = f"json_type({name}) NOT IN ('ARRAY', 'NULL')"
    elif inside is not None:
        items = name if type.endswith("[]") else f"CAST({name} AS {inside[1]}[])"
    elif type == '"NULL"':
        return Expression(f"CAST(NULL AS {'BIGINT' if element == 'int' else 'VARCHAR'}[])")
    each = typed(element, "JSON" if inside is None else inside[1], "x") if inside or type == "JSON" else None
    if each is None:
        return None
    bad = f"len(list_filter({items}, lambda x: {each.bad})) > 0"
    return Expression(f"list_transform({items}, lambda x: {each.value})", f"{wrong} OR {bad}")


def _as_truth(type: str, name: str) -> Expression | None:
    """1 or 0: of truth, of these numbers, and of words for it."""
    if type == '"NULL"':
        return Expression("CAST(NULL AS BIGINT)")
    if written := _written(type, name):
        return _read(written, f"CAST(vfl_truth({written}) AS BIGINT)")
    if type == "BOOLEAN":
        return Expression(f"CAST({name} AS BIGINT)")
    if not (type in INTEGERS or type in ("FLOAT", "DOUBLE") or _decimal(type)):
        return None
    value = f"CASE WHEN {name} IN (0, 1) THEN CAST({name} AS BIGINT) END"
    return Expression(value, f"isfinite(CAST({name} AS DOUBLE)) AND {value} IS NULL")


def _as_timestamp(type: str, name: str) -> Expression | None:
    """Microseconds since 1970 began in UTC, of moments and of their text."""
    if type == '"NULL"':
        return Expression("CAST(NULL AS BIGINT)")
    if written := _written(type, name):
        return _read(written, f"vfl_moment({written})")
    zoned = "WITH TIME ZONE" in type or type == "TIMESTAMPTZ_NS"
    if type != "DATE" and not type.startswith("TIMESTAMP"):
        return None
    moment = f"TRY_CAST({name} AS TIMESTAMP{'TZ' * zoned})"
    finite = f"isfinite({name if type == 'DATE' else moment})"
    micros = f"vfl_micros(epoch_ns({name}))" if type.endswith("_NS") else f"epoch_us({moment})"
    value = f"CASE WHEN {finite} THEN {micros} END"
    return Expression(value, f"{finite} AND {value} IS NULL")


def _as_date(type: str, name: str) -> Expression | None:
    """The same of days: a moment that is no midnight is none."""
    moment = _as_timestamp(type, name)
    if moment is None or type in ("DATE", '"NULL"'):
        return moment
    whole = f"CASE WHEN ({moment.value}) % {DAY} = 0 THEN {moment.value} END"
    return Expression(whole, f"({moment.bad}) OR ({moment.value}) % {DAY} != 0")


_TYPED: dict[str, Callable[[str, str], Expression | None]] = {
    "string": as_text,
    "int": _as_int,
    "float": _as_float,
    DECIMAL_COMMA: _as_comma,
    "bool": _as_truth,
    "date": _as_date,
    "timestamp": _as_timestamp,
}


def _as_vector(width: int, type: str, name: str) -> Expression | None:
    """Lists and arrays of numbers, also as JSON or in text: `[1, 2.5]`."""
    if type == '"NULL"':
        return Expression(f"CAST(NULL AS DOUBLE[{width}])")
    listed = re.fullmatch(r"([A-Z]+)(\(\d+,\d+\))?\[\d*\]", type)
    if written := _written(type, name):
        numbers = f"TRY_CAST({written} AS DOUBLE[])"
        lost = f"list_count({numbers}) IS DISTINCT FROM list_count(TRY_CAST({written} AS VARCHAR[]))"
        wrong = f"trim({written}) != '' AND (len({numbers}) IS DISTINCT FROM {width} OR {lost})"
    elif listed and listed[1] in INTEGERS | {"FLOAT", "DOUBLE", "DECIMAL"}:
        numbers = f"CAST({name} AS DOUBLE[])"
        wrong = f"len({numbers}) != {width}"
    else:
        return None
    return Expression(f"TRY_CAST({numbers} AS DOUBLE[{width}])", f"{name} IS NOT NULL AND {wrong}")


def _written(type: str, name: str) -> str | None:
    """The text of a column whose numbers are written out."""
    if type == "JSON":
        return f"({name}->>'$')"
    return f"CAST({name} AS VARCHAR)" if type == "VARCHAR" or _enumerated(type) else None


def _read(written: str, value: str) -> Expression:
    return Expression(value, f"{written} IS NOT NULL AND NOT vfl_absent({written}) AND {value} IS NULL")


def _enumerated(type: str) -> bool:
    return type.startswith("ENUM") and not type.endswith("]")


def _decimal(type: str) -> bool:
    return type.startswith("DECIMAL") and not type.endswith("]")


def is_long(text: str) -> bool:
    """Whether a text is a whole number of more than 64 signed bits."""
    return re.fullmatch(r"\s*[+-]?[0-9]{19,}(\.0*)?\s*", text) is not None


def restored(keys: pa.Array, type: str, suffix: str) -> pa.Array:
    """Keys as their table held them: numbers, truth, days, times and moments; all others as text.

    In a text file only what is written there as its one text, so that it is read again as the same key.

    Args:
        keys: their texts [n].
        type: of the key column, as DuckDB calls it.
        suffix: of the file they are written to, `.csv` or `.parquet`.
    """
    plain = type in INTEGERS - {"HUGEINT", "UHUGEINT"} | {"BOOLEAN", "DATE"}
    moment = type.startswith("TIME") and type in PLAIN
    if not plain and (suffix == ".csv" or not (moment or _decimal(type) or type in ("FLOAT", "DOUBLE"))):
        return keys
    if type in _ARROW:
        return keys.cast(_ARROW[type])
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("given", pa.table({"key": keys}))
        query = f"SELECT CAST(key AS {type}) AS key FROM given"
        return connection.sql(query).to_arrow_table().column(0).combine_chunks()
