"""Where a name is declared, and where else it stands."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from vflc.lsp import names
from vflc.lsp.analysis import Document
from vflc.lsp.vocabulary import library
from vflc.syntax import tree


def definition(analysis: Document, offset: int) -> tuple[Path | None, int, int] | None:
    """A file (None: this text) and the place there where the name at an offset is declared."""
    found = names.at(analysis.names, offset)
    if found is None:
        return None
    for each in analysis.names:
        if each.declares and each.key == found.key:
            return None, each.start, each.end
    if found.kind == "parameter":
        return _parameter(analysis, *found.key.removeprefix("parameter ").split("/"))
    if found.kind == "block" and found.name in analysis.used:
        path, item = analysis.used[found.name]
        return path, item.name.span.start, item.name.span.end
    return _in_library(analysis, found)


def references(analysis: Document, offset: int, declaration: bool = True) -> list[tuple[int, int]]:
    """Every place in this text of the thing that is named at an offset."""
    found = names.at(analysis.names, offset)
    if found is None:
        return []
    return [
        (each.start, each.end)
        for each in analysis.names
        if each.key == found.key and (declaration or not each.declares)
    ]


def _parameter(analysis: Document, block: str, name: str) -> tuple[Path | None, int, int] | None:
    """Where a block of another file declares a parameter."""
    path, item = analysis.used.get(block, (None, None))
    for parameter in item.parameters if isinstance(item, tree.Block) else ():
        if parameter.name.text == name:
            return path, parameter.name.span.start, parameter.name.span.end
    return None


def library_of(analysis: Document, block: str) -> Path | None:
    """The file of the library that a text uses a block of."""
    for item in analysis.spec.items:
        if isinstance(item, tree.Import) and item.library is not None:
            known = library(item.library.text)
            if block in ({name.text for name in item.names} or known) and block in known:
                return _path(item.library.text)
    return None


def _path(name: str) -> Path:
    return Path(str(files("vflc.library"))) / f"{name}.vfl"


def _in_library(analysis: Document, found: names.Occurrence) -> tuple[Path | None, int, int] | None:
    for item in analysis.spec.items:
        if isinstance(item, tree.Import) and item.library is not None:
            path = _path(item.library.text)
            known = library(item.library.text)
            if found.kind == "library" and found.name == item.library.text and known:
                return path, 0, 0
            listed = {name.text for name in item.names} or set(known)
            if found.kind == "block" and found.name in known and found.name in listed:
                span = known[found.name].name.span
                return path, span.start, span.end
    return None
