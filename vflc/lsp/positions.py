"""The one place that converts the offsets that features speak to the lines and columns of editors."""

from __future__ import annotations

import re
from bisect import bisect_right

from msgspec import Struct


class TextChange(Struct, frozen=True):
    """Characters `start` to `end` (exclusive) become `text`."""

    start: int
    end: int
    text: str


class Positions:
    """Lines from 0 of a text, and columns in units of UTF-16, as the protocol counts them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset."""
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(self._starts, offset) - 1
        return line, _units(self.text[self._starts[line] : offset])

    def offset(self, line: int, column: int) -> int:
        """The offset of a line and column; of what lies outside of the text, the nearest inside."""
        if line >= len(self._starts):
            return len(self.text)
        start = self._starts[max(line, 0)]
        end = self.text.find("\n", start)
        content = self.text[start : len(self.text) if end < 0 else end].removesuffix("\r")
        if content.isascii():
            return start + max(0, min(column, len(content)))
        units = 0
        for index, char in enumerate(content):
            if units >= column:
                return start + index
            units += _units(char)
        return start + len(content)


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text) + sum(char > "\uffff" for char in text)


def applied(text: str, edits: list[TextChange]) -> str:
    """The text with edits made, none of which overlap."""
    for edit in sorted(edits, key=lambda each: each.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def difference(before: str, after: str) -> list[TextChange]:
    """One edit that makes one text of the other; none where they are the same."""
    if before == after:
        return []
    most = min(len(before), len(after))
    start = next((i for i in range(most) if before[i] != after[i]), most)
    same = next((i for i in range(most - start) if before[-1 - i] != after[-1 - i]), most - start)
    return [TextChange(start, len(before) - same, after[start : len(after) - same])]
