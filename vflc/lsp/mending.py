"""Quick fixes and formatting: edits that mend a text or write it in the one way of writing it."""

from __future__ import annotations

import re
from collections import Counter

from msgspec import Struct

from vflc.diagnostics import Diagnostic, Refused
from vflc.driver import repaired
from vflc.lsp.analysis import Document
from vflc.lsp.positions import TextChange, applied, difference
from vflc.syntax.format import format_spec

_MEANT = re.compile(r"did you mean `([^`\n]+)`\?")
_GRANTS = "Add the grants that are missing, each with what it gives"


class QuickFix(Struct, frozen=True):
    """What a fix is called, its edits, and the finding that it mends (None: several)."""

    title: str
    edits: tuple[TextChange, ...]
    code: str | None = None
    start: int = 0


def quick_fixes(analysis: Document, start: int, end: int) -> list[QuickFix]:
    """Fixes of findings that touch the characters from `start` to `end`. Each one mends what it says."""
    found = []
    for diagnostic in analysis.examined.diagnostics:
        span = diagnostic.span
        if span is None or span.source is not analysis.source or span.start > end or span.end < start:
            continue
        edits = _meant(diagnostic)
        if edits and _mends(analysis, edits, diagnostic):
            found.append(QuickFix(f"Write `{edits[0].text}`", edits, diagnostic.code, span.start))
    mended = difference(analysis.text, repaired(analysis.examined))
    if mended:
        found.append(QuickFix(_GRANTS, tuple(mended)))
    return found


def formatted(analysis: Document) -> list[TextChange]:
    """Edits to the text in canonical form; none where it does not parse."""
    try:
        return difference(analysis.text, format_spec(analysis.text, analysis.source.name))
    except Refused:
        return []


def _meant(diagnostic: Diagnostic) -> tuple[TextChange, ...]:
    """The word that was meant in place of the one that the finding is about."""
    meant = _MEANT.search(diagnostic.help or "")
    span = diagnostic.span
    if meant is None or span is None:
        return ()
    last = re.search(r"[^\W\d]\w*$", span.text)
    if "." not in meant[1] and last is not None:  # of `alice.Agee` the column alone
        return (TextChange(span.start + last.start(), span.end, meant[1]),)
    return (TextChange(span.start, span.end, meant[1]),)


def _mends(analysis: Document, edits: tuple[TextChange, ...], diagnostic: Diagnostic) -> bool:
    """Whether the finding is gone then, and the text parses no worse."""
    after = analysis.again(applied(analysis.text, list(edits))).examined.diagnostics
    before = Counter(_same(each) for each in analysis.examined.diagnostics)
    return Counter(_same(each) for each in after)[_same(diagnostic)] < before[_same(diagnostic)]


def _same(diagnostic: Diagnostic) -> tuple[str, str]:
    return diagnostic.code, diagnostic.message
