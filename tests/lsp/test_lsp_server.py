"""The server as an editor has it: a process that speaks the protocol over its pipes.

pygls lies in a folder of its own, where `make test` puts it: it and dp-accounting ask for different attrs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from vflc.lsp.answers import ANSWERS

ROOT = Path(__file__).parents[2]
APART = ROOT / "build" / "lsp"
SPEC = (ROOT / "specs" / "deepfm" / "deepfm.vfl").read_text("utf-8")

pytestmark = pytest.mark.skipif(
    not (APART / "pygls").is_dir() and find_spec("pygls") is None, reason="pygls is not installed"
)


NOTHING = {
    "textDocument/formatting", "textDocument/rangeFormatting", "textDocument/signatureHelp",
    "textDocument/codeAction", "textDocument/completion", "callHierarchy/outgoingCalls",
}  # fmt: skip
"""What has nothing to say at a block's name in a spec without mistakes."""


class Editor:
    """Sends requests and reads what comes, one after the other."""

    def __init__(self, folder: Path) -> None:
        paths = os.pathsep.join([str(APART), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vflc", "lsp", "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self.last = 0
        self.notes: list[dict[str, Any]] = []
        self.can = self.ask("initialize", processId=None, rootUri=None, capabilities={})["capabilities"]
        self.tell("initialized")

    def send(self, **message: Any) -> None:
        content = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(content), content))
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        length = 0
        while (line := self.process.stdout.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            length = int(value) if name.lower() == "content-length" else length
        content = self.process.stdout.read(length)
        assert content, "the server ended"
        message: dict[str, Any] = json.loads(content)
        return message

    def tell(self, method: str, **params: Any) -> None:
        self.send(method=method, params=params)

    def answer(self, method: str, **params: Any) -> dict[str, Any]:
        self.last += 1
        self.send(id=self.last, method=method, params=params)
        while (message := self.read()).get("id") != self.last or "method" in message:
            self.notes.append(message)
        return message

    def ask(self, method: str, **params: Any) -> Any:
        answer = self.answer(method, **params)
        assert "error" not in answer, answer
        return answer["result"]

    def published(self, codes: set[str]) -> list[dict[str, Any]]:
        """Waits for diagnostics with these codes."""
        while True:
            note = self.notes.pop(0) if self.notes else self.read()
            if note.get("method") == "textDocument/publishDiagnostics":
                found: list[dict[str, Any]] = note["params"]["diagnostics"]
                if {each["code"] for each in found} == codes:
                    return found


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    editor = Editor(tmp_path_factory.mktemp("lsp"))
    yield editor
    editor.last += 1
    editor.send(id=editor.last, method="shutdown")  # neither has parameters, and many editors send none
    editor.send(method="exit")
    assert editor.process.wait(20) == 0
    for pipe in (editor.process.stdin, editor.process.stdout):
        assert pipe is not None
        pipe.close()


def place(text: str, words: str, inside: int = 0) -> dict[str, int]:
    offset = text.index(words) + inside
    line = text.count("\n", 0, offset)
    before = text[text.rfind("\n", 0, offset) + 1 : offset]
    return {"line": line, "character": len(before.encode("utf-16-le")) // 2}


def test_every_feature_answers(editor: Editor, tmp_path: Path) -> None:
    path = tmp_path / "deep fm.vfl"
    text = "# 🚀\n" + SPEC
    uri = path.as_uri()
    document = {"uri": uri}
    editor.tell(
        "textDocument/didOpen",
        textDocument={"uri": uri, "languageId": "vfl", "version": 1, "text": text},
    )
    assert editor.published(set()) == []
    at = {"textDocument": document, "position": place(text, "fm + dense")}
    hover = editor.ask("textDocument/hover", **at)
    assert "`fm`: [1] at bob, 4 bytes" in hover["contents"]["value"]
    assert hover["range"] == {"start": place(text, "fm + dense"), "end": place(text, "fm + dense", 2)}
    assert editor.ask("textDocument/definition", **at)["range"]["start"] == place(text, "fm    = a.first")
    assert len(editor.ask("textDocument/references", **at, context={"includeDeclaration": True})) == 2
    renamed = editor.ask("textDocument/rename", **at, newName="factors")
    assert [each["newText"] for each in renamed["changes"][uri]] == ["factors", "factors"]
    refused = editor.answer("textDocument/rename", **at, newName="2nd")
    assert "is no name" in refused["error"]["message"]
    items = editor.ask("textDocument/completion", textDocument=document, position=place(text, "a.deep, b", 4))
    assert {"first", "v", "v2", "deep"} == {each["label"] for each in items}
    told = editor.ask(
        "textDocument/signatureHelp", textDocument=document, position=place(text, "dense(mlp", 6)
    )
    assert told["signatures"][0]["label"].startswith("dense(x, units")
    symbols = editor.ask("textDocument/documentSymbol", textDocument=document)
    assert [each["name"] for each in symbols][:4] == ["alice", "bob", "Bottom", "a"]
    whole = {"start": {"line": 0, "character": 0}, "end": {"line": 999, "character": 0}}
    hints = editor.ask("textDocument/inlayHint", textDocument=document, range=whole)
    assert {"position": place(text, "fm    = a", 2), "label": ": [1] at bob", "kind": 1} in hints
    lenses = editor.ask("textDocument/codeLens", textDocument=document)
    assert lenses[0]["command"]["title"].startswith(
        "4 values cross to bob, 200 bytes a row; alice may learn: "
    )
    folds = editor.ask("textDocument/foldingRange", textDocument=document)
    assert {"startLine": 4, "endLine": 10} in folds
    assert len(editor.ask("textDocument/semanticTokens/full", textDocument=document)["data"]) % 5 == 0
    options = {"tabSize": 2, "insertSpaces": True}
    assert editor.ask("textDocument/formatting", textDocument=document, options=options) == []


def test_a_keystroke_is_followed_and_a_typo_mended(editor: Editor, tmp_path: Path) -> None:
    uri = (tmp_path / "typo.vfl").as_uri()
    document = {"uri": uri}
    typo = SPEC.replace("Bottom(alice.features", "Bottom(alise.features")
    editor.tell(
        "textDocument/didOpen", textDocument={"uri": uri, "languageId": "vfl", "version": 1, "text": SPEC}
    )
    for version, text in enumerate(("party {", SPEC + "x = ", typo), 2):  # the last one counts
        editor.tell(
            "textDocument/didChange",
            textDocument={"uri": uri, "version": version},
            contentChanges=[{"text": text}],
        )
    (found,) = editor.published({"VFL0101"})
    assert found["message"] == "unknown name `alise`\ndid you mean `alice`?"
    assert found["range"]["start"] == place(typo, "alise")
    (fix,) = editor.ask(
        "textDocument/codeAction",
        textDocument=document,
        range=found["range"],
        context={"diagnostics": [found]},
    )
    assert fix["title"] == "Write `alice`" and fix["diagnostics"] == [found]
    assert [each["newText"] for each in fix["edit"]["changes"][uri]] == ["alice"]


def test_broken_text_still_has_names(editor: Editor, tmp_path: Path) -> None:
    uri = (tmp_path / "broken.vfl").as_uri()
    text = SPEC.replace("v     = a.v + b.v", "v     = a.v + ")
    editor.tell(
        "textDocument/didOpen", textDocument={"uri": uri, "languageId": "vfl", "version": 1, "text": text}
    )
    editor.published({"VFL0001"})
    at = {"textDocument": {"uri": uri}, "position": place(text, "Bottom(bob", 1)}
    assert "Bottom(fields, k, units)" in editor.ask("textDocument/hover", **at)["contents"]["value"]
    assert editor.ask("textDocument/definition", **at)["range"]["start"] == place(text, "Bottom(fields")


def edited(text: str, words: str, new: str) -> dict[str, Any]:
    start = place(text, words)
    return {
        "range": {"start": start, "end": {**start, "character": start["character"] + len(words)}},
        "text": new,
    }


def test_each_method_answers_over_the_wire(editor: Editor, tmp_path: Path) -> None:
    """Also while the text is broken: what a feature says is tested without a server."""
    uri = (tmp_path / "all.vfl").as_uri()
    document = {"uri": uri}
    editor.tell(
        "textDocument/didOpen", textDocument={"uri": uri, "languageId": "vfl", "version": 1, "text": SPEC}
    )
    editor.published(set())
    at = place(SPEC, "Bottom(alice")
    whole = {"start": {"line": 0, "character": 0}, "end": {"line": 999, "character": 0}}
    params = {
        "textDocument": document, "position": at, "positions": [at], "range": whole, "query": "Bot",
        "context": {"diagnostics": [], "includeDeclaration": True}, "code": "VFL0101", "newName": "Top",
        "options": {"tabSize": 2, "insertSpaces": True}, "folded": None,
    }  # fmt: skip
    for text in (SPEC, SPEC.replace("v     = a.v + b.v", "v     = a.v + ")):
        if text != SPEC:
            change = edited(SPEC, "a.v + b.v", "a.v + ")
            editor.tell(
                "textDocument/didChange",
                textDocument={"uri": uri, "version": 2},
                contentChanges=[change],
            )
        (item,) = editor.ask("textDocument/prepareCallHierarchy", textDocument=document, position=at)
        for method in ANSWERS:
            answer = editor.answer(method, **params, item=item)
            assert "error" not in answer or answer["error"]["code"] == -32602, (method, answer)
            assert answer.get("result") or text != SPEC or method in NOTHING, method
    assert [each["code"] for each in editor.published({"VFL0001"})] == ["VFL0001"]
    editor.tell("textDocument/didClose", textDocument=document)


def test_a_text_that_uses_another_is_checked_again(editor: Editor, tmp_path: Path) -> None:
    using = SPEC.replace("block Bottom", "block Own").replace(
        "party alice", 'use "mine.vfl".{Bottom}\nparty alice'
    )
    block = SPEC[SPEC.index("block Bottom") : SPEC.index("}\n\n", SPEC.index("block Bottom")) + 2]
    mine, main = (tmp_path / "mine.vfl").as_uri(), (tmp_path / "main.vfl").as_uri()
    for uri, text in ((mine, block), (main, using)):
        editor.tell(
            "textDocument/didOpen",
            textDocument={"uri": uri, "languageId": "vfl", "version": 1, "text": text},
        )
    while True:
        note = editor.notes.pop(0) if editor.notes else editor.read()
        if note.get("method") == "textDocument/publishDiagnostics" and note["params"]["uri"] == main:
            break
    assert note["params"]["diagnostics"] == []
    change = edited(block, "block Bottom", "block Button")
    editor.tell("textDocument/didChange", textDocument={"uri": mine, "version": 2}, contentChanges=[change])
    (found,) = editor.published({"VFL0108"})
    assert "did you mean `Button`?" in found["message"]
    assert found["codeDescription"]["href"].endswith("/VFL0108.md")


def test_what_is_no_request_of_ours_ends_nothing(editor: Editor, tmp_path: Path) -> None:
    """Hostile or broken messages have an answer at most."""
    for method, params in [
        ("textDocument/hover", {}), ("textDocument/hover", None), ("textDocument/hover", {"textDocument": 3}),
        ("textDocument/hover", {"textDocument": {"uri": "file:///no.vfl"}, "position": {"line": 0}}),
        ("textDocument/selectionRange", {"textDocument": {"uri": 1}}), ("no/such", {}),
        ("vflc/explain", {"code": 7}),
        ("callHierarchy/incomingCalls", {"item": {"uri": "file:///%00", "name": "x"}}), ("vflc/explain", {}),
    ]:  # fmt: skip
        editor.last += 1
        editor.send(id=editor.last, method=method, params=params)
        while (message := editor.read()).get("id") != editor.last:
            editor.notes.append(message)
        assert "error" in message, method
    editor.tell("textDocument/didChange", textDocument={"uri": "file:///no.vfl"}, contentChanges=[])
    editor.tell("textDocument/didClose", textDocument={"uri": "file:///no.vfl"})
    editor.send(method="$/cancelRequest", params={"id": 999})
    assert editor.ask("vflc/explain", code="101")["code"] == "VFL0101"


def test_a_slow_check_gives_way_to_the_next_keystroke(editor: Editor, tmp_path: Path) -> None:
    """A request for the text before is told so, and the answer for the one after comes."""
    uri = (tmp_path / "large.vfl").as_uri()
    columns = "".join(f"  feature c{i}: int -> index(100)\n" for i in range(2000))
    large = SPEC.replace("  feature UserID:", f"{columns}  feature UserID:")
    document = {"uri": uri}
    editor.tell(
        "textDocument/didOpen",
        textDocument={"uri": uri, "languageId": "vfl", "version": 1, "text": f"# {large}"},
    )
    editor.last += 1
    waiting = editor.last
    editor.send(id=waiting, method="textDocument/codeLens", params={"textDocument": document})
    editor.tell(
        "textDocument/didChange",
        textDocument={"uri": uri, "version": 2},
        contentChanges=[{"text": SPEC.replace("sigmoid", "sigmoit")}],
    )
    (found,) = editor.published({"VFL0106"})
    assert found["range"]["start"] == place(SPEC, "sigmoid")
    answers = [note for note in editor.notes if note.get("id") == waiting] or [editor.read()]
    assert answers[0]["error"]["code"] == -32801


def test_who_types_on_waits_for_no_check(editor: Editor, tmp_path: Path) -> None:
    """Requests that come with each keystroke do not start one each."""
    uri = (tmp_path / "typed.vfl").as_uri()
    document, start = {"uri": uri}, {"line": 0, "character": 0}
    editor.tell(
        "textDocument/didOpen", textDocument={"uri": uri, "languageId": "vfl", "version": 1, "text": SPEC}
    )
    editor.published(set())
    sent = []
    for key in "# a comment":
        change = {"range": {"start": start, "end": start}, "text": key}
        editor.tell("textDocument/didChange", textDocument=document, contentChanges=[change])
        start = {"line": 0, "character": start["character"] + 1}
        editor.last += 1
        sent.append(editor.last)
        editor.send(id=editor.last, method="textDocument/codeLens", params={"textDocument": document})
    answers: dict[int, Any] = {}
    while set(sent) - set(answers):
        message = editor.read()
        answers[message.get("id", 0)] = message
    errors = [answers[each]["error"]["code"] for each in sent if "error" in answers[each]]
    assert errors and set(errors) == {-32801}  # of a burst most are late for what they ask about
    assert answers[sent[-1]]["result"]


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "pygls.py").write_text("raise ModuleNotFoundError('no', name='pygls')\n")
    process = subprocess.run(
        [sys.executable, "-m", "vflc", "lsp"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(APART)])},
        input=b"",
        capture_output=True,
        check=False,
    )
    assert process.returncode == 1
    assert b"pip install 'vflc[lsp]'" in process.stderr
