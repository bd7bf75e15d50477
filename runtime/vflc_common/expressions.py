"""What expressions over the columns of a table are made of, and the type of what they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vflc_common.words import DATES, kind_of

ExpressionTree = Mapping[str, Any]
"""`{"op", "args"}`, `{"call", "args"}`, `{"column"}`, `{"number"}` or `{"string"}`."""

CALLS = {
    "floor": "int", "round": "int", "abs": "float", "log": "float", "exp": "float", "sqrt": "float",
    "lower": "string", "strip": "string", "is_missing": "float", "cross": "string",
}  # fmt: skip
"""Functions of one value, with the type of what they give; `cross` is of several."""
CROSSED = ("string", "int")
"""What `cross` takes: what has one text."""
EXACT = 2.0**53
"""Below it, every whole number has a double of its own."""
BETWEEN = "_X_"
"""Stands between texts that are crossed, as in TensorFlow's `tf.sparse.cross`."""
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
CONDITIONS = (*COMPARISONS, "and", "or", "not")
"""Operators whose value is true or false."""


def columns(tree: ExpressionTree) -> Iterator[str]:
    """The names of the columns that an expression reads, as often as it does."""
    if "column" in tree:
        yield tree["column"]
    for argument in tree.get("args", ()):
        yield from columns(argument)


def operation_type(operator: str, types: tuple[str, ...]) -> str:
    """The type of an operator's value, `int` or `float`, given those of its arguments."""
    types = tuple("int" if type in DATES else type for type in types)
    if len(types) == 1:
        return types[0]
    if operator in CONDITIONS:
        return "float"
    return "int" if operator == "//" or (set(types) == {"int"} and operator not in ("/", "**")) else "float"


def type_of(tree: ExpressionTree, types: Mapping[str, str]) -> str:
    """The kind of an expression, `int`, `float`, `string` or a date, given the types of the columns."""
    if "column" in tree:
        return kind_of(types[tree["column"]])
    if "string" in tree:
        return "string"
    if "number" in tree:
        return "int" if isinstance(tree["number"], int) else "float"
    if "call" in tree:
        return CALLS[tree["call"]]
    return operation_type(tree["op"], tuple(type_of(argument, types) for argument in tree["args"]))


def renamed(tree: ExpressionTree, names: Mapping[str, str]) -> ExpressionTree:
    """The same expression over columns of other names."""
    if "column" in tree:
        return {**tree, "column": names[tree["column"]]}
    return {**tree, "args": [renamed(part, names) for part in tree["args"]]} if "args" in tree else tree
