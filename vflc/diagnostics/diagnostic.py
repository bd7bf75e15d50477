"""One model for everything that vflc has to say about a user's text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Struct, field

from vflc.diagnostics.span import Span

Severity = Literal["error", "warning", "note"]


class RelatedSpan(Struct, frozen=True):
    """A second place in the text and what it has to do with the finding."""

    span: Span
    text: str


class Diagnostic(Struct, frozen=True):
    """A finding: its code, what is wrong, where, and what to do next."""

    code: str
    message: str
    span: Span | None = None
    help: str | None = None
    labels: tuple[RelatedSpan, ...] = ()
    level: Severity = "error"


class Refused(Exception):
    """The input was refused: carries every diagnostic, the first of them an error."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in diagnostics))
        self.diagnostics = diagnostics


MOST_ERRORS = 100
"""So many are reported at once; who wrote more mends these first."""
WHOLE = frozenset({"VFL0109"})
"""Codes that say that a part of the spec is missing."""
MISSING = WHOLE | {"VFL0101", "VFL0105", "VFL0106", "VFL0403"}
"""Codes that say that a name is unknown, at that name, and those of `WHOLE`."""
ANYTHING = "*"
"""Stands in `DiagnosticCollector.left_out` for names that nobody knows."""
_WORDS = re.compile(r"\w+")


class DiagnosticCollector(Struct):
    """Collects findings so that one run reports them all, each once."""

    diagnostics: list[Diagnostic] = field(default_factory=list)
    full: bool = False
    going: Callable[[], None] = lambda: None
    """Called now and then: what it raises ends a check that nobody waits for any more."""
    left_out: set[str] = field(default_factory=set)
    """Words of what could not be read, which has been reported: what they declare is not missing."""
    _seen: set[Diagnostic] = field(default_factory=set)

    def error(
        self, code: str, message: str, span: Span | None = None, help: str | None = None, *labels: RelatedSpan
    ) -> None:
        if not self._follows(code, span):
            self._collect(Diagnostic(code, message, span, help, labels))

    def warning(
        self, code: str, message: str, span: Span | None = None, help: str | None = None, *labels: RelatedSpan
    ) -> None:
        self._collect(Diagnostic(code, message, span, help, labels, "warning"))

    def note(self, code: str, message: str, span: Span | None = None, help: str | None = None) -> None:
        self._collect(Diagnostic(code, message, span, help, level="note"))

    def _follows(self, code: str, span: Span | None) -> bool:
        """Whether something is said to be missing that may stand in what was left out."""
        if code not in MISSING or not self.left_out:
            return False
        if code in WHOLE or span is None or ANYTHING in self.left_out:
            return True
        return not self.left_out.isdisjoint(_WORDS.findall(span.text))

    def _collect(self, found: Diagnostic) -> None:
        if self.full or found in self._seen:
            return
        self._seen.add(found)
        if found.level == "error" and len(self.errors) == MOST_ERRORS:
            self.full = True
            message = f"only {MOST_ERRORS} errors are shown, and there are more"
            found = Diagnostic("VFL0017", message, found.span, "fix these and check again", level="note")
        self.diagnostics.append(found)

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if d.level == "error"]

    def refuse_errors(self) -> None:
        """Raises `Refused` with everything found, if any of it is an error."""
        if self.errors:
            raise Refused(in_order(self.diagnostics))


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """As they are shown: errors first, then from the top of each file to its end."""
    return sorted(diagnostics, key=_order)


def _order(diagnostic: Diagnostic) -> tuple[int, str, int]:
    place = (diagnostic.span.source.name, diagnostic.span.start) if diagnostic.span else ("", 0)
    return (diagnostic.level != "error", *place)
