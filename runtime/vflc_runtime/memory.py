"""How much of the machine's memory a part of a run may take."""

from __future__ import annotations

import os

from vflc_runtime.errors import Failure

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
