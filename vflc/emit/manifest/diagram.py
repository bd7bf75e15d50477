"""Words for what a manifest says: the shape of an edge, and names in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ROWS_TOUCHED = "rows touched"
"""The axis of the rows of a table that a client update of a population is about."""
SHOWN = 6
"""Names listed in a line before the rest is counted."""


def shape(edge: Mapping[str, Any]) -> str:
    """The shape of one row of an edge: `[32]`, `[? × 16]`, or `once a step`."""
    sizes = [size for size in edge["shape"] if size not in ("batch", ROWS_TOUCHED)]
    row = f"[{' × '.join('?' if size is None else str(size) for size in sizes)}]" if sizes else "[1]"
    if ROWS_TOUCHED in edge["shape"]:
        return row
    return row if "batch" in edge["shape"] else f"{row} once a step"


def some(names: Sequence[str]) -> str:
    """Names in a line; of many the first few and how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(names) if rest <= 1 else f"{', '.join(names[:SHOWN])} and {rest} more"
