"""URIs and places of a text as the protocol writes them: plain dictionaries, as JSON has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from vflc.lsp.positions import Positions, TextChange

LspJson = dict[str, Any]
Params = Mapping[str, Any]
"""What a request is given."""


def path_of(uri: str) -> Path | None:
    """The file that a URI names; None for another scheme, as of a text that was never saved."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return None
    name = unquote(parts.path)
    if name[2:3] == ":":  # /c:/specs/a.vfl
        name = name[1:]
    return Path(name)


class Places:
    """Converts between offsets of one text and the protocol's lines and columns."""

    def __init__(self, uri: str, text: str) -> None:
        self.uri, self.positions = uri, Positions(text)

    def position(self, offset: int) -> LspJson:
        line, column = self.positions.position(offset)
        return {"line": line, "character": column}

    def range(self, start: int, end: int) -> LspJson:
        return {"start": self.position(start), "end": self.position(end)}

    def location(self, start: int, end: int) -> LspJson:
        return {"uri": self.uri, "range": self.range(start, end)}

    def edits(self, edits: Iterable[TextChange]) -> list[LspJson]:
        return [{"range": self.range(each.start, each.end), "newText": each.text} for each in edits]

    def offset(self, position: LspJson) -> int:
        return self.positions.offset(position["line"], position["character"])

    def span(self, range: LspJson) -> tuple[int, int]:
        return self.offset(range["start"]), self.offset(range["end"])


def changed(text: str, changes: Sequence[LspJson]) -> str:
    """A text after the changes that an editor tells, in their order; one without a range is all of it."""
    for change in changes:
        if (range := change.get("range")) is None:
            text = change["text"]
            continue
        start, end = Places("", text).span(range)
        text = text[:start] + change["text"] + text[max(start, end) :]
    return text
