"""How much crosses in all, in words: the one place for what commands, pages and editors say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

EdgeData = Mapping[str, Any]
"""An edge as the manifest has it."""


def unit(manifest: Mapping[str, Any]) -> str:
    """What happens again and again in training."""
    return "client update" if "population" in manifest else "step"


def each(manifest: Mapping[str, Any], source: str, target: str) -> str:
    """What bytes are counted by, where rows of a place are the keys of a batch."""
    return "key of a batch" if {source, target} & {*manifest.get("once", ())} else "row"


def total(edges: Sequence[EdgeData], unit: str, each: str) -> str:
    """`200 bytes a row and 1,024 bytes a step`."""
    row, step = (sum(edge[key] or 0 for edge in edges) for key in ("bytes_per_row", "bytes_per_step"))
    parts = [f"{row:,} bytes a {each}"] * bool(row) + [f"{step:,} bytes a {unit}"] * bool(step)
    open_ended = any(edge.get("sized_by") for edge in edges) or not parts
    return " and ".join([*parts, *["size depends on the data"] * open_ended])
