"""Answers to who calls a block and which blocks it calls, in the shapes of the protocol."""

from __future__ import annotations

from vflc.lsp import calls, definition, kinds, outline, renaming
from vflc.lsp.outline import OutlineSymbol
from vflc.lsp.places import LspJson, Params
from vflc.lsp.texts import OpenText, OpenTexts


def prepare_calls(texts: OpenTexts, params: Params) -> list[LspJson] | None:
    """The block at a place."""
    opened, offset = texts.asked_at(params)
    name = calls.block_at(opened.document, offset)
    home = _home(texts, opened, name) if name is not None else None
    return [_item(*home)] if home is not None else None


def incoming(texts: OpenTexts, params: Params) -> list[LspJson]:
    """Who uses a block."""
    item = params["item"]
    home = texts.text_of(item["uri"])
    found = []
    for each in renaming.users(texts, home, item["name"]):
        for caller in calls.callers(each.document, item["name"]):
            ranges = [each.places.range(*place) for place in caller.places]
            found.append({"from": _item(each, caller.symbol), "fromRanges": ranges})
    return found


def outgoing(texts: OpenTexts, params: Params) -> list[LspJson]:
    """Which blocks one uses."""
    item = params["item"]
    home = texts.text_of(item["uri"])
    start = home.places.offset(item["selectionRange"]["start"])
    symbol = next((each for each in outline.symbols(home.document) if each.name_start == start), None)
    found = []
    for name, places in calls.called(home.document, symbol).items() if symbol is not None else ():
        if (target := _home(texts, home, name)) is not None:
            ranges = [home.places.range(*place) for place in places]
            found.append({"to": _item(*target), "fromRanges": ranges})
    return found


def _item(opened: OpenText, symbol: OutlineSymbol) -> LspJson:
    return {
        "name": symbol.name,
        "kind": kinds.symbol(symbol.kind),
        "uri": opened.uri,
        "range": opened.places.range(symbol.start, symbol.end),
        "selectionRange": opened.places.range(symbol.name_start, symbol.name_end),
    }


def _home(texts: OpenTexts, opened: OpenText, block: str) -> tuple[OpenText, OutlineSymbol] | None:
    """Where a block that a text may call is declared: there, in a file that it uses, or in the library."""
    if (own := calls.declared(opened.document, block)) is not None:
        return opened, own
    path = opened.document.used[block][0] if block in opened.document.used else None
    path = path or definition.library_of(opened.document, block)
    home = texts.at(path) if path is not None else None
    symbol = calls.declared(home.document, block) if home is not None else None
    return (home, symbol) if home is not None and symbol is not None else None
