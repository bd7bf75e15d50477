"""Diagnostics, as an editor underlines them."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from vflc.diagnostics import Diagnostic, Span
from vflc.diagnostics.diagnostic import Severity
from vflc.lsp.analysis import Document


class Squiggle(Struct, frozen=True):
    """A finding at its place in this text.

    Args:
        related: other places of it, with what they have to do with the finding.
        elsewhere: where it really is, in a file that this text uses.
    """

    start: int
    end: int
    level: Severity
    code: str
    message: str
    related: tuple[tuple[int, int, str], ...]
    elsewhere: tuple[Path, int, int, str] | None = None


def squiggles(analysis: Document) -> list[Squiggle]:
    """All findings. One about another file stands where that is used; one about none, at the start."""
    return [_squiggle(analysis, found) for found in analysis.diagnostics]


def _squiggle(analysis: Document, found: Diagnostic) -> Squiggle:
    span = found.span
    own = span is not None and span.source is analysis.source
    start, end = (span.start, span.end) if span is not None and own else (0, 0)
    message = found.message if own or span is None else f"{span}: {found.message}"
    if found.help:
        message += f"\n{found.help}"
    related = tuple(
        (label.span.start, label.span.end, label.text)
        for label in found.labels
        if label.span.source is analysis.source
    )
    elsewhere = None
    if span is not None and not own and (used := _use_of(analysis, span)) is not None:
        start, end, path = used
        elsewhere = (path, span.start, span.end, found.message)
    return Squiggle(start, end, found.level, found.code, message, related, elsewhere)


def _use_of(analysis: Document, span: Span) -> tuple[int, int, Path] | None:
    """Where this text uses the file that a finding is about, or what uses that in turn."""
    for item, path in analysis.imports():
        if item.file is not None and item.file.value == span.source.name:
            return item.file.span.start, item.file.span.end, path
    return None
