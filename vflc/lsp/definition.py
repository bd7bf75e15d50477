"""Where a name is declared, where else it stands, and what renaming it changes."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

from vflc.lsp import names
from vflc.lsp.analysis import Document
from vflc.lsp.positions import TextChange, applied
from vflc.lsp.vocabulary import library
from vflc.syntax import tree

RENAMED = ("party", "column", "value", "parameter", "variable", "block", "prediction")


class NotRenamed(Exception):
    """A name stays as it is; the message says why."""


def definition(analysis: Document, offset: int) -> tuple[Path | None, int, int] | None:
    """A file (None: this text) and the place there where the name at an offset is declared."""
    found = names.at(analysis.names, offset)
    if found is None:
        return None
    for each in analysis.names:
        if each.declares and each.key == found.key:
            return None, each.start, each.end
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


def renamed(analysis: Document, offset: int, name: str) -> list[TextChange]:
    """Edits that rename the thing at an offset.

    Raises:
        NotRenamed: it is none of this text's own, the name is none, or the spec would then mean something
            else: names also stand in patterns over weights, and may hide others.
    """
    found = names.at(analysis.names, offset)
    own = [each for each in analysis.names if found is not None and each.key == found.key]
    if found is None or found.kind not in RENAMED or not any(each.declares for each in own):
        raise NotRenamed("only what this file declares can be renamed")
    if not re.fullmatch(r"[^\W\d]\w*", name):
        raise NotRenamed(f"`{name}` is no name: use letters, digits and _")
    edits = [TextChange(each.start, each.end, name) for each in own]
    after = analysis.again(applied(analysis.text, edits))
    if _codes(after) != _codes(analysis) or _shape(after) != _shape(analysis, found.key, name):
        raise NotRenamed(f"with `{name}` the spec would mean something else, or have more findings")
    return edits


def _codes(analysis: Document) -> Counter[str]:
    return Counter(found.code for found in analysis.examined.diagnostics)


def _shape(analysis: Document, renamed: str = "", name: str = "") -> list[tuple[str, str, bool]]:
    """Names in their order with what they are; of what is renamed, the new name."""
    return [(each.kind, name if each.key == renamed else each.name, each.declares) for each in analysis.names]


def _in_library(analysis: Document, found: names.Occurrence) -> tuple[Path | None, int, int] | None:
    for item in analysis.spec.items:
        if not isinstance(item, tree.Import):
            continue
        if item.library is not None:
            path = Path(str(files("vflc.library"))) / f"{item.library.text}.vfl"
            known = library(item.library.text)
            if found.kind == "library" and found.name == item.library.text and known:
                return path, 0, 0
            listed = {name.text for name in item.names} or set(known)
            if found.kind == "block" and found.name in known and found.name in listed:
                span = known[found.name].name.span
                return path, span.start, span.end
        elif item.file is not None and found.kind == "block" and analysis.path is not None:
            place = _in_file(analysis.path.parent / item.file.value, found.name)
            if place is not None:
                return place
    return None


def _in_file(path: Path, block: str) -> tuple[Path, int, int] | None:
    from vflc.diagnostics import DiagnosticCollector, Refused
    from vflc.syntax.parser import parse, read_source

    try:
        spec = parse(read_source(path), DiagnosticCollector())
    except Refused:
        return None
    for item in spec.items:
        if isinstance(item, tree.Block | tree.Outside) and item.name.text == block:
            return path, item.name.span.start, item.name.span.end
    return None
