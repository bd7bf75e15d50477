"""What to do about a column, or a value, that cannot be had as declared: the help of VFL0603 and VFL0634.

A table in files is converted by a query that DuckDB runs; one at a server in the server's own SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vflc_common.text import written
from vflc_common.words import DATES, DECIMAL_COMMA, LISTS, vector_width

from vflc_runtime.data.values import INTEGERS, as_text, is_long

HELP = {
    **dict.fromkeys(LISTS, "give every row a list of such values; null is an empty one"),
    DECIMAL_COMMA: "correct the values: a comma is the decimal sign, points stand between thousands: 1.234,5",
    "bool": "correct the values: true and false, yes and no, 1 and 0 are understood; leave missing ones out",
    "date": "declare the column timestamp where days have times; write dates as 2024-01-31, or convert them "
    "{}",
    "timestamp": "write timestamps as 2024-01-31 08:00:00 or 2024-01-31T08:00:00+01:00, or convert them {}",
}
"""What to do about a value that is not of a column's type."""
HOW = {
    "date": "in a query: sql:SELECT … strptime(D, '%d.%m.%Y') AS D",
    "timestamp": "in a query: sql:SELECT … strptime(T, '%d.%m.%Y %H:%M') AS T",
}
"""How it is converted in a file."""


OWN_SQL = "in the URL's query, in the server's own SQL: ?query=SELECT …"
"""Where a column of a server is converted."""


def what_to_do(name: str, declared: str, type: str, server: bool = False) -> str:
    """How a column of a type that cannot be had as it was declared may be used all the same.

    `server`: it is of a table at a database server, whose SQL is its own.
    """
    called = '"' + name.replace('"', '""') + '"'

    def query(way: str) -> str:
        return OWN_SQL if server else f"in a query: sql:SELECT … {way} AS {called}"

    if (width := vector_width(declared)) is not None:
        return f"make a list of {width} numbers of it {query('[a, b]')}"
    if re.fullmatch(r"(FLOAT|DOUBLE)\[\d+\]", type):
        return f"declare it with its length: vector({type.partition('[')[2].rstrip(']')})"
    if declared in LISTS and not type.endswith("]"):
        return 'declare it string, and split it in the spec: feature X: string -> split("|")'
    if type.endswith("]"):
        first = ""
        if declared in ("string", "int") and as_text(type.partition("[")[0], name) is not None:
            element = "int" if type.partition("[")[0] in INTEGERS else "string"
            first = f"declare it list({element}), or "
        joined = query(f"array_to_string({called}, '|')")
        return f'{first}split it in the spec, -> split("|"), and join the list into one text {joined}'
    if type.startswith(("STRUCT", "MAP", "UNION", "TUPLE", "VARIANT")):
        return f"select the part you need {query(f'{called}.part')}"
    if declared in DATES:
        if type.startswith("TIME"):
            return f"convert it {query(f'DATE + {called}')}"
        example = "" if server else ", of seconds since 1970 for instance"
        return f"convert it {query(f'to_timestamp({called})')}{example}"
    ways = {
        "BLOB": f"decode({called}) or hex({called})",
        "INTERVAL": f"epoch({called})",
        "BIT": f"CAST({called} AS VARCHAR)",
        "BIGNUM": f"CAST({called} AS VARCHAR)",
    }
    if declared != "string" and as_text(type, name) is not None:
        if type.startswith(("DATE", "TIMESTAMP")):
            return f"declare it {'date' if type == 'DATE' else 'timestamp'}"
        way = f"epoch({called})" if type.startswith("TIME") else f"CAST({called} AS BIGINT)"
        return f"declare it string, or convert it to a number {query(way)}"
    return f"convert it {query(ways.get(type, f'CAST({called} AS VARCHAR)'))}"


def about_value(column: Mapping[str, Any], called: str, value: str, server: bool = False) -> str:
    """What to do about a value that is not of the type of its `column`, as encoders.json describes it.

    `called` is the column's name in the table, `server` as for `what_to_do`.
    """
    declared = column["type"]
    if declared == "int" and is_long(value):
        return "declare the column string: this number does not fit a 64-bit int"
    if declared in ("int", "float") and re.fullmatch(r"\s*[+-]?[0-9.]*,[0-9]+\s*", str(value)):
        shown_as = f'{column.get("kind", "column")} {written(called)}: float(",")'
        return f'if this is a decimal comma, declare the column float(","): {shown_as}'
    if declared in HELP:
        return HELP[declared].format(OWN_SQL if server else HOW.get(declared))
    if declared == "string":
        return what_to_do(called, "string", "JSON", server)
    if vector_width(declared) is not None:
        return f"give every row so many numbers, or none and an encoder: {declared} -> missing(0)"
    return "correct the values, leave missing ones empty, or declare the column string"
