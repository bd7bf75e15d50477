"""What a party's process tells those who watch it, as a file of JSON lines."""

from __future__ import annotations

import json
import os
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vflc_runtime import events, files
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.run.watchers import without_values

_NETWORK = {f"VFL06{number}" for number in range(40, 70)}
"""Codes whose messages name parties, files and addresses, and no values."""
_QUIET = 5.0
"""Seconds between two lines about the steps of an epoch, or about keys that are compared."""


class Log(AbstractContextManager["Log"]):
    """Appends a line of JSON for every event: `time`, `event`, and what the event holds.

    Logs are collected and shown to people who may not see the table: values of it are left out, and a
    file that is made here is readable for its owner alone.

    Args:
        path: the file; a run that goes on appends to it.

    Raises:
        Failure: VFL0612 where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with files.writing(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._file = os.fdopen(descriptor, "a", encoding="utf-8")
        self._said = 0.0
        self._write("Started", {})  # so that a disk that is full is found before anybody waits

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            with files.writing(self._path):
                self._file.close()
            return
        with suppress(OSError, Failure):  # why the run stopped is more than that its log is full
            self._write("Stopped", _stopped(error))
        with suppress(OSError):
            self._file.close()

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, (events.Progress, events.Aligning)):
            if time.monotonic() - self._said < _QUIET:
                return
            self._said = time.monotonic()
        self._write(type(event).__name__, without_values(asdict(event)))

    def _write(self, event: str, content: dict[str, Any]) -> None:
        line = {"time": round(time.time(), 3), "event": event, **content}
        with files.writing(self._path):
            self._file.write(json.dumps(line, default=str, ensure_ascii=False) + "\n")
            self._file.flush()


def _stopped(error: BaseException) -> dict[str, Any]:
    """Why a run stopped. Only what concerns the network is told in full: other messages may quote rows."""
    if not isinstance(error, Failure):
        return {"message": type(error).__name__}
    shown = error.code in _NETWORK or error.exit_code == PEER
    return {"code": error.code, "message": error.message if shown else f"see `vflc explain {error.code}`"}
