"""How much of the machine's memory a part of a run may take."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from typing import Any

from vflc_common.arrays import Array

from vflc_runtime.errors import Failure

_TABLES = 512 << 20
_COLUMN = 4 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_FROM_HEAP, _LEFT_FREE = 32 << 20, 64 << 20

LARGE = "VFLC_LARGE_TABLES"
"""In the environment: from how many MiB on tables, with what is kept for their rows, are large at a place."""
LARGE_MIB = 64


def half_of_memory() -> int:
    """Half of this machine's memory, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


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
