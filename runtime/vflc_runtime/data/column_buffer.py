"""Encoded columns: in memory while they are small, in files mapped into memory when they are not."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array

from vflc_runtime import files
from vflc_runtime.errors import Failure


@dataclass
class Room:
    """Memory that all columns of a data set share: `free` bytes are left."""

    free: int


class ColumnBuffer:
    """Takes a column's blocks of rows one after another and gives the whole column.

    Blocks of ids may differ in width; the column is as wide as the widest, padded with -1.

    Args:
        file: where the column lies from when there is no room for all its rows, as wide as they are.
        dtype: of the column.
        room: what columns may hold in memory.
    """

    def __init__(self, file: Path, dtype: np.dtype[Any], room: Room) -> None:
        self._path, self._dtype, self._room = file, dtype, room
        self._file: Path | None = None
        self._blocks: list[Array] = []
        self._parts: list[tuple[int, ...]] = []
        self._held = 0

    def append(self, block: Array) -> None:
        """Adds rows, [rows] or [rows, width], at the end.

        Raises:
            Failure: VFL0612 where the disk is full.
        """
        block = np.ascontiguousarray(block, self._dtype)
        self._parts.append(block.shape)
        if self._file is not None:
            self._write(self._file, block)
            return
        self._blocks.append(block)
        self._hold(sum(shape[0] for shape in self._parts) * math.prod(self._width()) * block.itemsize)
        if self._room.free < 0:
            self._hold(0)
            self._file, blocks, self._blocks = self._path, self._blocks, []
            for each in blocks:
                self._write(self._file, each)

    def _hold(self, size: int) -> None:
        self._room.free += self._held - size
        self._held = size

    def _width(self) -> tuple[int, ...]:
        return max({shape[1:] for shape in self._parts}, default=())

    def finish(self) -> NDArray[Any]:
        """The column: [rows] or [rows, width]."""
        width = self._width()
        if self._file is None:
            blocks = [_widened(block, width) for block in self._blocks]
            self._blocks = []
            return np.concatenate(blocks) if blocks else np.zeros((0, *width), self._dtype)
        if len({shape[1:] for shape in self._parts}) > 1:
            self._pad(self._file, width)
        rows = sum(shape[0] for shape in self._parts)
        return np.memmap(self._file, self._dtype, "r", shape=(rows, *width))

    def _pad(self, file: Path, width: tuple[int, ...]) -> None:
        narrow = file.with_suffix(".narrow")
        file.rename(narrow)
        offset = 0
        for shape in self._parts:
            block = np.fromfile(narrow, self._dtype, int(np.prod(shape)), offset=offset)
            offset += block.nbytes
            self._write(file, _widened(block.reshape(shape), width))
        narrow.unlink()

    @staticmethod
    def _write(file: Path, block: Array) -> None:
        # Written as a file, not through the mapping: a full disk then is an error, not a SIGBUS.
        try:
            os.close(files.private(file, os.O_WRONLY | os.O_CREAT))
            with file.open("ab") as stream:
                stream.write(block.data)
        except OSError as error:
            raise Failure(
                "VFL0612",
                f"the encoded columns cannot be written to {file.parent}: {error.strerror}",
                "free space there, or set TMPDIR to a folder with more",
            ) from None


def _widened(block: Array, width: tuple[int, ...]) -> Array:
    if block.shape[1:] == width:
        return block
    wide = np.full((len(block), *width), -1, block.dtype)
    wide[:, : block.shape[1]] = block
    return wide
