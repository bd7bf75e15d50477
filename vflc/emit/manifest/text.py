"""Text of a spec within Markdown: it reads as it was written, whatever is in it."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([\\`*\[\]<>|&~#]|(?<!\w)_|_(?!\w))")


def plain(text: str) -> str:
    """The text in one line, with nothing in it that Markdown, HTML or a reader's eye would take for more."""
    seen = "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text)
    return _SPECIAL.sub(r"\\\1", " ".join(seen.split()))
