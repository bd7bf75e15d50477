"""Kinds of things by the numbers of the protocol."""

from __future__ import annotations

LEVELS = {"error": 1, "warning": 2, "note": 3}
_SYMBOLS = {
    "party": 3, "population": 3, "block": 5, "value": 13, "prediction": 13, "setting": 7, "statement": 19,
}  # fmt: skip
_FIELD, _FUNCTION = 8, 3
_COMPLETIONS = {
    "party": 9, "library": 9, "column": 5, "value": 6, "parameter": 6, "block": 7, "argument": 10,
    "setting": 10, "keyword": 14, "type": 25,
}  # fmt: skip


def symbol(kind: str) -> int:
    """The number of a symbol in an outline."""
    return _SYMBOLS.get(kind, _FIELD)


def word(kind: str) -> int:
    """The number of what can be written."""
    return _COMPLETIONS.get(kind, _FUNCTION)
