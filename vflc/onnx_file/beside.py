"""Weights that an ONNX file keeps in other files: beside it or below, and in as many bytes as they need."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from vflc_common.onnx_tensors import FileTensor

from vflc.onnx_file.model import refuse

AGAIN = "the file contradicts itself: export the model again"
BESIDE = "keep the data file beside the model, where the export wrote it, or export into one file"


class BesideFiles:
    """Reads from the files of one folder.

    Tensors may share all of their bytes. Those that share some could be far larger together than what there
    is to read, and no program writes such.
    """

    def __init__(self, folder: Path) -> None:
        self._base = Path(os.path.realpath(folder))
        self._read: dict[tuple[Path, int, int], bytes] = {}
        self._left: dict[Path, int] = {}

    def content(self, tensor: FileTensor) -> bytes:
        """The bytes of a tensor's numbers.

        Raises:
            Refused: VFL0707, it says other sizes than it needs; VFL0708, they are not to be had.
        """
        given, size, what = tensor.outside or {}, tensor.nbytes, f"the weight `{tensor.name[:80]}`"
        location = given.get("location", "")
        path = self._path(location, what)
        offset, length = _whole(given.get("offset"), 0), _whole(given.get("length"), size)
        if offset is None or length != size:
            asked = f"{str(given.get('length'))[:20]} bytes at {str(given.get('offset', 0))[:20]}"
            refuse("VFL0707", f"{what} has {asked} of `{location[:80]}`, and needs {size}", AGAIN)
        key = path, offset, size
        if key not in self._read:
            self._read[key] = self._taken(path, offset, size, f"{what} lies in `{location[:80]}`")
        return self._read[key]

    def _path(self, location: str, what: str) -> Path:
        base = self._base
        path = Path(os.path.realpath(base / location)) if location and "\0" not in location else base
        if Path(location).is_absolute() or base not in path.parents:
            refuse("VFL0708", f"{what} lies in `{location[:80]}`, outside the model's folder", BESIDE)
        return path

    def _taken(self, path: Path, offset: int, size: int, shown: str) -> bytes:
        try:
            if not path.is_file() or path.stat().st_size < offset + size:
                refuse("VFL0708", f"{shown}, which is not there or too short", BESIDE)
            left = self._left.setdefault(path, path.stat().st_size) - size
            if left < 0:
                refuse("VFL0708", f"{shown}, where weights share a part of their bytes", BESIDE)
            self._left[path] = left
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read(size)
        except OSError:
            _unreadable(shown)
        return content if len(content) == size else _unreadable(shown)


def _unreadable(shown: str) -> NoReturn:
    refuse("VFL0708", f"{shown}, which cannot be read", BESIDE)


def _whole(text: str | None, otherwise: int) -> int | None:
    if text is None:
        return otherwise
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 16 else None
