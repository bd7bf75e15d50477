"""Quick fixes and formatting: edits that mend a text or write it in the one way of writing it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice

from msgspec import Struct

from vflc.diagnostics import Diagnostic, DiagnosticCollector, Refused, SourceText
from vflc.driver import repaired
from vflc.ir.stages import Partitioned
from vflc.lsp.analysis import Document
from vflc.lsp.cures import Cure, cures
from vflc.lsp.positions import TextChange, applied, difference
from vflc.syntax.format import format_spec
from vflc.syntax.parser import parse

_GRANTS = "Add the grants that are missing, each with what it gives"
UNGRANTED = "VFL0340"
"""More may be learned than is granted: a grant mends it, or a mechanism with a proof and one of its ε."""
PARSED = "VFL0018"
"""Codes before this one are found without a look at what names mean."""
EPSILON = 4
"""What a fix that adds a mechanism writes: who keeps it chooses another."""
MOST_TRIED = 12
"""So many cures of one place are tried."""


class QuickFix(Struct, frozen=True):
    """A fix.

    Args:
        code, start: of the finding that it mends; None of one that mends several.
        mends: whether it mends anything; else it is offered at a place that could be written in another way.
        preferred: whether it is what is most likely meant.
    """

    title: str
    edits: tuple[TextChange, ...]
    code: str | None = None
    start: int = 0
    mends: bool = True
    preferred: bool = False


def quick_fixes(analysis: Document, start: int, end: int) -> list[QuickFix]:
    """Fixes of findings that touch the characters from `start` to `end`. Each one mends what it says."""
    found: list[QuickFix] = []
    for diagnostic in analysis.diagnostics:
        span = diagnostic.span
        if span is None or span.source is not analysis.source or span.start > end or span.end < start:
            continue
        best: dict[str, tuple[int, Cure]] = {}
        for cure in _tried(analysis, diagnostic):
            left = _left(analysis, cure, diagnostic)
            if left is not None and (cure.title not in best or left < best[cure.title][0]):
                best[cure.title] = left, cure
        for _, cure in best.values():
            sole = len(best) == 1
            found.append(QuickFix(cure.title, cure.edits, diagnostic.code, span.start, preferred=sole))
    mended = difference(analysis.text, repaired(analysis.examined))
    if mended:
        found.append(QuickFix(_GRANTS, tuple(mended)))
    return [*found, *_others(analysis, start, end)]


def formatted(analysis: Document, span: tuple[int, int] | None = None) -> list[TextChange]:
    """Edits to canonical form, of all or of the lines that a span touches; none where it does not parse."""
    try:
        after = format_spec(analysis.text, analysis.source.name)
    except Refused:
        return []
    edits = list(_lines(analysis.text, after))
    return [each for each in edits if span is None or (each.start <= span[1] and span[0] <= each.end)]


def _lines(before: str, after: str) -> Iterator[TextChange]:
    """An edit for each run of lines that differ."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    starts = [0]
    for line in old:
        starts.append(starts[-1] + len(line))
    for kind, first, last, begin, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            yield TextChange(starts[first], starts[last], "".join(new[begin:end]))


def _tried(analysis: Document, diagnostic: Diagnostic) -> list[Cure]:
    found = list(islice(cures(analysis, diagnostic), MOST_TRIED))
    if diagnostic.code == UNGRANTED:
        found += [cure for cure in _protections(analysis, diagnostic) if cure.edits]
    return found


def _left(analysis: Document, cure: Cure, diagnostic: Diagnostic) -> int | None:
    """How much does not parse after a cure; None where the finding is not gone then, or less parses."""
    text = applied(analysis.text, list(cure.edits))
    after = _syntax(text) if diagnostic.code < PARSED else analysis.again(text).diagnostics
    counted = Counter(map(_same, after)), Counter(map(_same, analysis.diagnostics))
    unread, before = _unread(after), _unread(analysis.diagnostics)
    gone = counted[0][_same(diagnostic)] < counted[1][_same(diagnostic)]
    return unread if gone and unread <= before else None


def _unread(found: list[Diagnostic]) -> int:
    return sum(each.code < PARSED for each in found)


def _syntax(text: str) -> list[Diagnostic]:
    """What is wrong with a text before anything in it means something."""
    collector = DiagnosticCollector()
    parse(SourceText("spec.vfl", text), collector)
    return collector.diagnostics


def _same(diagnostic: Diagnostic) -> tuple[str, str]:
    return diagnostic.code, diagnostic.message


def _protections(analysis: Document, diagnostic: Diagnostic) -> Iterator[Cure]:
    """A mechanism with a proof before a label that is not granted, with a grant of its ε.

    No one statement bounds what is told of features: weights that are trained on them tell of them, too.
    """
    model = analysis.examined.model
    for party in model.parties if isinstance(model, Partitioned) else ():
        for column in party.columns:
            named = re.search(
                rf"\b{party.name}\b.*\b{column.name}\b|\b{column.name}\b.*\b{party.name}\b",
                diagnostic.message,
            )
            if column.kind == "label" and named is not None:
                label = f"{party.name}.{column.name}"
                text = f"{analysis.text.rstrip()}\nprotect {label} with label_dp(epsilon = {EPSILON})\n"
                mended = repaired(analysis.again(text).examined)
                if f"{column.name} at most epsilon" in mended.removeprefix(text):
                    title = f"Protect `{label}` with `label_dp(epsilon = {EPSILON})`, and grant that"
                    yield Cure(title, tuple(difference(analysis.text, mended)))


def _others(analysis: Document, start: int, end: int) -> Iterator[QuickFix]:
    """What a value outside of a vocabulary stands for: without that a run refuses it."""
    for found in re.finditer(r"\bvocab\(([^()\n]*)\)", analysis.text):
        if found.start() <= start and end <= found.end() and "default" not in found[1]:
            edit = TextChange(found.end() - 1, found.end() - 1, ", default = other")
            title = "Add `default = other`: values outside the vocabulary are one category"
            if not _more_errors(analysis, edit):
                yield QuickFix(title, (edit,), mends=False)


def _more_errors(analysis: Document, edit: TextChange) -> bool:
    after = analysis.again(applied(analysis.text, [edit])).diagnostics
    return sum(d.level == "error" for d in after) > sum(d.level == "error" for d in analysis.diagnostics)
