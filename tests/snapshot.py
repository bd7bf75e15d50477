"""Snapshots of what users see: text files beside the tests, written anew with VFLC_SNAPSHOTS=write."""

from __future__ import annotations

import os
from pathlib import Path


def same_as(path: Path, text: str) -> None:
    """Asserts that `text` is what the snapshot holds."""
    if os.environ.get("VFLC_SNAPSHOTS") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no snapshot {path.name}: run once with VFLC_SNAPSHOTS=write and look at it"
    assert text == path.read_text(encoding="utf-8")
