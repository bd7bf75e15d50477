"""Inlay hints (the shape and place of what is bound) and code lenses (what crosses from a party)."""

from __future__ import annotations

from vflc.lsp import names
from vflc.lsp.analysis import Document
from vflc.lsp.describe import at_place, crossings, learns


def hints(analysis: Document, start: int, end: int) -> list[tuple[int, str]]:
    """After each bound name between two offsets its shape and place; nothing where instances differ."""
    found = []
    for each in analysis.names:
        if not each.declares or each.kind != "value" or not start <= each.end <= end:
            continue
        known = analysis.facts.values.get(each.key, ())
        told = {at_place(one) if not each.inside else one.shape for one in known}
        if len(told) == 1 and (each.inside or len(known) == 1):
            found.append((each.end, f": {told.pop()}"))
    return found


def lenses(analysis: Document) -> list[tuple[int, int, str]]:
    """Above each party what it sends, and what it may learn of others."""
    found = []
    for name, party in names.parties(analysis.spec).items():
        if not analysis.facts.knows(name):
            continue
        told = crossings(analysis, name)
        if analysis.facts.learned is not None:
            told = told or ["nothing crosses from here"] * (not party.population)
        if (line := learns(analysis, name)) is not None and not party.population:
            told.append(line)
        if told:
            found.append((party.name.span.start, party.name.span.end, "; ".join(told)))
    return found
