"""The language server: it speaks the protocol, and nothing else; what it says comes from the features."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls import uris
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from vflc import __version__
from vflc.lsp import coloured, completion, definition, describe, findings, hints, mending, outline
from vflc.lsp.analysis import Document
from vflc.lsp.positions import Positions, TextChange

PAUSE = 0.05
"""Seconds without a keystroke after which a text is looked at."""
_LEVELS = {
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
    "note": lsp.DiagnosticSeverity.Information,
}
_SYMBOLS = {
    "party": lsp.SymbolKind.Namespace, "population": lsp.SymbolKind.Namespace, "block": lsp.SymbolKind.Class,
    "value": lsp.SymbolKind.Variable, "prediction": lsp.SymbolKind.Variable,
    "setting": lsp.SymbolKind.Property, "statement": lsp.SymbolKind.Object,
}  # fmt: skip
_COMPLETIONS = {
    "party": lsp.CompletionItemKind.Module, "library": lsp.CompletionItemKind.Module,
    "column": lsp.CompletionItemKind.Field, "value": lsp.CompletionItemKind.Variable,
    "parameter": lsp.CompletionItemKind.Variable, "block": lsp.CompletionItemKind.Class,
    "argument": lsp.CompletionItemKind.Property, "setting": lsp.CompletionItemKind.Property,
    "keyword": lsp.CompletionItemKind.Keyword, "type": lsp.CompletionItemKind.TypeParameter,
}  # fmt: skip


class OpenedText:
    """A text that an editor has open, looked at when something is asked of it."""

    def __init__(self, uri: str) -> None:
        path = uris.to_fs_path(uri)
        self.path = Path(path) if path else None
        self.analysis: Document | None = None
        self.positions = Positions("")

    def look(self, text: str) -> Document:
        if self.analysis is None or self.analysis.text != text:
            self.analysis = Document(text, self.path, self.analysis)
            self.positions = Positions(text)
        return self.analysis

    def range(self, start: int, end: int) -> lsp.Range:
        first, last = self.positions.position(start), self.positions.position(end)
        return lsp.Range(lsp.Position(*first), lsp.Position(*last))

    def offset(self, position: lsp.Position) -> int:
        return self.positions.offset(position.line, position.character)

    def edits(self, edits: Iterable[TextChange]) -> list[lsp.TextEdit]:
        return [lsp.TextEdit(self.range(each.start, each.end), each.text) for each in edits]


class SpecServer(LanguageServer):  # type: ignore[misc,unused-ignore]
    """A server with the texts that are open."""

    def __init__(self) -> None:
        super().__init__("vflc", __version__, text_document_sync_kind=lsp.TextDocumentSyncKind.Full)
        self.opened: dict[str, OpenedText] = {}
        self.waiting: dict[str, asyncio.Task[None]] = {}

    def of(self, uri: str) -> tuple[OpenedText, Document]:
        """An open text as it is now, and what is known of it."""
        opened = self.opened.setdefault(uri, OpenedText(uri))
        return opened, opened.look(self.workspace.get_text_document(uri).source)

    def publish(self, uri: str) -> None:
        opened, analysis = self.of(uri)
        found = [_diagnostic(opened, uri, each) for each in findings.squiggles(analysis)]
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, found))

    def soon(self, uri: str) -> None:
        """Publishes once nothing is typed for a moment: the next keystroke calls it off."""
        if (waiting := self.waiting.pop(uri, None)) is not None:
            waiting.cancel()
        self.waiting[uri] = asyncio.get_running_loop().create_task(self._later(uri))

    async def _later(self, uri: str) -> None:
        await asyncio.sleep(PAUSE)
        self.publish(uri)


def serve() -> None:
    """Speaks with an editor over standard input and output until it ends."""
    logging.getLogger("pygls.protocol.json_rpc").addFilter(_is_defect)
    made().start_io(stdout=os.fdopen(os.dup(1), "wb"))  # it closes what it writes to


def _is_defect(record: logging.LogRecord) -> bool:
    """A request that was refused has its answer, and nothing to be logged."""
    return not (record.exc_info and isinstance(record.exc_info[1], JsonRpcInvalidParams))


def made() -> SpecServer:
    """A server with all features."""
    server = SpecServer()
    server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)(_opened)
    server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)(_changed)
    server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)(_closed)
    server.feature(lsp.TEXT_DOCUMENT_HOVER)(_hover)
    server.feature(
        lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=[".", ">", ":", "{"])
    )(_complete)
    server.feature(
        lsp.TEXT_DOCUMENT_SIGNATURE_HELP, lsp.SignatureHelpOptions(trigger_characters=["(", ",", "="])
    )(_signature)
    server.feature(lsp.TEXT_DOCUMENT_DEFINITION)(_definition)
    server.feature(lsp.TEXT_DOCUMENT_REFERENCES)(_references)
    server.feature(lsp.TEXT_DOCUMENT_RENAME)(_rename)
    server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)(_symbols)
    server.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)(_hints)
    server.feature(lsp.TEXT_DOCUMENT_CODE_LENS)(_lenses)
    server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix])
    )(_fixes)
    server.feature(lsp.TEXT_DOCUMENT_FORMATTING)(_format)
    server.feature(lsp.TEXT_DOCUMENT_FOLDING_RANGE)(_folds)
    legend = lsp.SemanticTokensLegend(list(coloured.TYPES), list(coloured.MODIFIERS))
    server.feature(lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, legend)(_tokens)
    return server


def _opened(server: SpecServer, params: lsp.DidOpenTextDocumentParams) -> None:
    server.publish(params.text_document.uri)


async def _changed(server: SpecServer, params: lsp.DidChangeTextDocumentParams) -> None:
    server.soon(params.text_document.uri)


def _closed(server: SpecServer, params: lsp.DidCloseTextDocumentParams) -> None:
    uri = params.text_document.uri
    if (waiting := server.waiting.pop(uri, None)) is not None:
        waiting.cancel()
    server.opened.pop(uri, None)
    server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))


def _hover(server: SpecServer, params: lsp.HoverParams) -> lsp.Hover | None:
    opened, analysis = server.of(params.text_document.uri)
    found = describe.hover(analysis, opened.offset(params.position))
    if found is None:
        return None
    start, end, text = found
    return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, text), opened.range(start, end))


def _complete(server: SpecServer, params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
    opened, analysis = server.of(params.text_document.uri)
    offset = opened.offset(params.position)
    start, found = completion.proposals(analysis, offset)
    return [
        lsp.CompletionItem(
            each.word.removesuffix(" = "),
            kind=_COMPLETIONS.get(each.kind, lsp.CompletionItemKind.Function),
            detail=each.detail or None,
            documentation=each.doc or None,
            text_edit=lsp.TextEdit(opened.range(start, offset), each.word),
        )
        for each in found
    ]


def _signature(server: SpecServer, params: lsp.SignatureHelpParams) -> lsp.SignatureHelp | None:
    opened, analysis = server.of(params.text_document.uri)
    found = completion.signature(analysis, opened.offset(params.position))
    if found is None:
        return None
    entry, active = found
    parameters = [lsp.ParameterInformation(each) for each in entry.parameters]
    told = lsp.SignatureInformation(entry.signature, entry.doc, parameters, active)
    return lsp.SignatureHelp([told], 0, active)


def _definition(server: SpecServer, params: lsp.DefinitionParams) -> lsp.Location | None:
    opened, analysis = server.of(params.text_document.uri)
    found = definition.definition(analysis, opened.offset(params.position))
    if found is None:
        return None
    path, start, end = found
    if path is None:
        return lsp.Location(params.text_document.uri, opened.range(start, end))
    uri = path.resolve().as_uri()
    there = OpenedText(uri)
    there.positions = Positions(path.read_text("utf-8-sig"))
    return lsp.Location(uri, there.range(start, end))


def _references(server: SpecServer, params: lsp.ReferenceParams) -> list[lsp.Location]:
    opened, analysis = server.of(params.text_document.uri)
    offset, uri = opened.offset(params.position), params.text_document.uri
    found = definition.references(analysis, offset, params.context.include_declaration)
    return [lsp.Location(uri, opened.range(*each)) for each in found]


def _rename(server: SpecServer, params: lsp.RenameParams) -> lsp.WorkspaceEdit:
    opened, analysis = server.of(params.text_document.uri)
    try:
        edits = definition.renamed(analysis, opened.offset(params.position), params.new_name)
    except definition.NotRenamed as error:
        raise JsonRpcInvalidParams(str(error)) from error
    return lsp.WorkspaceEdit({params.text_document.uri: opened.edits(edits)})


def _symbols(server: SpecServer, params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
    opened, analysis = server.of(params.text_document.uri)
    return [_symbol(opened, each) for each in outline.symbols(analysis)]


def _hints(server: SpecServer, params: lsp.InlayHintParams) -> list[lsp.InlayHint]:
    opened, analysis = server.of(params.text_document.uri)
    start, end = opened.offset(params.range.start), opened.offset(params.range.end)
    return [
        lsp.InlayHint(opened.range(place, place).start, text, lsp.InlayHintKind.Type)
        for place, text in hints.hints(analysis, start, end)
    ]


def _lenses(server: SpecServer, params: lsp.CodeLensParams) -> list[lsp.CodeLens]:
    opened, analysis = server.of(params.text_document.uri)
    return [
        lsp.CodeLens(opened.range(start, end), lsp.Command(text, ""))
        for start, end, text in hints.lenses(analysis)
    ]


def _fixes(server: SpecServer, params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
    opened, analysis = server.of(params.text_document.uri)
    start, end = opened.offset(params.range.start), opened.offset(params.range.end)
    uri = params.text_document.uri
    return [
        lsp.CodeAction(
            fix.title,
            lsp.CodeActionKind.QuickFix,
            [
                each
                for each in params.context.diagnostics
                if each.code == fix.code and opened.offset(each.range.start) == fix.start
            ],
            edit=lsp.WorkspaceEdit({uri: opened.edits(fix.edits)}),
        )
        for fix in mending.quick_fixes(analysis, start, end)
    ]


def _format(server: SpecServer, params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
    opened, analysis = server.of(params.text_document.uri)
    return opened.edits(mending.formatted(analysis))


def _folds(server: SpecServer, params: lsp.FoldingRangeParams) -> list[lsp.FoldingRange]:
    opened, analysis = server.of(params.text_document.uri)
    ranges = [opened.range(*each) for each in outline.folds(analysis)]
    return [lsp.FoldingRange(each.start.line, each.end.line) for each in ranges]


def _tokens(server: SpecServer, params: lsp.SemanticTokensParams) -> lsp.SemanticTokens:
    """Five numbers a token: lines and columns since the last one, length, type, modifiers as bits."""
    opened, analysis = server.of(params.text_document.uri)
    data: list[int] = []
    line = column = 0
    for start, end, kind, modifiers in coloured.tokens(analysis):
        place = opened.range(start, end)
        at = place.start
        bits = sum(1 << coloured.MODIFIERS.index(each) for each in modifiers)
        since = at.character - (column if at.line == line else 0)
        length = place.end.character - at.character
        data += [at.line - line, since, length, coloured.TYPES.index(kind), bits]
        line, column = at.line, at.character
    return lsp.SemanticTokens(data)


def _symbol(opened: OpenedText, symbol: outline.OutlineSymbol) -> lsp.DocumentSymbol:
    return lsp.DocumentSymbol(
        symbol.name,
        _SYMBOLS.get(symbol.kind, lsp.SymbolKind.Field),
        opened.range(symbol.start, symbol.end),
        opened.range(symbol.name_start, symbol.name_end),
        symbol.kind,
        children=[_symbol(opened, each) for each in symbol.children],
    )


def _diagnostic(opened: OpenedText, uri: str, found: findings.Squiggle) -> lsp.Diagnostic:
    related: list[Any] = [
        lsp.DiagnosticRelatedInformation(lsp.Location(uri, opened.range(start, end)), text)
        for start, end, text in found.related
    ]
    return lsp.Diagnostic(
        opened.range(found.start, found.end),
        found.message,
        _LEVELS[found.level],
        found.code,
        source="vflc",
        related_information=related,
    )
