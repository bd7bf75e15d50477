"""What is told of a name: the one place for hover, hints and lenses."""

from __future__ import annotations

from typing import Any

from vflc.emit.manifest.learned import by_receiver
from vflc.emit.manifest.totals import each, total, unit
from vflc.lsp import names
from vflc.lsp.analysis import Document
from vflc.lsp.facts import KnownValue
from vflc.lsp.vocabulary import WordEntry, block_entry, find


def hover(analysis: Document, offset: int) -> tuple[int, int, str] | None:
    """Where the name at an offset stands, and Markdown about it; None where nothing is to be told."""
    found = names.at(analysis.names, offset)
    if found is None:
        return None
    text = _told(analysis, found)
    return (found.start, found.end, text) if text else None


def entry_of(analysis: Document, occurrence: names.Occurrence) -> WordEntry | None:
    """What documents a function, an encoder or a block."""
    if occurrence.kind == "block":
        block = analysis.blocks.get(occurrence.name)
        return block_entry(block) if block is not None else None
    if occurrence.kind in ("function", "encoder", "metric", "optimizer"):
        kinds = ("function", "optimizer", "schedule") if occurrence.kind == "function" else (occurrence.kind,)
        return find(occurrence.name, *kinds)
    return None


def at_place(known: KnownValue) -> str:
    """Shape and place: `[field 4, 16] at alice`."""
    return known.shape + (f" at {known.place}" if known.place else "")


def crossings(analysis: Document, source: str) -> list[str]:
    """`4 values cross to bob, 200 bytes a row`: what a place sends, as the manifest counts it."""
    manifest = analysis.facts.manifest or {"edges": ()}
    sent: dict[str, list[dict[str, Any]]] = {}
    for edge in manifest["edges"]:
        if edge["from"] == source:
            sent.setdefault(edge["to"], []).append(edge)
    return [
        f"{'1 value crosses' if len(edges) == 1 else f'{len(edges):,} values cross'} to {target}, "
        f"{total(edges, unit(manifest), each(manifest, source, target))}"
        for target, edges in sent.items()
    ]


def learns(analysis: Document, receiver: str) -> str | None:
    """`alice may learn: the code of bob.MovieID, which rows are common`; None where that is not known."""
    rows = analysis.facts.learned
    if rows is None or not analysis.facts.knows(receiver):
        return None
    told = [
        row.bound.of(f"{row.party}.{row.column}")
        for (place, _), members in by_receiver(rows).items()
        for row in members
        if place == receiver and row.bound.kind != "nothing"
    ]
    return f"{receiver} may learn: {', '.join(dict.fromkeys(told)) or 'nothing'}"


def _told(analysis: Document, found: names.Occurrence) -> str | None:
    if (entry := entry_of(analysis, found)) is not None:
        return f"```vfl\n{entry.signature}\n```\n{entry.doc}".rstrip()
    if found.kind == "party":
        return _party(analysis, found.name)
    known = analysis.facts.values.get(found.key, ())
    lines = [f"**{found.name}** ({found.kind})"]
    if found.kind == "column":
        lines += _column(analysis, found.key.removeprefix("column "))
    elif found.kind in ("parameter", "variable"):
        return lines[0]
    lines += [line for one in known for line in _value(one)]
    return "\n\n".join(lines) if len(lines) > 1 else None


def _value(known: KnownValue) -> list[str]:
    size = "size depends on the data" if known.bytes is None else f"{known.bytes:,} bytes"
    owners = f"of {', '.join(known.owners)}" if known.owners else "of nobody's columns"
    return [f"`{known.value}`: {at_place(known)}, {size}, {owners}"]


def _column(analysis: Document, path: str) -> list[str]:
    party, _, name = path.partition(".")
    declared = names.parties(analysis.spec).get(party)
    column = next((c for c in declared.columns if c.name.text == name), None) if declared else None
    lines = [f"```vfl\n{' '.join(column.span.text.split())}\n```"] if column is not None else []
    called = {name} if column is None or column.table is None else {name, column.table}
    for row in analysis.facts.learned or ():
        if row.party == party and (row.column in called or name in row.features):
            lines.append(f"{row.receiver} may learn {row.bound.of(row.column)}")
    return lines or [f"a column of {party}"]


def _party(analysis: Document, name: str) -> str | None:
    declared = names.parties(analysis.spec).get(name)
    if declared is None:
        return None
    kind = "population" if declared.population else "party"
    columns: dict[str, list[str]] = {}
    for column in declared.columns:
        columns.setdefault(column.kind, []).append(column.name.text)
    lines = [f"**{name}** ({kind})", *(f"{kind}: {', '.join(of)}" for kind, of in columns.items())]
    lines += crossings(analysis, name)
    return "\n\n".join([*lines, *filter(None, [learns(analysis, name)])])
