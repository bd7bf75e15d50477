"""Folders for what does not fit in memory: their owner's alone, and gone with the process that made them.

A process holds a lock in each of its folders. Where one was killed before it could remove them, the next one
that makes such a folder finds them without a holder, and removes them. Only the host that a folder is of does
so, as elsewhere its lock may not be seen, where TMPDIR is on a network.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vflc_runtime import files
from vflc_runtime.errors import Failure

_PREFIX = "vflc-scratch-"
_LOCK = "lock"
_LONGEST = 1024
"""Bytes that are read of a lock, which has its host's name."""


class ScratchFolder:
    """A folder in TMPDIR, until `close`.

    Raises:
        Failure: VFL0612, none can be made there, or none with a lock.
    """

    def __init__(self) -> None:
        self._lock = -1
        try:
            _remove_abandoned()
            self._make()
        except OSError as error:
            where = f"no folder with a lock can be made in {tempfile.gettempdir()}"
            raise Failure("VFL0612", f"{where}: {error.strerror}", "set TMPDIR to another folder") from None

    def _make(self) -> None:
        while self._lock < 0:  # else another process has taken the new folder for an abandoned one
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            try:
                self._lock = _locked(self.path / _LOCK, os.O_CREAT)
                if self._lock >= 0:
                    os.write(self._lock, platform.node().encode())
            except OSError:
                self.close()
                raise

    def close(self) -> None:
        """Removes the folder with all that is in it; files that are mapped stay readable."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in TMPDIR that is removed at the end."""
    made = ScratchFolder()
    try:
        yield made.path
    finally:
        made.close()


def _locked(file: Path, create: int = 0) -> int:
    """A descriptor that holds the lock of a folder; -1 where another process does, or the folder is gone.

    OSError where there can be no lock, as on some file systems of a network.
    """
    try:
        lock = files.private(file, os.O_RDWR | os.O_NOFOLLOW | create)
    except FileNotFoundError:
        return -1
    held = False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = bool(os.fstat(lock).st_nlink)
    except BlockingIOError:
        pass
    finally:
        if not held:
            os.close(lock)
    return lock if held else -1


def _remove_abandoned() -> None:
    """Removes folders of this user whose process, of this host, is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if not _is_ours(folder.lstat()) or (lock := _locked(folder / _LOCK)) < 0:
                continue
            try:
                if os.read(lock, _LONGEST) == platform.node().encode():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _is_ours(found: os.stat_result) -> bool:
    """Whether it is a folder as this user's processes make them, and no link or one that was made by hand."""
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o777 == 0o700
    return private and found.st_uid == os.getuid()
