"""How every method is answered; what the answers say comes from the features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from vflc.lsp import at_place, coloured, of_block, of_text, pages
from vflc.lsp.places import LspJson, Params
from vflc.lsp.texts import NotAnswered, OpenTexts

Answer = Callable[[OpenTexts, Params], Any]


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


def _explain(texts: OpenTexts, params: Params) -> LspJson:
    try:
        return pages.page(params["code"])
    except KeyError as error:
        raise NotAnswered(str(error.args[0])) from None


_LEGEND = {"tokenTypes": list(coloured.TYPES), "tokenModifiers": list(coloured.MODIFIERS)}
_COLOURS = {"legend": _LEGEND, "full": True, "range": True}
ANSWERS: dict[str, Answered] = {
    "textDocument/hover": Answered(at_place.hover, "hoverProvider", True),
    "textDocument/completion": Answered(
        at_place.complete, "completionProvider", False, {"triggerCharacters": [".", ">", ":", "{"]}
    ),
    "textDocument/signatureHelp": Answered(
        at_place.signature, "signatureHelpProvider", False, {"triggerCharacters": ["(", ",", "="]}
    ),
    "textDocument/definition": Answered(at_place.declaration, "definitionProvider"),
    "textDocument/references": Answered(at_place.references, "referencesProvider"),
    "textDocument/documentHighlight": Answered(at_place.highlights, "documentHighlightProvider"),
    "textDocument/prepareRename": Answered(
        at_place.prepare_rename, "renameProvider", False, {"prepareProvider": True}
    ),
    "textDocument/rename": Answered(at_place.rename, "renameProvider", True, {"prepareProvider": True}, True),
    "textDocument/documentSymbol": Answered(of_text.symbols, "documentSymbolProvider"),
    "workspace/symbol": Answered(of_text.workspace_symbols, "workspaceSymbolProvider"),
    "textDocument/foldingRange": Answered(of_text.folds, "foldingRangeProvider"),
    "textDocument/selectionRange": Answered(at_place.selections, "selectionRangeProvider"),
    "textDocument/inlayHint": Answered(of_text.hints, "inlayHintProvider", True),
    "textDocument/codeLens": Answered(of_text.lenses, "codeLensProvider", True, {}),
    "textDocument/codeAction": Answered(
        of_text.fixes, "codeActionProvider", True, {"codeActionKinds": ["quickfix", "refactor.rewrite"]}, True
    ),
    "textDocument/formatting": Answered(of_text.format, "documentFormattingProvider"),
    "textDocument/rangeFormatting": Answered(of_text.format, "documentRangeFormattingProvider"),
    "textDocument/semanticTokens/full": Answered(of_text.tokens, "semanticTokensProvider", True, _COLOURS),
    "textDocument/semanticTokens/range": Answered(of_text.tokens, "semanticTokensProvider", True, _COLOURS),
    "textDocument/prepareCallHierarchy": Answered(of_block.prepare_calls, "callHierarchyProvider"),
    "callHierarchy/incomingCalls": Answered(of_block.incoming, "callHierarchyProvider"),
    "callHierarchy/outgoingCalls": Answered(of_block.outgoing, "callHierarchyProvider"),
    "vflc/graph": Answered(of_text.graph, "", True),
    "vflc/explain": Answered(_explain, ""),
}
"""By method how it is answered."""

_CHANGES = {"openClose": True, "change": 2, "save": {"includeText": False}}


def capabilities() -> LspJson:
    """What the server can do, as it tells an editor that starts it."""
    told = {each.capability: each.options for each in ANSWERS.values() if each.capability}
    return {"textDocumentSync": _CHANGES, "positionEncoding": "utf-16", **told}
