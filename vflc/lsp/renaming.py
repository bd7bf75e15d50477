"""What renaming a name changes, in its own text and in those that use it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from vflc.lsp import names
from vflc.lsp.analysis import Document
from vflc.lsp.positions import TextChange, applied
from vflc.lsp.texts import NotAnswered, OpenText, OpenTexts

RENAMED = ("party", "column", "value", "parameter", "variable", "block", "prediction")
_ELSEWHERE = ("block", "parameter")
"""What other texts can name: blocks of a file that they use, and what these are called with."""
FOREIGN = "with `{}` the spec would mean something else, or have more findings"


def renamable(texts: OpenTexts, opened: OpenText, offset: int) -> tuple[int, int]:
    """Where the name at an offset stands.

    Raises:
        NotAnswered: it is none that can be renamed.
    """
    found = names.at(opened.document.names, offset)
    if found is None or found.kind not in RENAMED:
        raise NotAnswered("only what a spec declares can be renamed: parties, columns, values and blocks")
    _home(texts, opened, found)
    return found.start, found.end


def renamed(
    texts: OpenTexts, opened: OpenText, offset: int, name: str
) -> list[tuple[OpenText, list[TextChange]]]:
    """For each text that changes its edits.

    Raises:
        NotAnswered: it is none that can be renamed, the name is none, or a spec would then mean something
            else: names also stand in patterns over weights, and may hide others.
    """
    renamable(texts, opened, offset)
    if not re.fullmatch(r"[^\W\d]\w*", name):
        raise NotAnswered(f"`{name}` is no name: use letters, digits and _")
    found = names.at(opened.document.names, offset)
    assert found is not None
    home = _home(texts, opened, found)
    where = users(texts, home, _block(found)) if found.kind in _ELSEWHERE else [home]
    changes = [(each, _edits(each.document, found.key, name)) for each in where]
    changes = [(each, edits) for each, edits in changes if edits]
    after = {
        each.document.path.resolve(): applied(each.document.text, edits)
        for each, edits in changes
        if each.document.path is not None
    }
    for each, edits in changes:
        if not _means_the_same(each.document, edits, after, found.key, name):
            file = "" if each is opened else f", in {each.uri.rsplit('/', 1)[-1]}"
            raise NotAnswered(FOREIGN.format(name) + file)
    return changes


def _edits(document: Document, key: str, name: str) -> list[TextChange]:
    return [TextChange(each.start, each.end, name) for each in document.names if each.key == key]


def _home(texts: OpenTexts, opened: OpenText, found: names.Occurrence) -> OpenText:
    """The text that declares a name."""
    document = opened.document
    if any(each.declares and each.key == found.key for each in document.names):
        return opened
    if found.kind in _ELSEWHERE:
        block = _block(found)
        if block in document.used:
            home = texts.at(document.used[block][0])
            if home is not None:
                return home
        if block in document.blocks:
            raise NotAnswered(f"`{block}` is a block of the library that comes with vflc: it keeps its names")
    raise NotAnswered("only what a spec declares can be renamed")


def everywhere(texts: OpenTexts, opened: OpenText, found: names.Occurrence) -> list[OpenText]:
    """The texts in which a name may stand: its own, and of blocks of files those that use these."""
    if found.kind not in _ELSEWHERE:
        return [opened]
    try:
        return users(texts, _home(texts, opened, found), _block(found))
    except NotAnswered:
        return [opened]


def users(texts: OpenTexts, home: OpenText, block: str) -> list[OpenText]:
    """The text that declares a block, and those that use it of that file."""
    found = [home]
    path = home.document.path.resolve() if home.document.path is not None else None
    for each in texts.specs():
        declared = each.document.used.get(block)
        if each.uri != home.uri and declared is not None and declared[0].resolve() == path:
            found.append(each)
    return found


def _block(found: names.Occurrence) -> str:
    """Of a block, or a parameter of one, the block's name."""
    return found.key.split(" ")[1].split("/")[0]


def _means_the_same(
    document: Document, edits: list[TextChange], after: Mapping[Path, str], key: str, name: str
) -> bool:
    """Whether a text, beside what others are then, has the same findings, and names for the same things."""
    changed = document.again(applied(document.text, edits), {**document.files, **after})
    return _codes(changed) == _codes(document) and _shape(changed) == _shape(document, key, name)


def _codes(document: Document) -> Counter[str]:
    return Counter(found.code for found in document.diagnostics)


def _shape(document: Document, renamed: str = "", name: str = "") -> list[tuple[str, str, bool]]:
    """Names in their order with what they are; of what is renamed, the new name."""
    return [(each.kind, name if each.key == renamed else each.name, each.declares) for each in document.names]
