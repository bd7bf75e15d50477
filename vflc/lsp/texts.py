"""The texts that an editor has open, beside those in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vflc.diagnostics import Refused
from vflc.lsp.analysis import Document
from vflc.lsp.places import LspJson, Places, changed, path_of
from vflc.syntax.parser import read_source

MOST_SPECS = 500
"""Files of a folder that are looked through for names."""


class NotAnswered(Exception):
    """A request that has no answer; the message says why."""


class OpenText:
    """A text that is open, looked at when something is asked of it."""

    def __init__(self, uri: str, document: Document) -> None:
        self.uri, self.document = uri, document
        self.places = Places(uri, document.text)


class OpenTexts:
    """Texts that are open, beside those in folders.

    Args:
        files: texts by URI that stand for files, as on a web page, which has no others.
        folders: URIs of folders with specs, whose symbols and names are found, too.
    """

    def __init__(self, files: Mapping[str, str] | None = None, folders: Iterable[str] = ()) -> None:
        self.texts: dict[str, OpenText] = {}
        self.given = {path: text for uri, text in (files or {}).items() if (path := path_of(uri)) is not None}
        self.folders = [path for uri in folders if (path := path_of(uri)) is not None]

    # --- what an editor tells -------------------------------------------------------------------

    def open(self, uri: str, text: str) -> list[str]:
        """Takes a text over from its file; the URIs of other texts that use it, to be looked at again."""
        text = text.removeprefix("\ufeff")
        self.texts[uri] = OpenText(uri, Document(text, path_of(uri), None, self._files({uri: text})))
        return self._affected(uri)

    def change(self, uri: str, changes: Sequence[LspJson]) -> list[str]:
        """Changes a text as an editor says; the URIs of others that use it."""
        opened = self._opened(uri)
        text = changed(opened.document.text, changes)
        self.texts[uri] = OpenText(uri, opened.document.again(text, self._files({uri: text})))
        return self._affected(uri)

    def close(self, uri: str) -> list[str]:
        """Gives a text back to its file; the URIs of others that use it."""
        self.texts.pop(uri, None)
        return self._affected(uri)

    def saved(self, uri: str) -> list[str]:
        """A file is another one on the disk now; the URIs of texts that use it."""
        return self._affected(uri)

    def _affected(self, uri: str) -> list[str]:
        """Texts that use a file, which are other documents from now on."""
        path, found = path_of(uri), []
        for other, opened in list(self.texts.items()):
            if other != uri and path is not None and path.resolve() in opened.document.reached():
                document = opened.document
                self.texts[other] = OpenText(other, document.again(document.text, self._files()))
                found.append(other)
        return found

    def _files(self, but: Mapping[str, str] | None = None) -> dict[Path, str]:
        """The texts that stand for files, by absolute path."""
        opened = {uri: each.document.text for uri, each in list(self.texts.items())} | dict(but or {})
        found = {path.resolve(): text for path, text in self.given.items()}
        return found | {p.resolve(): text for uri, text in opened.items() if (p := path_of(uri)) is not None}

    # --- what it asks ---------------------------------------------------------------------------

    def document(self, uri: str) -> Document:
        """The text that is open at a URI, as it is now."""
        return self._opened(uri).document

    def opened(self, params: Mapping[str, Any]) -> OpenText:
        """The text that a request is about."""
        return self._opened(params["textDocument"]["uri"])

    def asked_at(self, params: Mapping[str, Any]) -> tuple[OpenText, int]:
        """The text that a request is about, and the offset in it."""
        opened = self.opened(params)
        return opened, opened.places.offset(params["position"])

    def text_of(self, uri: str) -> OpenText:
        """The text of a URI, open or in a file."""
        path = path_of(uri)
        found = self.texts.get(uri) or (self.at(path) if path is not None else None)
        if found is None:
            raise NotAnswered(f"{uri} cannot be read")
        return found

    def places_of(self, path: Path) -> Places | None:
        """A file's own places; None where it cannot be read."""
        opened = self.at(path)
        return opened.places if opened is not None else None

    def specs(self) -> Iterator[OpenText]:
        """All texts: those that are open, and those of the folders."""
        yield from list(self.texts.values())
        seen = {path.resolve() for uri in list(self.texts) if (path := path_of(uri)) is not None}
        found = [*self.given, *(path for folder in self.folders for path in _specs(folder))]
        for path in dict.fromkeys(path.resolve() for path in found):
            if path not in seen and (opened := self.at(path)) is not None:
                yield opened

    def at(self, path: Path) -> OpenText | None:
        """A file as a text, open or not; None where it cannot be read."""
        path = path.resolve()
        for uri, opened in list(self.texts.items()):
            if (own := path_of(uri)) is not None and own.resolve() == path:
                return opened
        files = self._files()
        try:
            text = files[path] if path in files else read_source(path).text
        except Refused:
            return None
        return OpenText(path.as_uri(), Document(text, path, None, files))

    def _opened(self, uri: str) -> OpenText:
        if uri not in self.texts:
            raise NotAnswered(f"{uri} is not open")
        return self.texts[uri]


def _specs(folder: Path) -> Iterator[Path]:
    """Specs of a folder and those below it, but for what begins with a dot; not without end."""
    todo, count = [folder], 0
    while todo and count < 20 * MOST_SPECS:
        try:
            entries = sorted(todo.pop().iterdir())
        except OSError:
            continue
        for entry in entries:
            count += 1
            if entry.name.startswith(".") or entry.name in ("node_modules", "build") or entry.is_symlink():
                continue
            if entry.is_dir():
                todo.append(entry)
            elif entry.suffix == ".vfl":
                yield entry
