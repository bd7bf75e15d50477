"""The `.keras` archive: which files it may hold, how large they may be, and its configuration as data."""

from __future__ import annotations

import json
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

from vflc.translation.graph import refuse

MOST_CONFIG = 32 << 20
MOST_WEIGHTS = 8 << 30
MOST_VOCABULARY = 256 << 20
MOST_FILES = 10_000
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)
"""What Python's zipfile raises of archives that are damaged, encrypted or of another kind."""


class Archive:
    """An archive whose entries are read by name and in bounds.

    Raises:
        Refused: VFL0700, it is none, or not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            refuse("VFL0700", f"there is no file {path}", "name the file that `model.save` wrote")
        except BROKEN:
            self._broken("is not a `.keras` archive, or only a part of one")
        if len(self._zip.infolist()) > MOST_FILES:
            self._broken(f"holds more than {MOST_FILES:,} files")
        self.config: dict[str, Any] = self._json("config.json")

    def __contains__(self, name: str) -> bool:
        return name in self._zip.namelist()

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads(self._read(name, MOST_CONFIG))
        except (ValueError, RecursionError):
            self._broken(f"holds a {name} that is not JSON")
        if not isinstance(found, dict):
            self._broken(f"holds a {name} that describes no model")
        return found

    def content(self, name: str) -> bytes:
        """A file in the archive that is no larger than a configuration."""
        return self._read(name, MOST_CONFIG)

    def weights(self) -> BytesIO:
        """The HDF5 file of weights."""
        return BytesIO(self._read("model.weights.h5", MOST_WEIGHTS))

    def lines(self, name: str) -> list[str]:
        """The lines of a text file in the archive."""
        try:
            return self._read(name, MOST_VOCABULARY).decode("utf-8").split("\n")
        except UnicodeDecodeError:
            self._broken(f"holds a {name} that is not text")

    def _read(self, name: str, most: int) -> bytes:
        """An entry; not more of it than `most` bytes are unpacked, whatever its head says."""
        try:
            with self._zip.open(name) as entry:
                content = entry.read(most + 1)
        except KeyError:
            self._broken(f"holds no {name}")
        except BROKEN:
            self._broken(f"holds a {name} that cannot be read")
        if len(content) > most:
            self._broken(f"holds a {name} of more than {most:,} bytes")
        return content

    def _broken(self, what: str) -> NoReturn:
        refuse("VFL0700", f"{self.path} {what}", 'save the model with Keras 3: model.save("model.keras")')
