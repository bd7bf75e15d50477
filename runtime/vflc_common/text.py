"""The one text of a value, as tables and specs have it."""

from __future__ import annotations

import unicodedata

DIGITS = 1e38
"""Whole numbers below it are written in digits, also where a double holds them."""


def text(value: str | float | bool) -> str:
    """The one text of a value that a spec writes."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and (not value.is_integer() or abs(value) >= DIGITS):
        return repr(value)
    return str(int(value))
