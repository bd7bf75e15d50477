"""The server as an editor has it: a process that speaks the protocol over its pipes, with pytest-lsp.

Its client reads every answer as the protocol's types, and an editor's capabilities say what it may be told.
pygls and pytest-lsp lie in a folder of their own, where `make test-lsp` puts them: they and dp-accounting ask
for different attrs.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vflc.lsp.answers import ANSWERS

pytest_lsp = pytest.importorskip("pytest_lsp", reason="pytest-lsp is not installed: `make test-lsp`")
from lsprotocol import types  # noqa: E402
from pygls.exceptions import JsonRpcException  # noqa: E402

ROOT = Path(__file__).parents[2]
SPEC = (ROOT / "specs" / "deepfm" / "deepfm.vfl").read_text("utf-8")
BROKEN = SPEC.replace("v     = a.v + b.v", "v     = a.v + ")
SERVER = pytest_lsp.ClientServerConfig(server_command=[sys.executable, "-m", "vflc", "lsp", "--stdio"])
INVALID, MODIFIED = -32602, -32801

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_lsp.fixture(config=SERVER, scope="module")
async def client(lsp_client: pytest_lsp.LanguageClient) -> AsyncIterator[None]:
    editor = pytest_lsp.client_capabilities("visual-studio-code")
    watching = types.DidChangeWatchedFilesClientCapabilities(dynamic_registration=True)
    editor.workspace.did_change_watched_files = watching
    lsp_client.watched = asyncio.Event()
    lsp_client.feature("client/registerCapability")(lambda params: lsp_client.watched.set())
    started = await lsp_client.initialize_session(types.InitializeParams(capabilities=editor))
    lsp_client.told = started.capabilities
    yield
    await lsp_client.shutdown_session()
    assert await lsp_client._server.wait() == 0


def position(text: str, words: str, inside: int = 0) -> types.Position:
    offset = text.index(words) + inside
    before = text[text.rfind("\n", 0, offset) + 1 : offset]
    return types.Position(text.count("\n", 0, offset), len(before.encode("utf-16-le")) // 2)


def span(text: str, words: str) -> types.Range:
    return types.Range(position(text, words), position(text, words, len(words)))


WHOLE = types.Range(types.Position(0, 0), types.Position(999, 0))


class Opened:
    """A text that the client has open, and what is asked about it."""

    def __init__(self, client: Any, path: Path, text: str) -> None:
        self.client, self.uri, self.version = client, path.as_uri(), 1
        self.id = types.TextDocumentIdentifier(self.uri)
        item = types.TextDocumentItem(self.uri, "vfl", 1, text)
        client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def change(self, *changes: tuple[types.Range | None, str]) -> None:
        self.version += 1
        self.client.diagnostics.pop(self.uri, None)
        made = [
            types.TextDocumentContentChangeWholeDocument(text)
            if where is None
            else types.TextDocumentContentChangePartial(where, text)
            for where, text in changes
        ]
        document = types.VersionedTextDocumentIdentifier(self.version, self.uri)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, made))

    async def published(self, *codes: str) -> Sequence[types.Diagnostic]:
        """Waits for diagnostics with these codes."""
        async with asyncio.timeout(60):
            while True:
                found = self.client.diagnostics.get(self.uri)
                if found is not None and sorted(each.code for each in found) == sorted(codes):
                    return list(found)
                await self.client.wait_for_notification("textDocument/publishDiagnostics")

    async def ask(self, method: str, **params: Any) -> Any:
        """The answer to a request about this text, as the protocol's type of it."""
        given = SimpleNamespace(text_document=self.id, **params)
        kind = types.METHOD_TO_TYPES[method][2]
        names = [each.name for each in kind.__attrs_attrs__ if hasattr(given, each.name)]
        made = kind(**{name: getattr(given, name) for name in names})
        async with asyncio.timeout(60):
            return await self.client.protocol.send_request_async(method, made)


