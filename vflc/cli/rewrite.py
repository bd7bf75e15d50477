"""A spec that a command writes anew: whole or not at all."""

from __future__ import annotations

from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Puts the new text in place of the old in one instant.

    Raises:
        Failure: the file cannot be written; the old text is still there.
    """
    from vflc_runtime.files import writing

    path = path.resolve()  # behind a link it is the file that changes, not the link
    new = path.with_name(f".{path.name}.new")
    with writing(path):
        try:
            new.write_bytes(text.encode("utf-8"))
            new.chmod(path.stat().st_mode)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
