"""What an editor has open, and the answers to all that it can ask: the one entry for a server and a web page.

Plain data in and out, in the shapes of the Language Server Protocol, without threads, and without files where
all texts are given:

    workspace = Workspace({"file:///spec.vfl": text})
    workspace.open("file:///spec.vfl", text)
    workspace.diagnostics("file:///spec.vfl")
    workspace.ask("textDocument/hover", {"textDocument": {"uri": …}, "position": {"line": 3, "character": 7}})

Methods are those of `ANSWERS`, with their parameters and results as the protocol has them, and two of vflc:
`vflc/explain` (`code`) gives `title` and `page`, `vflc/graph` (`textDocument`, `folded`) a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vflc.lsp.answers import ANSWERS
from vflc.lsp.of_text import diagnostics
from vflc.lsp.places import LspJson
from vflc.lsp.texts import NotAnswered, OpenTexts


class Workspace(OpenTexts):
    """Texts that are open, beside those in folders, and what can be asked of them."""

    def diagnostics(self, uri: str) -> list[LspJson]:
        """Findings of a text, as the protocol has them."""
        return diagnostics(self, self._opened(uri))

    def ask(self, method: str, params: Mapping[str, Any]) -> Any:
        """The answer to a request.

        Raises:
            NotAnswered: there is no such text or method, or what is asked for cannot be done.
        """
        if method not in ANSWERS:
            raise NotAnswered(f"there is no method {method}")
        return ANSWERS[method].answer(self, params)
