"""What crosses between parties, as text that fits a terminal of 40 columns or more.

A block for each pair of places and phase, its edges below one another. Edges that are alike are
folded, and what does not fit a line goes on in the next: no word is cut and no column left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from vflc_common.words import PROGRAMS

from vflc.cli.columns import aligned, broken
from vflc.emit.manifest.diagram import shape
from vflc.emit.manifest.disclosed import kinds, waivers
from vflc.emit.manifest.totals import each, total, unit

ALIKE = 4
"""So many edges in a row of one shape, with the same known of them, are told as one."""

EdgeJson = Mapping[str, Any]
Known = Mapping[str, Sequence[str]]
"""Kinds of evidence and findings, by edge id."""


def crossing(manifest: Mapping[str, Any], width: int) -> str:
    """Every edge of a manifest: where it goes, how large it is, what it depends on and is known to reveal.

    Args:
        manifest: of a bundle.
        width: of a line. Only a name that is longer by itself makes a longer one.
    """
    step = unit(manifest)
    known = kinds(manifest)
    blocks: dict[tuple[str, str, str], list[EdgeJson]] = {}
    for edge in manifest["edges"]:
        blocks.setdefault((edge["from"], edge["to"], _phase(edge)), []).append(edge)
    lines = ["What crosses"] if blocks else ["Nothing crosses"]
    for (source, target, phase), edges in blocks.items():
        size = total(edges, step, each(manifest, source, target))
        lines += ["", *broken(f"{source} → {target}, {phase}: {size}", width)]
        for depended, groups in groupby(_alike(edges, known), key=_columns):
            rows = [_row(group, step, known) for group in groups]
            lines += [*aligned(rows, width, {2}), *broken(f"depends on {depends(depended)}", width, "    ")]
    return "\n".join(lines)


def waived(manifest: Mapping[str, Any], width: int) -> list[str]:
    """For each waiver: what, on which edges, and why."""
    return [
        line
        for (code, reason), edges in waivers(manifest["edges"]).items()
        for line in broken(f"{code} on {', '.join(edges)} is waived: {reason}", width)
    ]


def depends(names: Sequence[str]) -> str:
    """Features and labels by party: `alice: Age, Gender; bob: liked`; many are counted."""
    parties: dict[str, list[str]] = {}
    for name in names:
        party, _, column = name.partition(".")
        parties.setdefault(party, []).append(column)
    return "; ".join(f"{party}: {_some(columns)}" for party, columns in parties.items()) or "no column"


def _some(columns: Sequence[str], most: int = 12) -> str:
    if len(columns) <= most:
        return ", ".join(columns)
    return f"{', '.join(columns[: most - 1])} and {len(columns) - most + 1:,} more"


def _phase(edge: EdgeJson) -> str:
    """The phase, and the programs it crosses in where that is not what the phase says."""
    usual = {"forward": [*PROGRAMS], "backward": ["train"]}[edge["phase"]]
    only = "" if edge["programs"] == usual else f" ({', '.join(edge['programs'])})"
    return f"{edge['phase']}{only}"


def _alike(edges: Sequence[EdgeJson], known: Known) -> Iterator[list[EdgeJson]]:
    """Neighbours of one shape and finding together, where they are many; others one by one."""
    for _, group in groupby(
        edges, key=lambda e: (e["shape"], e["bytes_per_row"], e["dtype"], known.get(e["id"]))
    ):
        members = list(group)
        if len(members) >= ALIKE:
            yield members
        else:
            yield from ([member] for member in members)


def _columns(edges: Sequence[EdgeJson]) -> list[str]:
    """What one edge, or all that are alike together, depend on."""
    return list(dict.fromkeys(column for edge in edges for column in edge["depends_on"]))


def _row(edges: Sequence[EdgeJson], step: str, known: Known) -> tuple[str, str, str, str]:
    """Name, shape, bytes and what is known of one edge, or of several that are alike."""
    first = edges[0]
    name = first["id"]
    if len(edges) > 1:
        name = f"{name} … {edges[-1]['id']}, {len(edges):,} edges"
    once = f" a {step}" if not first["bytes_per_row"] else ""
    apiece = " each" if len(edges) > 1 else ""
    size = f"{first['bytes_per_row'] or first['bytes_per_step']:,} B{once}{apiece}"
    if first.get("sized_by"):
        size = "size depends on the data"
    return name, shape(first), size, ", ".join(known.get(first["id"], ()))
