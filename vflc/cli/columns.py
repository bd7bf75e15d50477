"""Text in columns that fits a terminal: what does not fit goes on in the next line, and no word is cut."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from textwrap import wrap

NARROWEST = 40
INDENT = "  "


def aligned(rows: Sequence[Sequence[str]], width: int, right: Collection[int] = ()) -> Iterator[str]:
    """Rows below one another, indented, two blanks between columns.

    A first cell that leaves no room for the rest stands in a line of its own; a last cell goes on below
    itself, broken at blanks. Columns in `right` are aligned to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = max(len(word) for row in rows for word in (row[-1] or " ").split(" "))
    middle = sum(size + 2 for size in widths[1:-1]) + (last + 2) * bool(widths[-1])
    widths[0] = max(min(widths[0], width - len(INDENT) - middle), 1)
    room = max(width - len(INDENT) - widths[0] - middle + last, last, 1)
    for first, *others, note in rows:
        fits = len(first) <= widths[0]
        if not fits:
            yield from broken(first, width, INDENT)
        cells = [first if fits else "", *others]
        start = INDENT + "  ".join(
            f"{cell:>{size}}" if number in right else f"{cell:{size}}"
            for number, (cell, size) in enumerate(zip(cells, widths, strict=False))
        )
        for line in wrap(note, room, break_long_words=False, break_on_hyphens=False) or [""]:
            yield f"{start}  {line}".rstrip()
            start = " " * len(start)


def broken(text: str, width: int, indent: str = "", hang: int = 2) -> list[str]:
    """A text in lines of at most `width` columns, those after the first `hang` columns further in."""
    return wrap(
        text, max(width, NARROWEST), initial_indent=indent, subsequent_indent=indent + " " * hang,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