async def test_findings_come_as_one_types(client: Any, tmp_path: Path) -> None:
    typo = SPEC.replace("Bottom(alice.features", "Bottom(alise.features")
    opened = Opened(client, tmp_path / "typo.vfl", SPEC)
    for text in ("party {", SPEC + "x = ", typo):  # the last one counts
        opened.change((None, text))
    (found,) = await opened.published("VFL0101")
    assert found.message == "unknown name `alise`\ndid you mean `alice`?"
    assert (found.range, found.severity) == (span(typo, "alise"), types.DiagnosticSeverity.Error)
    assert found.code_description.href.endswith("/VFL0101.md")
    context = types.CodeActionContext([found])
    (fix,) = await opened.ask("textDocument/codeAction", range=found.range, context=context)
    assert fix.title == "Write `alice`" and list(fix.diagnostics) == [found] and fix.is_preferred
    assert [each.new_text for each in fix.edit.changes[opened.uri]] == ["alice"]


async def test_hover_names_and_hints(client: Any, tmp_path: Path) -> None:
    text = "# 🚀\n" + SPEC
    opened = Opened(client, tmp_path / "deep fm.vfl", text)
    assert await opened.published() == []
    at = position(text, "fm + dense")
    hover = await opened.ask("textDocument/hover", position=at)
    assert "`fm`: [1] at bob, 4 bytes" in hover.contents.value
    assert hover.range == types.Range(at, position(text, "fm + dense", 2))
    found = await opened.ask("textDocument/definition", position=at)
    assert found.range.start == position(text, "fm    = a.first")
    context = types.ReferenceContext(include_declaration=True)
    assert len(await opened.ask("textDocument/references", position=at, context=context)) == 2
    assert len(await opened.ask("textDocument/documentHighlight", position=at)) == 2
    hints = await opened.ask("textDocument/inlayHint", range=WHOLE)
    assert (position(text, "fm    = a", 2), ": [1] at bob") in [(each.position, each.label) for each in hints]
    lenses = await opened.ask("textDocument/codeLens")
    assert lenses[0].command.title.startswith("4 values cross to bob, 200 bytes a row; alice may learn: ")


async def test_renaming(client: Any, tmp_path: Path) -> None:
    opened = Opened(client, tmp_path / "renamed.vfl", SPEC)
    at = position(SPEC, "fm + dense")
    assert await opened.ask("textDocument/prepareRename", position=at) == types.Range(
        at, position(SPEC, "fm + dense", 2)
    )
    renamed = await opened.ask("textDocument/rename", position=at, new_name="factors")
    assert [each.new_text for each in renamed.changes[opened.uri]] == ["factors", "factors"]
    with pytest.raises(JsonRpcException, match="is no name") as refused:
        await opened.ask("textDocument/rename", position=at, new_name="2nd")
    assert refused.value.code == INVALID


async def test_what_can_be_written(client: Any, tmp_path: Path) -> None:
    opened = Opened(client, tmp_path / "written.vfl", SPEC)
    await opened.published()
    items = await opened.ask("textDocument/completion", position=position(SPEC, "a.deep, b", 2))
    assert {"first", "v", "v2", "deep"} == {each.label for each in items}
    told = await opened.ask("textDocument/signatureHelp", position=position(SPEC, "dense(mlp", 6))
    assert told.signatures[0].label.startswith("dense(x, units") and told.active_parameter == 0


async def test_the_outline_and_colours(client: Any, tmp_path: Path) -> None:
    opened = Opened(client, tmp_path / "outline.vfl", SPEC)
    symbols = await opened.ask("textDocument/documentSymbol")
    assert [each.name for each in symbols][:4] == ["alice", "bob", "Bottom", "a"]
    found = await opened.ask("workspace/symbol", query="Bott")
    assert ("Bottom", opened.uri) in [(each.name, each.location.uri) for each in found]
    folds = await opened.ask("textDocument/foldingRange")
    assert (3, 9) in [(each.start_line, each.end_line) for each in folds]
    at = position(SPEC, "fm + dense")
    (chain,) = await opened.ask("textDocument/selectionRange", positions=[at])
    assert chain.range.start == at and chain.parent is not None
    every = await opened.ask("textDocument/semanticTokens/full")
    some = await opened.ask("textDocument/semanticTokens/range", range=span(SPEC, "fm + dense"))
    assert len(every.data) % 5 == 0 and 0 < len(some.data) < len(every.data)
    legend = client.told.semantic_tokens_provider.legend
    assert max(every.data[3::5]) < len(legend.token_types)


