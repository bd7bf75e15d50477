"""Statements of a file, without the expressions in them, of which there are ten times as many."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

NAMED = ("body", "orelse", "finalbody")


def statements(body: Sequence[ast.AST], inside: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Each statement, with what it stands in: "function", "types" (read by type checkers alone) or ""."""
    for node in body:
        yield node, inside
        within = inside
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            within = inside or "function"
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            within = inside or "types"
        for name in NAMED:
            yield from statements(getattr(node, name, ()), within)
        for name in ("handlers", "cases"):
            yield from statements(getattr(node, name, ()), within)
