"""A file of values that an encoder of a column knows."""

from __future__ import annotations

from pathlib import PurePath

from msgspec import Struct


class ListedFile(Struct, frozen=True):
    """A file of values, one a line.

    Args:
        path: as the spec names it.
        sha256: of the file.
        size: how many values it has.
        content: None where the file is not here, and is at the party that reads the column.
    """

    path: str
    sha256: str
    size: int
    content: bytes | None = None

    @property
    def file(self) -> str:
        """Its name in a bundle, which no other file of the bundle has."""
        stem = "".join(c for c in PurePath(self.path).stem if c.isascii() and (c.isalnum() or c == "_"))
        return f"{stem[:40]}-{self.sha256[:12]}.txt"