async def test_formatting(client: Any, tmp_path: Path) -> None:
    text = SPEC.replace("party bob {", "party   bob {").replace("epochs    5", "epochs 5")
    opened = Opened(client, tmp_path / "formatted.vfl", text)
    options = types.FormattingOptions(tab_size=2, insert_spaces=True)
    edits = await opened.ask("textDocument/formatting", options=options)
    some = await opened.ask(
        "textDocument/rangeFormatting", options=options, range=span(text, "party   bob {")
    )
    assert len(edits) == 2 and [each in edits for each in some] == [True]


async def test_calls_of_blocks(client: Any, tmp_path: Path) -> None:
    opened = Opened(client, tmp_path / "calls.vfl", SPEC)
    (item,) = await opened.ask("textDocument/prepareCallHierarchy", position=position(SPEC, "Bottom(alice"))
    assert (item.name, item.uri, item.selection_range) == ("Bottom", opened.uri, span(SPEC, "Bottom"))
    incoming = await opened.ask("callHierarchy/incomingCalls", item=item)
    assert [each.from_.name for each in incoming if each.from_.uri == opened.uri] == ["a", "b"]
    caller = incoming[0].from_
    (called,) = await opened.ask("callHierarchy/outgoingCalls", item=caller)
    assert called.to.name == "Bottom"


async def test_methods_of_vflc(client: Any, tmp_path: Path) -> None:
    opened = Opened(client, tmp_path / "graph.vfl", SPEC)
    ask = client.protocol.send_request_async
    picture = await ask("vflc/graph", {"textDocument": {"uri": opened.uri}, "folded": None})
    assert picture.svg.startswith("<svg") and picture.width > 100
    told = await ask("vflc/explain", {"code": "101"})
    assert told.code == "VFL0101" and told.title


async def test_broken_text_still_has_answers(client: Any, tmp_path: Path) -> None:
    """Names are those of what parses, and what is known is that of the text before."""
    opened = Opened(client, tmp_path / "broken.vfl", SPEC)
    await opened.published()
    opened.change((span(SPEC, "a.v + b.v"), "a.v + "))
    await opened.published("VFL0001")
    at = position(BROKEN, "Bottom(bob", 1)
    hover = await opened.ask("textDocument/hover", position=at)
    assert "Bottom(fields, k, units)" in hover.contents.value
    found = await opened.ask("textDocument/definition", position=at)
    assert found.range.start == position(BROKEN, "Bottom(fields")
    (item,) = await opened.ask("textDocument/prepareCallHierarchy", position=at)
    given = {
        "position": at, "positions": [at], "range": WHOLE, "query": "Bot", "item": item, "new_name": "Top",
        "options": types.FormattingOptions(tab_size=2, insert_spaces=True),
    }  # fmt: skip
    silent = set()
    for method in ANSWERS:
        if method.startswith("vflc/"):
            continue
        context = {"textDocument/references": types.ReferenceContext(True)}
        context["textDocument/codeAction"] = types.CodeActionContext([])
        try:
            if not await opened.ask(method, context=context.get(method), **given):
                silent.add(method)
        except JsonRpcException as refused:
            assert refused.code == INVALID, method
            silent.add(method)
    # nothing to complete or mend there, in no call; what does not parse is not formatted or renamed
    assert silent <= {
        "textDocument/completion", "textDocument/signatureHelp", "textDocument/codeAction",
        "textDocument/formatting", "textDocument/rangeFormatting", "textDocument/rename",
        "callHierarchy/outgoingCalls",
    }  # fmt: skip
    picture = await client.protocol.send_request_async(
        "vflc/graph", {"textDocument": {"uri": opened.uri}, "folded": None}
    )
    assert picture.svg.startswith("<svg")
    client.text_document_did_close(types.DidCloseTextDocumentParams(opened.id))
    await opened.published()


async def test_a_text_that_uses_another_is_checked_again(client: Any, tmp_path: Path) -> None:
    using = SPEC.replace("block Bottom", "block Own").replace(
        "party alice", 'use "mine.vfl".{Bottom}\nparty alice'
    )
    block = SPEC[SPEC.index("block Bottom") : SPEC.index("}\n\n", SPEC.index("block Bottom")) + 2]
    mine = Opened(client, tmp_path / "mine.vfl", block)
    main = Opened(client, tmp_path / "main.vfl", using)
    assert await main.published() == []
    mine.change((span(block, "block Bottom"), "block Button"))
    (found,) = await main.published("VFL0108")
    assert "did you mean `Button`?" in found.message


