"""The answer to every request, in the shapes of the protocol; what it says comes from the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from vflc.lsp import (
    calls,
    coloured,
    completion,
    definition,
    describe,
    findings,
    hints,
    mending,
    names,
    outline,
    pages,
    renaming,
    selection,
)
from vflc.lsp.analysis import Document
from vflc.lsp.outline import OutlineSymbol
from vflc.lsp.places import LspJson, Places
from vflc.lsp.texts import NotAnswered, OpenText, OpenTexts

Params = Mapping[str, Any]
Answer = Callable[[OpenTexts, Params], Any]
_LEVELS = {"error": 1, "warning": 2, "note": 3}
_SYMBOLS = {
    "party": 3, "population": 3, "block": 5, "value": 13, "prediction": 13, "setting": 7, "statement": 19,
}  # fmt: skip
_FIELD, _FUNCTION = 8, 3
_COMPLETIONS = {
    "party": 9, "library": 9, "column": 5, "value": 6, "parameter": 6, "block": 7, "argument": 10,
    "setting": 10, "keyword": 14, "type": 25,
}  # fmt: skip
"""Kinds of symbols and of what can be written, by the numbers of the protocol."""


class Answered(Struct, frozen=True):
    """How a method is answered.

    Args:
        checked: whether the text must be checked for it; others need it parsed at most.
        slow: whether other texts are checked for it, which may take as long again and again.
        options: what is told of it among the server's capabilities, under `capability`.
    """

    answer: Answer
    capability: str
    checked: bool = False
    options: Any = True
    slow: bool = False


def diagnostics(texts: OpenTexts, opened: OpenText) -> list[LspJson]:
    """Findings of a text, with where their pages are."""
    return [_diagnostic(texts, opened, each) for each in findings.squiggles(opened.document)]


def _diagnostic(texts: OpenTexts, opened: OpenText, found: findings.Squiggle) -> LspJson:
    places = opened.places
    related = [
        {"location": places.location(start, end), "message": text} for start, end, text in found.related
    ]
    if found.elsewhere is not None:
        path, start, end, text = found.elsewhere
        there = _places(texts, path)
        related += [{"location": there.location(start, end), "message": text}] if there else []
    page = pages.uri(found.code)
    return {
        "range": places.range(found.start, found.end),
        "message": found.message,
        "severity": _LEVELS[found.level],
        "code": found.code,
        "source": "vflc",
        "relatedInformation": related,
        **({"codeDescription": {"href": page}} if page is not None else {}),
    }


def _hover(texts: OpenTexts, params: Params) -> LspJson | None:
    opened, offset = _at(texts, params)
    found = describe.hover(opened.document, offset)
    if found is None:
        return None
    start, end, text = found
    return {"contents": {"kind": "markdown", "value": text}, "range": opened.places.range(start, end)}


def _complete(texts: OpenTexts, params: Params) -> list[LspJson]:
    opened, offset = _at(texts, params)
    start, found = completion.proposals(opened.document, offset)
    range = opened.places.range(start, offset)
    return [
        {
            "label": each.word.removesuffix(" = "),
            "kind": _COMPLETIONS.get(each.kind, _FUNCTION),
            **({"detail": each.detail} if each.detail else {}),
            **({"documentation": each.doc} if each.doc else {}),
            "textEdit": {"range": range, "newText": each.word},
        }
        for each in found
    ]


def _signature(texts: OpenTexts, params: Params) -> LspJson | None:
    opened, offset = _at(texts, params)
    found = completion.signature(opened.document, offset)
    if found is None:
        return None
    entry, active = found
    told = {
        "label": entry.signature,
        "documentation": entry.doc,
        "parameters": [{"label": each} for each in entry.parameters],
        "activeParameter": active,
    }
    return {"signatures": [told], "activeSignature": 0, "activeParameter": active}


def _definition(texts: OpenTexts, params: Params) -> LspJson | None:
    opened, offset = _at(texts, params)
    found = definition.definition(opened.document, offset)
    if found is None:
        return None
    path, start, end = found
    places = opened.places if path is None else _places(texts, path)
    return places.location(start, end) if places is not None else None


def _references(texts: OpenTexts, params: Params) -> list[LspJson]:
    opened, offset = _at(texts, params)
    found = names.at(opened.document.names, offset)
    if found is None:
        return []
    wanted = params.get("context", {}).get("includeDeclaration", True)
    return [
        each.places.location(name.start, name.end)
        for each in renaming.everywhere(texts, opened, found)
        for name in each.document.names
        if name.key == found.key and (wanted or not name.declares)
    ]


def _highlights(texts: OpenTexts, params: Params) -> list[LspJson]:
    opened, offset = _at(texts, params)
    found = definition.references(opened.document, offset)
    return [{"range": opened.places.range(*each), "kind": 1} for each in found]


def _prepare_rename(texts: OpenTexts, params: Params) -> LspJson:
    opened, offset = _at(texts, params)
    return opened.places.range(*renaming.renamable(texts, opened, offset))


def _rename(texts: OpenTexts, params: Params) -> LspJson:
    opened, offset = _at(texts, params)
    changes = renaming.renamed(texts, opened, offset, params["newName"])
    return {"changes": {each.uri: each.places.edits(edits) for each, edits in changes}}


def _symbols(texts: OpenTexts, params: Params) -> list[LspJson]:
    opened = texts.opened(params)
    return [_symbol(opened.places, each) for each in outline.symbols(opened.document)]


def _symbol(places: Places, symbol: OutlineSymbol) -> LspJson:
    return {
        "name": symbol.name,
        "detail": symbol.kind,
        "kind": _SYMBOLS.get(symbol.kind, _FIELD),
        "range": places.range(symbol.start, symbol.end),
        "selectionRange": places.range(symbol.name_start, symbol.name_end),
        "children": [_symbol(places, each) for each in symbol.children],
    }


def _workspace_symbols(texts: OpenTexts, params: Params) -> list[LspJson]:
    wanted = params.get("query", "")
    return [
        {
            "name": symbol.name,
            "kind": _SYMBOLS.get(symbol.kind, _FIELD),
            "containerName": inside,
            "location": each.places.location(symbol.name_start, symbol.name_end),
        }
        for each in texts.specs()
        for symbol, inside in outline.named(each.document, wanted)
    ]


def _folds(texts: OpenTexts, params: Params) -> list[LspJson]:
    opened = texts.opened(params)
    ranges = [opened.places.range(*each) for each in outline.folds(opened.document)]
    return [{"startLine": each["start"]["line"], "endLine": each["end"]["line"]} for each in ranges]


def _selections(texts: OpenTexts, params: Params) -> list[LspJson]:
    opened = texts.opened(params)
    found = []
    for position in params["positions"]:
        chain: LspJson | None = None
        for each in reversed(selection.selections(opened.document, opened.places.offset(position))):
            chain = {"range": opened.places.range(*each), **({"parent": chain} if chain else {})}
        found.append(chain or {"range": {"start": position, "end": position}})
    return found


def _hints(texts: OpenTexts, params: Params) -> list[LspJson]:
    opened = texts.opened(params)
    found = hints.hints(opened.document, *opened.places.span(params["range"]))
    return [{"position": opened.places.position(at), "label": text, "kind": 1} for at, text in found]


def _lenses(texts: OpenTexts, params: Params) -> list[LspJson]:
    opened = texts.opened(params)
    return [
        {"range": opened.places.range(start, end), "command": {"title": text, "command": ""}}
        for start, end, text in hints.lenses(opened.document)
    ]


def _fixes(texts: OpenTexts, params: Params) -> list[LspJson]:
    opened = texts.opened(params)
    start, end = opened.places.span(params["range"])
    given = params.get("context", {}).get("diagnostics", ())
    return [
        {
            "title": fix.title,
            "kind": "quickfix" if fix.mends else "refactor.rewrite",
            **({"isPreferred": True} if fix.preferred else {}),
            "diagnostics": [
                each
                for each in given
                if each.get("code") == fix.code and opened.places.offset(each["range"]["start"]) == fix.start
            ],
            "edit": {"changes": {opened.uri: opened.places.edits(fix.edits)}},
        }
        for fix in mending.quick_fixes(opened.document, start, end)
    ]


def _format(texts: OpenTexts, params: Params) -> list[LspJson]:
    opened = texts.opened(params)
    span = opened.places.span(params["range"]) if "range" in params else None
    return opened.places.edits(mending.formatted(opened.document, span))


def _tokens(texts: OpenTexts, params: Params) -> LspJson:
    """Five numbers a token: lines and columns since the last one, length, type, modifiers as bits."""
    opened = texts.opened(params)
    span = opened.places.span(params["range"]) if "range" in params else (0, len(opened.document.text))
    data: list[int] = []
    line = column = 0
    for start, end, kind, modifiers in coloured.tokens(opened.document):
        if not span[0] <= start <= span[1]:
            continue
        at, until = opened.places.positions.position(start), opened.places.positions.position(end)
        bits = sum(1 << coloured.MODIFIERS.index(each) for each in modifiers)
        since = at[1] - (column if at[0] == line else 0)
        data += [at[0] - line, since, until[1] - at[1], coloured.TYPES.index(kind), bits]
        line, column = at
    return {"data": data}


# --- calls of blocks ------------------------------------------------------------------------------


def _prepare_calls(texts: OpenTexts, params: Params) -> list[LspJson] | None:
    opened, offset = _at(texts, params)
    name = calls.block_at(opened.document, offset)
    home = _home(texts, opened, name) if name is not None else None
    return [_item(*home)] if home is not None else None


def _incoming(texts: OpenTexts, params: Params) -> list[LspJson]:
    item = params["item"]
    home = _text_of(texts, item["uri"])
    found = []
    for each in renaming.users(texts, home, item["name"]):
        for caller in calls.callers(each.document, item["name"]):
            ranges = [each.places.range(*place) for place in caller.places]
            found.append({"from": _item(each, caller.symbol), "fromRanges": ranges})
    return found


def _outgoing(texts: OpenTexts, params: Params) -> list[LspJson]:
    item = params["item"]
    home = _text_of(texts, item["uri"])
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
        "kind": _SYMBOLS.get(symbol.kind, _FIELD),
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


# --- vflc's own -----------------------------------------------------------------------------------


def _explain(texts: OpenTexts, params: Params) -> LspJson:
    try:
        return pages.page(params["code"])
    except KeyError as error:
        raise NotAnswered(str(error.args[0])) from None


def _graph(texts: OpenTexts, params: Params) -> LspJson | None:
    """A picture of what is known of a text as SVG, as `vflc.picture.draw` has it; None before anything is.

    `sources` has the URIs of the names that its `data-uri` attributes use.
    """
    from vflc.picture.draw import draw  # few look at it

    document = texts.opened(params).document
    model = document.facts.model
    folded = params.get("folded")
    if model is None:
        return None
    picture = draw(model, None if folded is None else frozenset(folded), styled=params.get("styled", True))
    return {
        "svg": picture.svg,
        "width": picture.width,
        "height": picture.height,
        "folded": list(picture.folded),
        "blocks": list(picture.blocks),
        "sources": {document.source.name: texts.opened(params).uri, **_sources(document)},
    }


def _sources(document: Document) -> dict[str, str]:
    return {use.file.value: path.as_uri() for use, path in document.imports() if use.file is not None}


def _at(texts: OpenTexts, params: Params) -> tuple[OpenText, int]:
    opened = texts.opened(params)
    return opened, opened.places.offset(params["position"])


def _text_of(texts: OpenTexts, uri: str) -> OpenText:
    from vflc.lsp.places import path_of

    path = path_of(uri)
    found = texts.texts.get(uri) or (texts.at(path) if path is not None else None)
    if found is None:
        raise NotAnswered(f"{uri} cannot be read")
    return found


def _places(texts: OpenTexts, path: Path) -> Places | None:
    """A file's own places; None where it cannot be read."""
    opened = texts.at(path)
    return opened.places if opened is not None else None


