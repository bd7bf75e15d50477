"""How much of the machine's memory a part of a run may take."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.control_groups import GROUPS, MOUNTED, group_folders, text_of
from vflc_runtime.errors import Failure

_TABLES = 512 << 20
_COLUMN = 4 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_FROM_HEAP, _LEFT_FREE = 32 << 20, 64 << 20

_DIGITS = 24
"""Of a number of bytes: what has more is no limit."""

LARGE = "VFLC_LARGE_TABLES"
"""In the environment: from how many MiB on tables, with what is kept for their rows, are large at a place."""
LARGE_MIB = 64


def half_of_memory() -> int:
    """Half of the memory that this process may have, in bytes: the machine's, or what its groups may have."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(GROUPS, MOUNTED)]) // 2


def _limits(groups: Path, mounted: Path) -> Iterator[int]:
    """Bytes that the control groups of this process may have, and those that these are in."""
    for version, folder in group_folders("memory", groups, mounted):
        said = text_of(folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")).strip()
        if said.isdecimal() and len(said) < _DIGITS:
            yield int(said)


def large_bytes() -> int:
    """From how many bytes on the tables of a place are large.

    Raises:
        Failure: VFL0790, the environment has something else than a number for it.
    """
    value = os.environ.get(LARGE) or str(LARGE_MIB)
    try:
        mib = float(value)
    except ValueError:
        mib = -1.0
    if not 0 <= mib < 1 << 30:
        raise Failure("VFL0790", f"{LARGE} is {value!r} in the environment", "give a number of MiB")
    return int(mib * (1 << 20))


def for_tables(columns: int) -> int:
    """Bytes that DuckDB may hold while it reads, sorts and joins tables of so many columns in all.

    However many rows they have: what is beyond that lies on the disk.
    """
    return min(_TABLES + _COLUMN * columns, half_of_memory())


class FarFile(mmap.mmap):
    """A mapped file that is larger than what may be in memory of it."""


def far_file(array: Array) -> FarFile | None:
    """The file that an array [*] lies in, where that is one."""
    found: Any = array
    while isinstance(found, np.ndarray):
        found = found.base
    found = found.obj if isinstance(found, memoryview) else found
    return found if isinstance(found, FarFile) else None


def ask_for(array: Array, rows: Indices) -> None:
    """Has rows [n] of an array [rows, …] read at once, where it lies in a `FarFile`; nobody waits for them.

    Whoever reads row by row waits for the disk as often, one page after the other.
    """
    file = far_file(array)
    if file is None or not len(rows) or not hasattr(mmap, "MADV_WILLNEED"):
        return
    start = array.ctypes.data - np.frombuffer(file, np.uint8).ctypes.data
    begin = np.sort(start + rows * array.strides[0])
    firsts, lasts = begin // mmap.PAGESIZE, (begin + array[:1].nbytes - 1) // mmap.PAGESIZE
    apart = np.flatnonzero(firsts[1:] > lasts[:-1] + 1)
    firsts, lasts = firsts[np.append(0, apart + 1)], lasts[np.append(apart, len(lasts) - 1)]
    for first, count in zip((firsts * mmap.PAGESIZE).tolist(), (lasts - firsts + 1).tolist(), strict=True):
        file.madvise(mmap.MADV_WILLNEED, first, min(count * mmap.PAGESIZE, len(file) - first))


def forget(arrays: Iterable[Array]) -> None:
    """Gives back the memory of arrays [*] that are mapped files; what is read again comes from the file."""
    for array in arrays:
        mapped: Any = getattr(array, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def keep_freed() -> None:
    """Lets glibc keep what is freed, up to 64 MiB, instead of giving it back and asking for it again.

    A party that sends and receives frees some MiB at once, again and again: half of the time that a message
    of 200 KiB took went into pages that were given back before. These are the bounds to which glibc moves by
    itself where a program frees large blocks. Elsewhere than on glibc it does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _FROM_HEAP)
        mallopt(_M_TRIM_THRESHOLD, _LEFT_FREE)