async def test_a_file_that_changes_on_the_disk_is_read_again(client: Any, tmp_path: Path) -> None:
    block = SPEC[SPEC.index("block Bottom") : SPEC.index("}\n\n", SPEC.index("block Bottom")) + 2]
    (tmp_path / "mine.vfl").write_text(block, "utf-8")
    using = SPEC.replace(block, "").replace("party alice", 'use "mine.vfl".{Bottom}\nparty alice')
    main = Opened(client, tmp_path / "main.vfl", using)
    assert await main.published() == []
    assert client.watched.is_set()  # the server asked to be told of files
    (tmp_path / "mine.vfl").write_text(block.replace("Bottom", "Button"), "utf-8")
    change = types.FileEvent((tmp_path / "mine.vfl").as_uri(), types.FileChangeType.Changed)
    client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([change]))
    found = await main.published("VFL0108")
    assert "did you mean `Button`?" in found[0].message


async def test_what_is_no_request_of_ours_ends_nothing(client: Any, tmp_path: Path) -> None:
    """Hostile or broken messages have an answer at most."""
    protocol = client.protocol
    for method, params in [
        ("textDocument/hover", {}), ("textDocument/hover", None), ("textDocument/hover", {"textDocument": 3}),
        ("textDocument/hover", {"textDocument": {"uri": "file:///no.vfl"}, "position": {"line": 0}}),
        ("textDocument/selectionRange", {"textDocument": {"uri": 1}}), ("no/such", {}),
        ("vflc/explain", {"code": 7}),
        ("callHierarchy/incomingCalls", {"item": {"uri": "file:///%00", "name": "x"}}), ("vflc/explain", {}),
    ]:  # fmt: skip
        protocol._request_futures["raw"] = answer = Future()  # the client itself sends no such thing
        protocol._send_data({"jsonrpc": "2.0", "id": "raw", "method": method, "params": params})
        with pytest.raises(JsonRpcException):
            await asyncio.wait_for(asyncio.wrap_future(answer), 60)
    for method, params in [
        ("textDocument/didChange", {"textDocument": {"uri": "file:///no.vfl"}, "contentChanges": []}),
        ("textDocument/didClose", {"textDocument": {"uri": "file:///no.vfl"}}),
        ("$/cancelRequest", {"id": 999}), ("no/such", []),
    ]:  # fmt: skip
        protocol._send_data({"jsonrpc": "2.0", "method": method, "params": params})
    assert (await protocol.send_request_async("vflc/explain", {"code": "101"})).code == "VFL0101"


async def test_a_slow_check_gives_way_to_the_next_keystroke(client: Any, tmp_path: Path) -> None:
    """A request for the text before is told so, and the answer for the one after comes."""
    columns = "".join(f"  feature c{i}: int -> index(100)\n" for i in range(2000))
    large = SPEC.replace("  feature UserID:", f"{columns}  feature UserID:")
    opened = Opened(client, tmp_path / "large.vfl", f"# {large}")
    waiting = asyncio.ensure_future(opened.ask("textDocument/codeLens"))
    await asyncio.sleep(0)
    opened.change((None, SPEC.replace("sigmoid", "sigmoit")))
    (found,) = await opened.published("VFL0106")
    assert found.range.start == position(SPEC, "sigmoid")
    with pytest.raises(JsonRpcException) as late:
        await waiting
    assert late.value.code == MODIFIED


async def test_who_types_on_waits_for_no_check(client: Any, tmp_path: Path) -> None:
    """Requests that come with each keystroke do not start one each."""
    opened, asked = Opened(client, tmp_path / "typed.vfl", SPEC), []
    await opened.published()
    for at, key in enumerate("# a comment"):
        place = types.Position(0, at)
        opened.change((types.Range(place, place), key))
        asked.append(asyncio.ensure_future(opened.ask("textDocument/codeLens")))
        await asyncio.sleep(0)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    late = [each.code for each in answers if isinstance(each, JsonRpcException)]
    assert late and set(late) == {MODIFIED}  # of a burst most are late for what they ask about
    assert answers[-1][0].command.title
