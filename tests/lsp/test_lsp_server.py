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

ROOT = Path(__file__).parents[2]
APART = ROOT / "build" / "lsp"
SPEC = (ROOT / "specs" / "deepfm" / "deepfm.vfl").read_text("utf-8")

pytestmark = pytest.mark.skipif(
    not (APART / "pygls").is_dir() and find_spec("pygls") is None, reason="pygls is not installed"
)


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
    editor.ask("shutdown")
    editor.tell("exit")
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
