"""Tables for people: what crosses between parties, how training went."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from vflc.emit.diagram import shape, volume

WIDE = 200
"""Columns of text where nobody's terminal limits them: a table in a log is not cut off."""


def console() -> Console:
    """A console for stdout, as wide as the terminal, or wide enough for a log."""
    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, soft_wrap=False)


def crossing(manifest: Mapping[str, Any]) -> Table:
    """Every edge of a manifest: where it goes, how large it is, what it depends on."""
    table = Table(title="What crosses", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("edge", "from → to", "phase", "a row", "bytes", "when", "depends on"):
        table.add_column(header, justify="right" if header == "bytes" else "left", overflow="fold")
    for edge in manifest["edges"]:
        table.add_row(
            edge["id"],
            f"{edge['from']} → {edge['to']}",
            edge["phase"],
            shape(edge),
            volume(edge),
            ", ".join(edge["programs"]),
            ", ".join(edge["depends_on"]),
        )
    return table


def numbers(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Rows of numbers by name, one line each: the history of a run."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(number(row.get(name)) for name in names))
    return table


def number(value: Any) -> str:
    """A number as people read it: counts in groups of three, measures to four digits."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
