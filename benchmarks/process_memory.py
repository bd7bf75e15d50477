"""What memory a process takes, and how to let it have no more than so much."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

GROUPS = Path("/sys/fs/cgroup/memory")


def status(name: str) -> int:
    """Bytes that Linux says of this process under a name; 0 elsewhere."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    return 0


def resident() -> int:
    """Bytes of this process that lie in memory, those of mapped files included."""
    return status("VmRSS")


def anonymous() -> int:
    """Those of them that no file stands for."""
    return status("RssAnon")


@contextmanager
def most_anonymous(found: dict[str, Any], name: str) -> Iterator[None]:
    """Keeps in `found`, under a name, what `anonymous` was at most meanwhile or before."""
    done, most = Event(), [anonymous()]

    def watch() -> None:
        while not done.wait(0.02):
            most.append(max(most.pop(), anonymous()))

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        found[name] = max(most[0], found.get(name, 0))


class Group:
    """A control group whose processes have so many bytes of memory, their mapped files included.

    Raises:
        OSError: there are no groups here that this user may make.
    """

    def __init__(self, limit: int) -> None:
        own = next(
            line.split(":", 2)[2]
            for line in Path("/proc/self/cgroup").read_text().splitlines()
            if "memory" in line.split(":")[1].split(",") or line.startswith("0::")
        )
        first = GROUPS.exists()
        under = (GROUPS if first else GROUPS.parent) / own.strip("/")
        self._folder = under / f"vflc-{os.getpid()}"
        self._folder.mkdir()
        try:
            (self._folder / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit))
        except OSError:
            self.close()
            raise

    def take(self, process: int) -> None:
        """A process belongs to the group from now on; what it has already counts where it is."""
        (self._folder / "cgroup.procs").write_text(str(process))

    def close(self) -> None:
        """Removes it, when all of its processes have ended."""
        self._folder.rmdir()
