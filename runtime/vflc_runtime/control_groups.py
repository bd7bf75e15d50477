"""What the control groups of this process say, and those that these are in: a container's limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS, MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def group_folders(
    controller: str, groups: Path = GROUPS, mounted: Path = MOUNTED
) -> Iterator[tuple[int, Path]]:
    """The version of control groups, 1 or 2, and a folder of files; the outermost first.

    In a container a group may be called by a name that only its host knows; its own files then lie at the
    top of what is mounted, which is why that is looked at, too.
    """
    for line in text_of(groups).split("\n"):
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        if controllers == "":
            version, folder = 2, mounted
        elif controller in controllers.split(","):
            version, folder = 1, mounted / controller
        else:
            continue
        for name in ("", *(name for name in path.split("/") if name not in ("", ".."))):
            folder = folder / name
            yield version, folder


def text_of(file: Path) -> str:
    """What a file says, names in it as the system has them; nothing where it cannot be read."""
    try:
        return os.fsdecode(file.read_bytes())
    except (OSError, ValueError):
        return ""
