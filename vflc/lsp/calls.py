"""Who calls a block, and which blocks it calls."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from vflc.lsp import names
from vflc.lsp.analysis import Document
from vflc.lsp.outline import OutlineSymbol, symbols


class BlockCalls(Struct, frozen=True):
    """A part of a text, or a block of another, with the places where it calls or is called."""

    symbol: OutlineSymbol
    places: tuple[tuple[int, int], ...]


def block_at(analysis: Document, offset: int) -> str | None:
    """The block that is named at an offset."""
    found = names.at(analysis.names, offset)
    return found.name if found is not None and found.kind == "block" else None


def declared(analysis: Document, name: str) -> OutlineSymbol | None:
    """A block that is declared in a text."""
    return next((each for each in symbols(analysis) if each.kind == "block" and each.name == name), None)


def callers(analysis: Document, name: str) -> list[BlockCalls]:
    """Parts of a text that call a block: other blocks, and statements outside of them."""
    found = []
    for symbol in symbols(analysis):
        places = tuple(
            (each.start, each.end)
            for each in _calls(analysis)
            if each.name == name and symbol.start <= each.start < symbol.end
        )
        if places:
            found.append(BlockCalls(symbol, places))
    return found


def called(analysis: Document, symbol: OutlineSymbol) -> dict[str, tuple[tuple[int, int], ...]]:
    """The blocks that a part of a text calls, with the places where it does."""
    found: dict[str, tuple[tuple[int, int], ...]] = {}
    for each in _calls(analysis):
        if symbol.start <= each.start < symbol.end:
            found[each.name] = (*found.get(each.name, ()), (each.start, each.end))
    return found


def _calls(analysis: Document) -> Iterator[names.Occurrence]:
    text = analysis.text
    for each in analysis.names:
        listed = text[each.end :].lstrip()[:1] != "("  # as in `use "file.vfl".{Block}`
        if each.kind == "block" and not each.declares and not listed:
            yield each
