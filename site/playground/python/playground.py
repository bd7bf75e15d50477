"""What the page asks of the compiler, as JSON: the language server's own answers, and what crosses."""

from __future__ import annotations

import json
from typing import Any

from vflc.driver import crossing
from vflc.emit.manifest.learned import at_most, receiver
from vflc.lsp.answers import capabilities
from vflc.lsp.places import LspJson
from vflc.lsp.workspace import Workspace
from vflc.picture.of_manifest import crossings
from vflc.picture.sketch import volume

URI = "untitled:spec.vfl"
"""The text of the page: it lies nowhere, so that it can use no files."""
WHOLE = {"start": {"line": 0, "character": 0}, "end": {"line": 1_000_000, "character": 0}}


class Page:
    """The text that the page shows, and what is known of it."""

    def __init__(self) -> None:
        self.workspace = Workspace()
        self.workspace.open(URI, "")

    def ask(self, text: str | None, method: str, params: LspJson) -> Any:
        """The answer to a request of the Language Server Protocol about a text, or about none."""
        if text is not None and text != self.workspace.document(URI).text:
            self.workspace.change(URI, [{"text": text}])
        return self.workspace.ask(method, {"textDocument": {"uri": URI}, **params})

    def check(self, text: str) -> LspJson:
        """Everything that is shown of a text but its picture."""
        hints = self.ask(text, "textDocument/inlayHint", {"range": WHOLE})
        examined = self.workspace.document(URI).examined
        said = crossing(examined)
        return {
            "findings": self.workspace.diagnostics(URI),
            "hints": hints,
            "lenses": self.ask(text, "textDocument/codeLens", {}),
            "tokens": self.ask(text, "textDocument/semanticTokens/full", {})["data"],
            "modifiers": capabilities()["semanticTokensProvider"]["legend"]["tokenModifiers"],
            "drawn": examined.model is not None,
            "crossing": None if said is None else _crossing(said),
            "learned": None if said is None else _learned(said),
        }


def _crossing(said: dict[str, Any]) -> list[dict[str, Any]]:
    """Each value that crosses, in the order of the manifest."""
    return [
        {
            "from": edge["from"], "to": edge["to"], "phase": edge["phase"], "name": edge["id"],
            "shape": each.shape, "size": volume([each], "step"), "depends": edge["depends_on"],
            "known": each.known,
        }
        for edge, each in zip(said["edges"], crossings(said), strict=True)
    ]  # fmt: skip


def _learned(said: dict[str, Any]) -> dict[str, Any]:
    """The most that each receiver may learn of each column, and what is known to reveal it."""
    rows = [
        {"receiver": receiver(row), "party": row["party"], "column": row["column"],
         "bound": at_most(row["bound"]), "kind": row["bound"]["kind"]}
        for row in said["learned"]
    ]  # fmt: skip
    told = [{"receiver": each["to"], "of": each["of"], "says": each["says"]} for each in said["evidence"]]
    return {"rows": rows, "evidence": told}


_page = Page()


def answer(asked: str) -> str:
    """Answers a question of the page: `["check", text]`, or `["ask", text, method, params]`."""
    name, *arguments = json.loads(asked)
    return json.dumps({"check": _page.check, "ask": _page.ask}[name](*arguments), ensure_ascii=False)
