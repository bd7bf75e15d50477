"""How wide text is, without a font: no narrower than any usual sans serif or monospaced font draws it.

And text that is fit to be drawn: in one line, short enough, and without characters that nobody sees.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

SANS = (
    "3241468464967828404050843237323464646464646464646464343484848454996969707864587876303066568775"
    "796179706462746999696269403440845050626455646236646428285828986462646442534064608260605364346484"
)
"""Widths of DejaVu Sans in hundredths of an em, two digits a character from the blank on: of the usual fonts
it is the widest. What is an em or more is written as 99."""
MONO = 0.61
WIDE = 1.1
OTHER = 0.9
FIRST, LAST = 32, 126


@lru_cache(1 << 14)
def width(text: str, size: float, mono: bool = False) -> float:
    """How many pixels a text takes at most, in a font of `size` pixels."""
    return size * sum(_em(char, mono) for char in text)


@lru_cache(1 << 12)
def _em(char: str, mono: bool) -> float:
    code = ord(char)
    if FIRST <= code <= LAST:
        at = 2 * (code - FIRST)
        return MONO if mono else int(SANS[at : at + 2]) / 100
    if char in "·…–→←×∙":
        return 1.0 if char == "…" and not mono else 0.86
    if unicodedata.combining(char):
        return 0.0
    return WIDE if unicodedata.east_asian_width(char) in "WF" else OTHER


def visible(text: str) -> str:
    r"""The text in one line: what is not printed, or turns the direction of text, as `\u202e`."""
    return "".join(char if _is_seen(char) else _escaped(char) for char in text)


def _is_seen(char: str) -> bool:
    return char.isprintable() and unicodedata.category(char) not in ("Cf", "Cc", "Cs", "Co", "Cn")


def _escaped(char: str) -> str:
    return " " if char in "\t\n\r" else f"\\u{ord(char):04x}"


def shortened(text: str, most: float, size: float, mono: bool = False) -> str:
    """The text, or as much of its start and its end as fits `most` pixels, around `…`."""
    if len(text) < 400 and width(text, size, mono) <= most:
        return text
    room = most - width("…", size, mono)
    tail = _fitting(text[:-200:-1], room * 0.5, size, mono)[::-1]
    head = _fitting(text[:200], room - width(tail, size, mono), size, mono)
    return f"{head}…{tail}"


def _fitting(text: str, most: float, size: float, mono: bool) -> str:
    """As much of the start as fits."""
    used = 0.0
    for count, char in enumerate(text):
        used += size * _em(char, mono)
        if used > most:
            return text[:count]
    return text
