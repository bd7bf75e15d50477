"""Findings for a terminal: the message, the user's own lines, carets, what to do next."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from textwrap import wrap

from msgspec import Struct

from vflc.diagnostics.diagnostic import Diagnostic, in_order
from vflc.diagnostics.span import SourceText, Span

TAB = 4
WIDEST = 140
"""Longer lines are cut around what they are shown for."""
MOST_BLOCKS = 3
"""Of warnings of one code that are shown whole."""
FLOWS = ("VFL03", "VFL04")
"""Codes about what a place may see: a layer over several parties has one for each value that it reads."""
MOST_ALSO = 4
"""Findings of one code at one place that are told below the first; and places of those not shown."""

_COLOURS = {"error": "31", "warning": "33", "note": "36", "gutter": "34"}


def render(diagnostics: Sequence[Diagnostic], colour: bool = False, width: int | None = None) -> str:
    """All findings in order, a blank line between them, and their number where there are several.

    What flows between parties, found again and again of one place in the text, is one block. Of many
    warnings of one code only the first are shown whole. Messages are broken at `width` columns, where it
    is given.
    """
    parts = []
    shown: Counter[str] = Counter()
    left: dict[str, list[Diagnostic]] = {}
    for first, *others in _folded(in_order(diagnostics)):
        shown[first.code] += 1
        if first.level == "warning" and shown[first.code] > MOST_BLOCKS:
            left.setdefault(first.code, []).extend([first, *others])
        else:
            parts.append(_one(first, [other.message for other in others], colour, width))
    parts += [_rest(code, rest, width) for code, rest in left.items()]
    if len(diagnostics) > 1:
        levels = [diagnostic.level for diagnostic in diagnostics]
        counts = [(levels.count(level), level) for level in ("error", "warning", "note")]
        parts.append(", ".join(f"{n} {level}{'s' * (n > 1)}" for n, level in counts if n))
    return "\n\n".join(parts)


def _folded(diagnostics: Sequence[Diagnostic]) -> list[list[Diagnostic]]:
    """Each by itself, but one list for what has a code of `FLOWS` and the same place in the text."""
    groups: dict[object, list[Diagnostic]] = {}
    for number, each in enumerate(diagnostics):
        flows = each.code.startswith(FLOWS)
        groups.setdefault((each.level, each.code, each.span) if flows else number, []).append(each)
    return list(groups.values())


def _rest(code: str, findings: Sequence[Diagnostic], width: int | None) -> str:
    """Warnings like those above, by their places alone."""
    places = list(dict.fromkeys(str(each.span) for each in findings if each.span is not None))
    more = f" and {len(places) - MOST_ALSO} more places" if len(places) > MOST_ALSO else ""
    text = f"{len(findings)} more {code}, at {', '.join(places[:MOST_ALSO])}{more}"
    return "\n".join(_broken(_clean(text), width, 2))


def _broken(text: str, width: int | None, indent: int) -> list[str]:
    """The text in lines of at most `width` columns, where there is one; no word is cut."""
    if width is None:
        return [text]
    return wrap(
        text, max(width, 20), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    ) or [""]


class _Mark(Struct, frozen=True):
    """What is underlined in one line: offsets in the line, and what is said of it."""

    line: int
    start: int
    end: int
    text: str
    primary: bool


def _one(diagnostic: Diagnostic, also: Sequence[str], colour: bool, room: int | None) -> str:
    """A block: the finding, its lines of text, what else was found there, and what to do."""

    def paint(text: str, style: str, bold: bool = True) -> str:
        return f"\x1b[{'1;' * bold}{_COLOURS[style]}m{text}\x1b[0m" if colour and text else text

    level = diagnostic.level
    head = f"{level}[{diagnostic.code}]: "
    lines = _broken(head + _clean(diagnostic.message), room, 2)
    lines[0] = lines[0].removeprefix(head)
    lines = [f"\x1b[1m{line}\x1b[0m" if colour else line for line in lines]
    lines[0] = f"{paint(head[:-2], level)}: {lines[0]}"
    marks = _marks(diagnostic)
    width = max((len(str(mark.line)) for of_source in marks.values() for mark in of_source), default=1)
    gutter = paint(" " * width + " |", "gutter")
    widest = WIDEST if room is None else max(min(WIDEST, room - width - 5), 20)
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
            text, underlines = _shown(source.line(number), here, widest)
            lines.append(f"{paint(f'{number:>{width}} |', 'gutter')} {text}".rstrip())
            for mark, under in zip(here, underlines, strict=True):
                lines.append(f"{gutter} {paint(under, level if mark.primary else 'gutter')}")
            last = number
    if marks and (diagnostic.help or also):
        lines.append(gutter)
    for note in _notes(diagnostic, also):
        text, *others = _broken(_clean(note), room and room - width - 3, 2)
        lines.append(f"{paint(' ' * width + ' =', 'gutter')} {text}")
        lines += [f"{' ' * width}   {line}" for line in others]
    return "\n".join(lines)


def _notes(diagnostic: Diagnostic, also: Sequence[str]) -> Iterator[str]:
    """What stands below the lines of text: what else was found there, and what to do."""
    yield from (f"also: {message}" for message in also[:MOST_ALSO])
    if len(also) > MOST_ALSO:
        yield f"also: {len(also) - MOST_ALSO} more of this kind"
    if diagnostic.help:
        yield f"help: {diagnostic.help}"


def _marks(diagnostic: Diagnostic) -> dict[SourceText, list[_Mark]]:
    """What to underline, by source; the finding's own place comes first."""
    marks: dict[SourceText, list[_Mark]] = {}
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


def _shown(line: str, marks: Sequence[_Mark], widest: int) -> tuple[str, list[str]]:
    """The line as it is printed, and under it a row for each mark."""
    low, high = 0, len(line)
    if high > widest:
        low = max(0, min(marks[0].start - widest // 3, high - widest))
        high = low + widest
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
