"""Diagnostics, as an editor underlines them."""

from __future__ import annotations

from msgspec import Struct

from vflc.diagnostics import Diagnostic
from vflc.diagnostics.diagnostic import Severity
from vflc.lsp.analysis import Document


class Squiggle(Struct, frozen=True):
    """A finding at its place in this text; `related` are other places, with what they have to do with it."""

    start: int
    end: int
    level: Severity
    code: str
    message: str
    related: tuple[tuple[int, int, str], ...]


def squiggles(analysis: Document) -> list[Squiggle]:
    """All findings. One about another file, or about none, stands where the text begins."""
    return [_squiggle(analysis, found) for found in analysis.examined.diagnostics]


def _squiggle(analysis: Document, found: Diagnostic) -> Squiggle:
    own = found.span is not None and found.span.source is analysis.source
    start, end = (found.span.start, found.span.end) if found.span is not None and own else (0, 0)
    message = found.message if own or found.span is None else f"{found.span}: {found.message}"
    if found.help:
        message += f"\n{found.help}"
    related = tuple(
        (label.span.start, label.span.end, label.text)
        for label in found.labels
        if label.span.source is analysis.source
    )
    return Squiggle(start, end, found.level, found.code, message, related)
