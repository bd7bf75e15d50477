"""Where tables and what is kept for their rows lie: in memory, or in a file that is mapped into it.

A mapped table may be larger than memory: the system keeps the rows in memory that are in use. Its file has
no name, belongs to this process alone and is gone with it, however it ends; all of its room is taken when it
is made, so that no disk is found full later.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from pathlib import Path

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import Plan, RowsUpdate
from vflc_runtime.errors import Failure
from vflc_runtime.memory import FarFile, half_of_memory, large_bytes

SWITCH = "VFLC_TABLES"
"""In the environment: `memory`, or the folder for files of large tables."""
USUAL = Path("/var/tmp")  # outlives a restart, so that it is no memory, as /tmp may be


class TableMemory:
    """Makes the arrays of the tables of a place, all of them in the same way.

    Raises:
        Failure: VFL0790, as `large_bytes`; VFL0791, the environment names no folder to write into.
    """

    def __init__(self, plan: Plan) -> None:
        size = _row_bytes(plan)
        self._folder, self._far = _folder(size), IN_MEMORY.bytes + size > half_of_memory()

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Zeros [*shape]; rows that nobody writes take no memory. VFL0791 where the disk has no room."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if self._folder is None or not size:
            return IN_MEMORY.zeros(shape, dtype)
        return np.frombuffer(_mapped(self._folder, size, self._far), dtype).reshape(shape)


class TablesInMemory:
    """Counts what tables take in memory, those of all places in this process."""

    def __init__(self) -> None:
        self.bytes = 0

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Zeros [*shape], which count as long as they are."""
        found = np.zeros(shape, dtype)
        self._add(found.nbytes)
        weakref.finalize(found, self._add, -found.nbytes)
        return found

    def _add(self, size: int) -> None:
        self.bytes += size


IN_MEMORY = TablesInMemory()


def _row_bytes(plan: Plan) -> int:
    """What tables whose rows are updated take at a place, with what is kept for each row."""
    updates = [update for update in plan.updates.values() if isinstance(update, RowsUpdate)]
    copies = {update.array: 1 + len(plan.optimizers[update.optimizer].slots) for update in updates}
    numbers = sum(math.prod(plan.arrays[name].shape) * count for name, count in copies.items())
    return numbers * np.dtype(plan.precision).itemsize


def _folder(size: int) -> Path | None:
    """Where tables of so many bytes lie: the folder of their files, or None for memory."""
    said = os.environ.get(SWITCH)
    if said == "memory" or size < large_bytes():
        return None
    if said:
        return Path(said)
    if IN_MEMORY.bytes + size <= half_of_memory():
        return None
    return USUAL if USUAL.is_dir() else Path(tempfile.gettempdir())


def _mapped(folder: Path, size: int, far: bool) -> mmap.mmap:
    """A new file of zeros, mapped; `far` tables do not fit into memory, and only rows asked for are read."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            found = FarFile(file.fileno(), size) if far else mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise Failure(
            "VFL0791",
            f"tables of {_in_words(size)} cannot lie in a file in {folder}: {error.strerror}",
            f"set {SWITCH} in the environment to a folder with enough room, or to `memory`",
        ) from None
    if far and hasattr(mmap, "MADV_RANDOM"):
        found.madvise(mmap.MADV_RANDOM)  # what lies beside a row would take the place of others
    return found


def _in_words(size: int) -> str:
    """So many bytes, for people."""
    return f"{size / (1 << 30):,.2f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):,.1f} MiB"
