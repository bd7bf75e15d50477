"""Answers to what is asked of a text as a whole, in the shapes of the protocol."""

from __future__ import annotations

from vflc.lsp import coloured, findings, kinds, mending, outline, pages
from vflc.lsp import hints as shapes
from vflc.lsp.analysis import Document
from vflc.lsp.outline import OutlineSymbol
from vflc.lsp.places import LspJson, Params, Places
from vflc.lsp.texts import OpenText, OpenTexts


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
        there = texts.places_of(path)
        related += [{"location": there.location(start, end), "message": text}] if there else []
    page = pages.uri(found.code)
    return {
        "range": places.range(found.start, found.end),
        "message": found.message,
        "severity": kinds.LEVELS[found.level],
        "code": found.code,
        "source": "vflc",
        "relatedInformation": related,
        **({"codeDescription": {"href": page}} if page is not None else {}),
    }


def symbols(texts: OpenTexts, params: Params) -> list[LspJson]:
    """The outline of a text."""
    opened = texts.opened(params)
    return [_symbol(opened.places, each) for each in outline.symbols(opened.document)]


def _symbol(places: Places, symbol: OutlineSymbol) -> LspJson:
    return {
        "name": symbol.name,
        "detail": symbol.kind,
        "kind": kinds.symbol(symbol.kind),
        "range": places.range(symbol.start, symbol.end),
        "selectionRange": places.range(symbol.name_start, symbol.name_end),
        "children": [_symbol(places, each) for each in symbol.children],
    }


def workspace_symbols(texts: OpenTexts, params: Params) -> list[LspJson]:
    """Symbols of all texts whose names have some letters."""
    wanted = params.get("query", "")
    return [
        {
            "name": symbol.name,
            "kind": kinds.symbol(symbol.kind),
            "containerName": inside,
            "location": each.places.location(symbol.name_start, symbol.name_end),
        }
        for each in texts.specs()
        for symbol, inside in outline.named(each.document, wanted)
    ]


def folds(texts: OpenTexts, params: Params) -> list[LspJson]:
    """Lines that can be folded."""
    opened = texts.opened(params)
    ranges = [opened.places.range(*each) for each in outline.folds(opened.document)]
    return [{"startLine": each["start"]["line"], "endLine": each["end"]["line"]} for each in ranges]


def hints(texts: OpenTexts, params: Params) -> list[LspJson]:
    """Shapes and places after names."""
    opened = texts.opened(params)
    found = shapes.hints(opened.document, *opened.places.span(params["range"]))
    return [{"position": opened.places.position(at), "label": text, "kind": 1} for at, text in found]


def lenses(texts: OpenTexts, params: Params) -> list[LspJson]:
    """What crosses from a party and what it may learn, above it."""
    opened = texts.opened(params)
    return [
        {"range": opened.places.range(start, end), "command": {"title": text, "command": ""}}
        for start, end, text in shapes.lenses(opened.document)
    ]


def fixes(texts: OpenTexts, params: Params) -> list[LspJson]:
    """Edits that mend findings."""
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


def format(texts: OpenTexts, params: Params) -> list[LspJson]:
    """Edits by which a text, or a part of it, is as `vflc fmt` writes it."""
    opened = texts.opened(params)
    span = opened.places.span(params["range"]) if "range" in params else None
    return opened.places.edits(mending.formatted(opened.document, span))


def tokens(texts: OpenTexts, params: Params) -> LspJson:
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


def graph(texts: OpenTexts, params: Params) -> LspJson | None:
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
