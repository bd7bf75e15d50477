"""What a selection grows to, from a word to the whole text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import astuple

from vflc.diagnostics import Span
from vflc.lsp import names
from vflc.lsp.analysis import Document
from vflc.syntax import tree


def selections(analysis: Document, offset: int) -> list[tuple[int, int]]:
    """Ranges around an offset, each inside the next; the last is the text."""
    found = {(0, len(analysis.text))}
    for item in analysis.spec.items:
        found.update((span.start, span.end) for span in _around(item, offset))
    if (name := names.at(analysis.names, offset)) is not None:
        found.add((name.start, name.end))
    start = analysis.text.rfind("\n", 0, offset) + 1
    end = analysis.text.find("\n", offset)
    line = analysis.text[start : len(analysis.text) if end < 0 else end]
    if line.strip():
        indent = len(line) - len(line.lstrip())
        found.add((min(start + indent, offset), start + len(line.rstrip("\r"))))
    chain: list[tuple[int, int]] = []
    for each in sorted(found, key=lambda each: each[1] - each[0]):
        if not chain or (each[0] <= chain[-1][0] and chain[-1][1] <= each[1]):
            chain.append(each)
    return chain


def _around(part: Any, offset: int) -> Iterator[Span]:
    """Spans of a part of the tree, and of the parts in it, that an offset is in."""
    if isinstance(part, tuple):
        for each in part:
            yield from _around(each, offset)
    elif type(part).__module__ == tree.__name__ and part.span.start <= offset <= part.span.end:
        yield part.span
        for each in astuple(part):
            yield from _around(each, offset)
