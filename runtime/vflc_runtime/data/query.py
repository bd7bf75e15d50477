"""A party's own SQL as a source: parsed by DuckDB, held to one SELECT, and told which files it reads.

The text that runs is never the text that was given. DuckDB parses that into a tree; the tree is checked
node by node against what a source may be, its paths are made absolute, and DuckDB writes the statement
anew from it. So nothing can be hidden from the check by quotes, comments or a second statement.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from vflc_runtime.errors import Failure

SqlTree = dict[str, Any]
ResolvePath = Callable[[str], str]
"""Makes a path of a query absolute, or refuses it."""

NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
TABLES = {
    "BASE_TABLE",
    "SUBQUERY",
    "JOIN",
    "TABLE_FUNCTION",
    "EMPTY",
    "EMPTY_FROM",
    "EXPRESSION_LIST",
    "PIVOT",
}
READERS = {
    "read_csv", "read_csv_auto", "read_parquet", "parquet_scan",
    "read_json", "read_json_auto", "read_ndjson", "read_ndjson_auto",
}  # fmt: skip
MAKERS = {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"}
"""Table functions that read no file."""
_HELP = "write one SELECT over files: SELECT … FROM 'rows.parquet'"


@dataclass
class Query:
    """A query that has been checked.

    Attributes:
        sql: one SELECT, as DuckDB writes it.
        paths: the files and globs it reads, absolute, in the order they stand.
    """

    sql: str = ""
    paths: list[str] = field(default_factory=list)


def check(connection: duckdb.DuckDBPyConnection, text: str, party: str, place: ResolvePath) -> Query:
    """Parses and checks the SQL of a party; runs nothing of it.

    Args:
        connection: parses; any will do.
        text: the SQL.
        party: whose it is, for messages.
        place: makes each path absolute, or raises.

    Raises:
        Failure: VFL0601 where it is no SQL, VFL0630 where it is more than a SELECT over files.
    """
    query = Query()
    try:
        parsed = json.loads(_call(connection, "json_serialize_sql", text))
        statements = parsed.get("statements", [])
        if parsed["error"] and parsed.get("error_type") == "parser":
            raise Failure("VFL0601", f"{party}'s query is not SQL: {parsed['error_message']}", _HELP)
        if parsed["error"] or len(statements) != 1 or "\0" in text:
            raise refused(
                party, f"it has {len(statements)} statements" if statements else "it is not a SELECT"
            )
        nodes = list(_nodes(statements[0]))
        named = {entry["key"].lower() for node in nodes for entry in node.get("cte_map", {}).get("map", [])}
        if any(set("./\\*?[") & set(name) for name in named):
            raise refused(party, "the name after WITH looks like a file's")
        for node in nodes:
            _check(node, named, query, party, place)
        query.sql = _call(connection, "json_deserialize_sql", json.dumps(parsed)).strip().rstrip(";")
    except RecursionError:
        raise refused(party, "it is nested too deeply") from None
    return query


def refused(party: str, reason: str) -> Failure:
    """VFL0630."""
    return Failure("VFL0630", f"{party}'s query is refused: {reason}", _HELP)


def _call(connection: duckdb.DuckDBPyConnection, function: str, text: str) -> str:
    ((found,),) = connection.execute(f"SELECT {function}(?)", [text]).fetchall()
    return str(found)


def _nodes(tree: Any) -> Iterator[SqlTree]:
    """Every object of the tree, those further up first."""
    waiting = [tree]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(reversed(each))


def _check(node: SqlTree, named: set[str], query: Query, party: str, place: ResolvePath) -> None:
    kind = node.get("type")
    if not isinstance(kind, str):
        return
    if kind.endswith("_NODE") and kind not in NODES:
        raise refused(party, f"it does more than read ({kind.split('_')[0]})")
    if "class" in node or not {"alias", "sample"} <= set(node):
        return  # an expression, or no reference to a table
    if kind not in TABLES:
        raise refused(party, f"{kind.split('_')[0]} is not a table")
    if kind == "BASE_TABLE":
        _base(node, named, query, party, place)
    elif kind == "TABLE_FUNCTION":
        _function(node["function"], query, party, place)


def _base(node: SqlTree, named: set[str], query: Query, party: str, place: ResolvePath) -> None:
    """A name after FROM: of a WITH, or a file."""
    name = node["table_name"]
    if node.get("schema_name") or node.get("catalog_name") or node.get("at_clause"):
        raise refused(party, f"{name} is named with a schema; write a file in quotes: FROM 'rows.parquet'")
    if name.lower() in named:
        return
    node["table_name"] = place(name)
    if "qualified_name" in node:
        node["qualified_name"] = {"path": [node["table_name"]]}
    query.paths.append(node["table_name"])


def _function(function: SqlTree, query: Query, party: str, place: ResolvePath) -> None:
    """A function after FROM: one that reads the files it names, or one that reads none."""
    name = function["function_name"].lower()
    if name in MAKERS:
        return
    if name not in READERS:
        known = ", ".join(sorted(READERS - {"parquet_scan"} | {"range", "unnest"}))
        raise refused(party, f"{name} is not allowed after FROM; allowed are {known}")
    files = _arguments(function)[:1]
    if files and files[0].get("function_name") == "list_value":
        files = _arguments(files[0])
    elif files and files[0].get("type") == "ARRAY_CONSTRUCTOR":
        files = files[0]["children"]
    texts = [_text(file) for file in files]
    if not texts or None in texts:
        raise refused(party, f"the files of {name} must be literal names, as in {name}('rows.csv')")
    for holder, key in texts:  # type: ignore[misc]
        holder[key] = place(holder[key])
        query.paths.append(holder[key])


def _arguments(function: SqlTree) -> Sequence[SqlTree]:
    """The arguments, by the trees of DuckDB 1 and of DuckDB 2."""
    if "arguments" in function:
        return [argument["expression"] for argument in function["arguments"] if not argument["name"]]
    return list(function["children"])


def _text(tree: SqlTree) -> tuple[SqlTree, str] | None:
    """Where a constant text stands; None for everything else."""
    literal, value = tree.get("literal"), tree.get("value")
    if isinstance(literal, dict) and literal.get("kind") == "STRING":
        return literal, "text"
    if isinstance(value, dict) and isinstance(value.get("value"), str):
        return value, "value"
    return None
