"""Answers to what is asked at a place in a text, in the shapes of the protocol."""

from __future__ import annotations

from vflc.lsp import completion, definition, describe, kinds, names, renaming, selection
from vflc.lsp.places import LspJson, Params
from vflc.lsp.texts import OpenTexts


def hover(texts: OpenTexts, params: Params) -> LspJson | None:
    """What the name at a place is."""
    opened, offset = texts.asked_at(params)
    found = describe.hover(opened.document, offset)
    if found is None:
        return None
    start, end, text = found
    return {"contents": {"kind": "markdown", "value": text}, "range": opened.places.range(start, end)}


def complete(texts: OpenTexts, params: Params) -> list[LspJson]:
    """What can be written at a place."""
    opened, offset = texts.asked_at(params)
    start, found = completion.proposals(opened.document, offset)
    range = opened.places.range(start, offset)
    return [
        {
            "label": each.word.removesuffix(" = "),
            "kind": kinds.word(each.kind),
            **({"detail": each.detail} if each.detail else {}),
            **({"documentation": each.doc} if each.doc else {}),
            "textEdit": {"range": range, "newText": each.word},
        }
        for each in found
    ]


def signature(texts: OpenTexts, params: Params) -> LspJson | None:
    """How what is called around a place is called."""
    opened, offset = texts.asked_at(params)
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


def declaration(texts: OpenTexts, params: Params) -> LspJson | None:
    """Where the name at a place is declared."""
    opened, offset = texts.asked_at(params)
    found = definition.definition(opened.document, offset)
    if found is None:
        return None
    path, start, end = found
    places = opened.places if path is None else texts.places_of(path)
    return places.location(start, end) if places is not None else None


def references(texts: OpenTexts, params: Params) -> list[LspJson]:
    """Where the name at a place stands, in all texts."""
    opened, offset = texts.asked_at(params)
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


def highlights(texts: OpenTexts, params: Params) -> list[LspJson]:
    """Where it stands in this text."""
    opened, offset = texts.asked_at(params)
    found = definition.references(opened.document, offset)
    return [{"range": opened.places.range(*each), "kind": 1} for each in found]


def prepare_rename(texts: OpenTexts, params: Params) -> LspJson:
    """The name at a place, if it can be another."""
    opened, offset = texts.asked_at(params)
    return opened.places.range(*renaming.renamable(texts, opened, offset))


def rename(texts: OpenTexts, params: Params) -> LspJson:
    """The edits by which it is."""
    opened, offset = texts.asked_at(params)
    changes = renaming.renamed(texts, opened, offset, params["newName"])
    return {"changes": {each.uri: each.places.edits(edits) for each, edits in changes}}


def selections(texts: OpenTexts, params: Params) -> list[LspJson]:
    """From each place outwards what can be selected."""
    opened = texts.opened(params)
    found = []
    for position in params["positions"]:
        chain: LspJson | None = None
        for each in reversed(selection.selections(opened.document, opened.places.offset(position))):
            chain = {"range": opened.places.range(*each), **({"parent": chain} if chain else {})}
        found.append(chain or {"range": {"start": position, "end": position}})
    return found
