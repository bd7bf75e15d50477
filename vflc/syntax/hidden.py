"""Text that does not read as it compiles: characters that hide or reorder text, and names that look alike.

Boucher & Anderson, "Trojan Source: Invisible Vulnerabilities", 2021; Unicode Technical Standard 39.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from vflc_common.text import is_hidden

from vflc.diagnostics import DiagnosticCollector, RelatedSpan, SourceText, Span
from vflc.syntax.lalr import Token

ALPHABETS = "LATIN", "GREEK", "CYRILLIC"
_LOOKS = {
    "а": "a", "е": "e", "о": "o", "р": "p", "с": "c", "у": "y", "х": "x", "і": "i", "ј": "j", "ѕ": "s",
    "А": "A", "В": "B", "Е": "E", "К": "K", "М": "M", "Н": "H", "О": "O", "Р": "P", "С": "C", "Т": "T",
    "У": "Y", "Х": "X", "І": "I", "Ј": "J", "Ѕ": "S", "ο": "o", "ν": "v", "ρ": "p", "ι": "i",
    "Α": "A", "Β": "B", "Ε": "E", "Ζ": "Z", "Η": "H", "Ι": "I", "Κ": "K", "Μ": "M", "Ν": "N", "Ο": "O",
    "Ρ": "P", "Τ": "T", "Υ": "Y", "Χ": "X", "ԁ": "d", "һ": "h", "ԛ": "q", "ԝ": "w", "ѵ": "v", "ɡ": "g",
}  # fmt: skip
"""Letters of other alphabets that look like one of a to z in most typefaces."""


def report_hidden(source: SourceText, collector: DiagnosticCollector) -> None:
    """Refuses what nobody sees, in strings and comments too."""
    hidden = {char for char in set(source.text) if is_hidden(char)}
    for index, char in enumerate(source.text if hidden else ""):
        if char not in hidden:
            continue
        help = f"remove it; in a string, write it as \\u{{{ord(char):X}}}"
        what = "changes how the text looks to a reader" if ord(char) > 0x9F else "is a control character"
        place = Span(source, index, index + 1)
        collector.error("VFL0004", f"U+{ord(char):04X} {what}", place, help)


def report_lookalikes(source: SourceText, tokens: Sequence[Token], collector: DiagnosticCollector) -> None:
    """Refuses names of several alphabets, and two different names that look the same."""
    if source.text.isascii():
        return  # such names look like themselves alone
    first: dict[str, Token] = {}
    names: dict[str, Token] = {}
    for token in tokens:
        if token.type == "NAME":
            names.setdefault(token.value, token)
    for token in names.values():
        place = Span(source, token.start_pos, token.end_pos)
        written = "" if token.value.isascii() else token.value
        mixed = [name for name in ALPHABETS if any(_is_of(name, char) for char in written)]
        if len(mixed) > 1:
            text = f"`{token.value}` mixes letters of {' and '.join(name.capitalize() for name in mixed)}"
            collector.error("VFL0026", text, place, "write the name in one alphabet")
            continue
        before = first.setdefault(looks(token.value), token)
        if before.value != token.value:
            label = RelatedSpan(Span(source, before.start_pos, before.end_pos), "this one")
            text = f"`{token.value}` looks like another name but differs from it"
            collector.error("VFL0026", text, place, "rename one of them", label)


def looks(name: str) -> str:
    """What a name looks like: two that look alike have one."""
    if name.isascii():
        return name
    return "".join(_LOOKS.get(char, char) for char in unicodedata.normalize("NFKC", name))


def _is_of(alphabet: str, char: str) -> bool:
    return char.isalpha() and unicodedata.name(char, "").startswith(alphabet)
