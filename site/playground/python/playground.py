"""What the page asks of the compiler, as JSON. Offsets are those of the page: units of UTF-16."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

from vflc.diagnostics.explain import explain
from vflc.driver import crossing
from vflc.emit.manifest.learned import at_most, receiver
from vflc.lsp import coloured, completion, describe, findings, hints, mending
from vflc.lsp.analysis import Document
from vflc.lsp.positions import TextChange
from vflc.picture.draw import draw
from vflc.picture.of_manifest import crossings
from vflc.picture.sketch import volume


class Offsets:
    """Of a text: offsets in code points, as Python has them, and in units of UTF-16, as the page has them."""

    def __init__(self, text: str) -> None:
        self.units: list[int] | None = None
        if max(text, default="") > "\uffff":
            self.units = [0, *accumulate(1 + (char > "\uffff") for char in text)]

    def out(self, offset: int) -> int:
        return self.units[offset] if self.units else offset

    def into(self, offset: int) -> int:
        return bisect_left(self.units, offset) if self.units else offset


class Page:
    """The text that the page shows, and what is known of it."""

    def __init__(self) -> None:
        self.document, self.offsets = Document(""), Offsets("")

    def read(self, text: str) -> None:
        if text != self.document.text:
            self.document, self.offsets = self.document.again(text), Offsets(text)

    def check(self, text: str) -> dict[str, Any]:
        """Everything that is shown of a text but its picture."""
        self.read(text)
        document, out = self.document, self.offsets.out
        said = crossing(document.examined)
        return {
            "findings": [
                {"from": out(each.start), "to": out(each.end), "level": each.level, "code": each.code,
                 "message": each.message}
                for each in findings.squiggles(document)
            ],
            "hints": [{"at": out(at), "text": told} for at, told in hints.hints(document, 0, len(text))],
            "lenses": [{"from": out(start), "text": told} for start, _, told in hints.lenses(document)],
            "owners": [
                {"from": out(start), "to": out(end), "owner": modifiers[-1]}
                for start, end, _, modifiers in coloured.tokens(document)
                if modifiers and modifiers[-1] != "declaration"
            ],
            "crossing": None if said is None else _crossing(said),
            "learned": None if said is None else _learned(said),
        }  # fmt: skip

    def picture(self, text: str, folded: list[str] | None) -> dict[str, Any] | None:
        """The graph, with these blocks folded; None where mistakes hide it."""
        self.read(text)
        model = self.document.examined.model
        if model is None:
            return None
        made = draw(model, None if folded is None else {*folded}, styled=False)
        return {"svg": made.svg, "folded": made.folded}

    def fixes(self, text: str) -> list[dict[str, Any]]:
        """Quick fixes of all findings, each at the finding that it mends."""
        self.read(text)
        return [
            {"title": fix.title, "code": fix.code, "at": self.offsets.out(fix.start),
             "changes": self._changes(fix.edits)}
            for fix in mending.quick_fixes(self.document, 0, len(text))
        ]  # fmt: skip

    def format(self, text: str) -> list[dict[str, Any]]:
        self.read(text)
        return self._changes(mending.formatted(self.document))

    def hover(self, text: str, offset: int) -> dict[str, Any] | None:
        self.read(text)
        found = describe.hover(self.document, self.offsets.into(offset))
        if found is None:
            return None
        start, end, told = found
        return {"from": self.offsets.out(start), "to": self.offsets.out(end), "markdown": told}

    def complete(self, text: str, offset: int) -> dict[str, Any]:
        self.read(text)
        start, found = completion.proposals(self.document, self.offsets.into(offset))
        words = [{"word": p.word, "kind": p.kind, "detail": p.detail, "markdown": p.doc} for p in found]
        return {"from": self.offsets.out(start), "words": words}

    def explain(self, code: str) -> str:
        """The page of a diagnostic's code, in Markdown."""
        return explain(code)

    def _changes(self, edits: Iterable[TextChange]) -> list[dict[str, Any]]:
        out = self.offsets.out
        return [{"from": out(each.start), "to": out(each.end), "insert": each.text} for each in edits]


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
_ASKED: dict[str, Callable[..., Any]] = {
    name: getattr(_page, name)
    for name in ("check", "picture", "fixes", "format", "hover", "complete", "explain")
}


def answer(asked: str) -> str:
    """Answers a question of the page: `["hover", text, offset]`."""
    name, *arguments = json.loads(asked)
    return json.dumps(_ASKED[name](*arguments), ensure_ascii=False)
