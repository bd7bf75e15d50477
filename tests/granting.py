"""Grants for specs of tests that are not about what may be learned."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from vflc.diagnostics import SourceText
from vflc.driver import examine, repaired


@cache
def granted(text: str, folder: Path | None = None) -> str:
    """The spec with all grants that it lacks; a spec with mistakes as it is."""
    return repaired(examine(SourceText("granted.vfl", text), folder))
