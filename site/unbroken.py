"""Inline code that breaks at its spaces: browsers break `--device` after its first hyphen."""

from __future__ import annotations

import re

CLASS = "unbroken"
"""What docs/site.css keeps on one line."""
MOST = 36
"""Characters of a word that a phone has room for; a longer one may break."""

_CODE = re.compile(r"<pre.*?</pre>|(<code[^>]*>)(.*?)(</code>)", re.DOTALL)
_WORD = re.compile(r"<[^>]*>|[^\s<>]+")


def unbroken(html: str) -> str:
    """A page in which words of inline code with a hyphen stay whole."""
    return _CODE.sub(_code, html)


def _code(found: re.Match[str]) -> str:
    start, text, end = found.groups()
    return found[0] if start is None else f"{start}{_WORD.sub(_word, text)}{end}"


def _word(found: re.Match[str]) -> str:
    word = found[0]
    whole = not word.startswith("<") and "-" in word and len(word) <= MOST
    return f'<span class="{CLASS}">{word}</span>' if whole else word
