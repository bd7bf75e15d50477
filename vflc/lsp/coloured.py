"""Semantic tokens: what each name is, and of columns and values who owns them."""

from __future__ import annotations

from vflc.lsp import names
from vflc.lsp.analysis import Document
from vflc.lsp.facts import SpecFacts

TYPES = (
    "namespace", "property", "variable", "parameter", "class", "function", "decorator", "enumMember",
)  # fmt: skip
"""Types of tokens, as the protocol calls them."""
OWNERS = 6
"""So many parties have a colour of their own: modifiers `owner0`, `owner1`, …; of several it is `shared`."""
MODIFIERS = ("declaration", *(f"owner{i}" for i in range(OWNERS)), "shared")
_TYPE_OF = {
    "party": "namespace", "library": "namespace", "column": "property", "value": "variable",
    "prediction": "variable", "variable": "parameter", "parameter": "parameter", "block": "class",
    "function": "function", "optimizer": "function", "encoder": "decorator", "metric": "enumMember",
}  # fmt: skip


def tokens(analysis: Document) -> list[tuple[int, int, str, tuple[str, ...]]]:
    """Each name: from, to, its type and its modifiers."""
    parties = list(names.parties(analysis.spec))
    found = []
    for each in analysis.names:
        owner = _owner(analysis, each, parties)
        modifiers = ("declaration",) * each.declares + ((owner,) if owner else ())
        found.append((each.start, each.end, _TYPE_OF[each.kind], modifiers))
    return found


def _owner(analysis: Document, name: names.Occurrence, parties: list[str]) -> str | None:
    if name.kind == "party":
        owners = {name.name}
    elif name.kind == "column":
        owners = {name.key.removeprefix("column ").split(".")[0]}
    else:
        known = (analysis.known or SpecFacts({})).values.get(name.key, ())
        owners = {owner for each in known for owner in each.owners}
    if len(owners) > 1:
        return "shared"
    index = next((parties.index(owner) for owner in owners if owner in parties), OWNERS)
    return f"owner{index}" if index < OWNERS else None
