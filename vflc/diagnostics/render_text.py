"""Findings for a terminal: the message, the user's own lines, carets, what to do next."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vflc.diagnostics.diagnostic import Diagnostic, in_order
from vflc.diagnostics.span import Source, Span

TAB = 4
WIDEST = 140
"""Longer lines are cut around what they are shown for."""

_COLOURS = {"error": "31", "warning": "33", "note": "36", "gutter": "34"}


def render(diagnostics: Sequence[Diagnostic], colour: bool = False) -> str:
    """All findings in order, a blank line between them, and their number where there are several."""
    parts = [_one(diagnostic, colour) for diagnostic in in_order(diagnostics)]
    if len(diagnostics) > 1:
        levels = [diagnostic.level for diagnostic in diagnostics]
        counts = [(levels.count(level), level) for level in ("error", "warning", "note")]
        parts.append(", ".join(f"{n} {level}{'s' * (n > 1)}" for n, level in counts if n))
    return "\n\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Mark:
    """What is underlined in one line: offsets in the line, and what is said of it."""

    line: int
    start: int
    end: int
    text: str
    primary: bool


def _one(diagnostic: Diagnostic, colour: bool) -> str:
    def paint(text: str, style: str, bold: bool = True) -> str:
        return f"\x1b[{'1;' * bold}{_COLOURS[style]}m{text}\x1b[0m" if colour and text else text

    level = diagnostic.level
    strong = f"\x1b[1m{_clean(diagnostic.message)}\x1b[0m" if colour else _clean(diagnostic.message)
    lines = [f"{paint(f'{level}[{diagnostic.code}]', level)}: {strong}"]
    marks = _marks(diagnostic)
    width = max((len(str(mark.line)) for of_source in marks.values() for mark in of_source), default=1)
    gutter = paint(" " * width + " |", "gutter")
    for source, of_source in marks.items():
        first = of_source[0]
        arrow = "-->" if source is (diagnostic.span and diagnostic.span.source) else ":::"
        place = f"{_clean(source.name)}:{first.line}:{first.start + 1}"
        lines += [f"{paint(' ' * width + arrow, 'gutter')} {place}", gutter]
        last = 0
        for number in sorted({mark.line for mark in of_source}):
            if last and number > last + 1:
                lines.append(paint("...", "gutter"))
            here = [mark for mark in of_source if mark.line == number]
            text, underlines = _shown(source.line(number), here)
            lines.append(f"{paint(f'{number:>{width}} |', 'gutter')} {text}".rstrip())
            for mark, under in zip(here, underlines, strict=True):
                lines.append(f"{gutter} {paint(under, level if mark.primary else 'gutter')}")
            last = number
    if diagnostic.help:
        if marks:
            lines.append(gutter)
        lines.append(f"{paint(' ' * width + ' =', 'gutter')} help: {_clean(diagnostic.help)}")
    return "\n".join(lines)


def _marks(diagnostic: Diagnostic) -> dict[Source, list[_Mark]]:
    """What to underline, by source; the finding's own place comes first."""
    marks: dict[Source, list[_Mark]] = {}
    if diagnostic.span is not None:
        marks.setdefault(diagnostic.span.source, []).extend(_of_span(diagnostic.span, "", True))
    for label in diagnostic.labels:
        marks.setdefault(label.span.source, []).extend(_of_span(label.span, label.text, False))
    return marks


def _of_span(span: Span, text: str, primary: bool) -> Iterator[_Mark]:
    """One mark a line for spans of one and two ends: the first line and the last."""
    source = span.source
    line, column = source.position(span.start)
    end_line, end_column = source.position(max(span.start, span.end))
    if line == end_line:
        yield _Mark(line, column - 1, max(end_column, column + 1) - 1, text, primary)
        return
    length = len(source.line(line).rstrip())
    last = source.line(end_line)
    indent = len(last) - len(last.lstrip())
    ends = end_column - 1 > indent
    yield _Mark(line, column - 1, max(length, column), "" if ends else text, primary)
    if ends:
        yield _Mark(end_line, indent, end_column - 1, text, primary)


def _shown(line: str, marks: Sequence[_Mark]) -> tuple[str, list[str]]:
    """The line as it is printed, and under it a row for each mark."""
    low, high = 0, len(line)
    if high > WIDEST:
        low = max(0, min(marks[0].start - WIDEST // 3, high - WIDEST))
        high = low + WIDEST
    cells = [_cell(char) for char in line[low:high]]
    columns, column = [], 1 if low else 0
    for cell in cells:
        columns.append(column)
        column += TAB - column % TAB if cell is None else cell[1]
    columns.append(column)
    text = "…" if low else ""
    for index, cell in enumerate(cells):
        text += " " * (columns[index + 1] - columns[index]) if cell is None else cell[0]
    if high < len(line):
        text += "…"
    rows = []
    for mark in marks:
        start = columns[min(max(mark.start - low, 0), len(cells))]
        end = max(columns[min(max(mark.end - low, 0), len(cells))], start + 1)
        row = " " * start + ("^" if mark.primary else "-") * (end - start)
        rows.append(f"{row} {_clean(mark.text)}".rstrip())
    return text, rows


def _cell(char: str) -> tuple[str, int] | None:
    """What a character prints as and how many columns it takes; None for a tab."""
    if char == "\t":
        return None
    if unicodedata.category(char) in ("Mn", "Me"):
        return char, 0
    if not char.isprintable():
        return "�", 1
    return char, 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _clean(text: str) -> str:
    """Text that may quote the user's: nothing in it may steer the terminal."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "�" for char in text)
