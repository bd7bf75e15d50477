"""Findings for programs: a list of flat objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from vflc.diagnostics.diagnostic import Diagnostic, in_order
from vflc.diagnostics.span import Span


def render(diagnostics: Sequence[Diagnostic]) -> str:
    """A JSON list; lines and columns count from 1, `end_column` is the one after the last.

    A finding that is not about a place in a file has null in all five.
    """
    found = [as_object(diagnostic) for diagnostic in in_order(diagnostics)]
    return json.dumps(found, indent=2, ensure_ascii=False)


def as_object(diagnostic: Diagnostic) -> dict[str, Any]:
    """One finding, as the list holds it."""
    return {
        **place(diagnostic.span),
        "code": diagnostic.code,
        "level": diagnostic.level,
        "message": diagnostic.message,
        "help": diagnostic.help,
        "labels": [{**place(label.span), "text": label.text} for label in diagnostic.labels],
    }


def place(span: Span | None) -> dict[str, Any]:
    """A span by lines and columns."""
    if span is None:
        return dict.fromkeys(("file", "line", "column", "end_line", "end_column"))
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }
