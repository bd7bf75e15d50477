"""The one text of a value, as tables and specs have it; names of columns, and which characters show."""

from __future__ import annotations

import re
import unicodedata

DIGITS = 1e38
"""Whole numbers below it are written in digits, also where a double holds them."""

_NAME = re.compile(r"[^\W\d]\w*")
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\\": "\\\\"}
VISIBLE = "\t\n\r"
"""Control characters that every editor shows as what they are."""
IGNORABLE = (
    (0x34F, 0x34F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Letters, marks and signs that show as nothing: Unicode's default ignorable ones, the empty Braille cell."""


def text(value: str | float | bool) -> str:
    """The one text of a value that a spec writes."""
    if isinstance(value, str):
        return composed(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and (not value.is_integer() or abs(value) >= DIGITS):
        return repr(value)
    return str(int(value))


def composed(text: str) -> str:
    """A text in the Unicode form NFC: two that are written alike are one."""
    return unicodedata.normalize("NFC", text)


def is_name(text: str) -> bool:
    """Whether a spec may have it as a name, without quotes."""
    return _NAME.fullmatch(text) is not None


def written(name: str) -> str:
    """A column's name as a spec writes it: in quotes, where it is no name of the language."""
    return name if is_name(name) else quote(name)


def quote(value: str) -> str:
    """A string as it is written, in double quotes."""
    escaped = (
        _ESCAPES.get(char)
        or (char if char.isprintable() and not is_hidden(char) else f"\\u{{{ord(char):X}}}")
        for char in value
    )
    return '"' + "".join(escaped).replace('"', '\\"') + '"'


def is_hidden(char: str) -> bool:
    """Whether a character shows as nothing, or moves what stands around it."""
    if char in VISIBLE:
        return False
    return unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") or any(
        low <= ord(char) <= high for low, high in IGNORABLE
    )
