"""How many cores this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vflc_runtime.control_groups import GROUPS, MOUNTED, group_folders, text_of

_DIGITS = 15
"""Of a number of microseconds: what has more is no limit."""


def cores() -> int:
    """Those that it may run on, at most as many as its control groups give it time for; at least one.

    Beyond that time all threads of a process are stopped, those that do the work with those that wait for it.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([here, *(int(share) for share in _shares(GROUPS, MOUNTED))]))


def _shares(groups: Path, mounted: Path) -> Iterator[float]:
    """Seconds of all cores' time, a second, that control groups give: of Linux's `cpu.max` and before."""
    for version, folder in group_folders("cpu", groups, mounted):
        if version == 2:
            said = text_of(folder / "cpu.max").split()
        else:
            said = [text_of(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if len(said) == 2 and all(each.isdecimal() and len(each) < _DIGITS for each in said) and int(said[1]):
            yield int(said[0]) / int(said[1])
