"""What a way of training left behind, in a file: a hundred steps of a large model fill a memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class RecordingKey(NamedTuple):
    """What was recorded: `kind` is one of `KINDS`; `step` counts from 1, 0 is before training, None after."""

    kind: str
    name: str
    step: int | None


class Recording:
    """Arrays by key, written once, read back one by one. A context that closes its file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._where: dict[RecordingKey, int] = {}

    def add(self, key: RecordingKey, value: NDArray[Any]) -> None:
        """Writes an array [*], as it is now."""
        self._where[key] = self._file.seek(0, 2)
        np.save(self._file, np.ascontiguousarray(value), allow_pickle=False)

    def get(self, key: RecordingKey) -> NDArray[Any]:
        """Reads an array [*] back."""
        self._file.seek(self._where[key])
        array: NDArray[Any] = np.load(self._file, allow_pickle=False)
        return array

    def __contains__(self, key: object) -> bool:
        return key in self._where

    def __iter__(self) -> Iterator[RecordingKey]:
        return iter(self._where)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