_LEGEND = {"tokenTypes": list(coloured.TYPES), "tokenModifiers": list(coloured.MODIFIERS)}
_COLOURS = {"legend": _LEGEND, "full": True, "range": True}
ANSWERS: dict[str, Answered] = {
    "textDocument/hover": Answered(_hover, "hoverProvider", True),
    "textDocument/completion": Answered(
        _complete, "completionProvider", False, {"triggerCharacters": [".", ">", ":", "{"]}
    ),
    "textDocument/signatureHelp": Answered(
        _signature, "signatureHelpProvider", False, {"triggerCharacters": ["(", ",", "="]}
    ),
    "textDocument/definition": Answered(_definition, "definitionProvider"),
    "textDocument/references": Answered(_references, "referencesProvider"),
    "textDocument/documentHighlight": Answered(_highlights, "documentHighlightProvider"),
    "textDocument/prepareRename": Answered(
        _prepare_rename, "renameProvider", False, {"prepareProvider": True}
    ),
    "textDocument/rename": Answered(_rename, "renameProvider", True, {"prepareProvider": True}, True),
    "textDocument/documentSymbol": Answered(_symbols, "documentSymbolProvider"),
    "workspace/symbol": Answered(_workspace_symbols, "workspaceSymbolProvider"),
    "textDocument/foldingRange": Answered(_folds, "foldingRangeProvider"),
    "textDocument/selectionRange": Answered(_selections, "selectionRangeProvider"),
    "textDocument/inlayHint": Answered(_hints, "inlayHintProvider", True),
    "textDocument/codeLens": Answered(_lenses, "codeLensProvider", True, {}),
    "textDocument/codeAction": Answered(
        _fixes, "codeActionProvider", True, {"codeActionKinds": ["quickfix", "refactor.rewrite"]}, True
    ),
    "textDocument/formatting": Answered(_format, "documentFormattingProvider"),
    "textDocument/rangeFormatting": Answered(_format, "documentRangeFormattingProvider"),
    "textDocument/semanticTokens/full": Answered(_tokens, "semanticTokensProvider", True, _COLOURS),
    "textDocument/semanticTokens/range": Answered(_tokens, "semanticTokensProvider", True, _COLOURS),
    "textDocument/prepareCallHierarchy": Answered(_prepare_calls, "callHierarchyProvider"),
    "callHierarchy/incomingCalls": Answered(_incoming, "callHierarchyProvider"),
    "callHierarchy/outgoingCalls": Answered(_outgoing, "callHierarchyProvider"),
    "vflc/graph": Answered(_graph, "", True),
    "vflc/explain": Answered(_explain, ""),
}
"""By method how it is answered."""

_CHANGES = {"openClose": True, "change": 2, "save": {"includeText": False}}


def capabilities() -> LspJson:
    """What the server can do, as it tells an editor that starts it."""
    told = {each.capability: each.options for each in ANSWERS.values() if each.capability}
    return {"textDocumentSync": _CHANGES, "positionEncoding": "utf-16", **told}
