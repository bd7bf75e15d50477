"""What a party's process tells those who watch it: a file of JSON lines, and TensorBoard."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vflc_runtime import events, files
from vflc_runtime.errors import PEER, Failure

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
        self._write(type(event).__name__, _without_values(asdict(event)))

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


def _without_values(content: Any) -> Any:
    """An event's content without the examples of values that encoders did not know."""
    if isinstance(content, Mapping):
        return {key: _without_values(each) for key, each in content.items() if key != "examples"}
    return content


class TensorBoard(AbstractContextManager["TensorBoard"]):
    """Writes losses and metrics of every epoch, and the speed within it, as TensorBoard reads them.

    Args:
        folder: for its files, one a start.

    Raises:
        Failure: VFL0656 where tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise Failure(
                "VFL0656", "TensorBoard logs need tensorboardX", "pip install 'vflc[tensorboard]'"
            ) from None
        with files.writing(folder):
            self._writer: Any = SummaryWriter(str(folder))
        self._steps = self._first = 0

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.EpochStarted():
                self._steps, self._first = event.steps, (event.epoch - 1) * event.steps
            case events.Progress():
                at = self._first + event.done
                self._add("rows_per_second", event.rows_per_second, at)
                self._add("step/loss", event.loss, at)
            case events.EpochEnded():
                for group, scores in (("train", event.train), ("validation", event.validation)):
                    for name, value in scores.items():
                        self._add(f"{group}/{name}", value, event.epoch * self._steps)
                self._writer.flush()

    def _add(self, name: str, value: float | None, step: int) -> None:
        if value is not None:
            self._writer.add_scalar(name, value, step)


def told(*listeners: Callable[[events.Event], None]) -> events.Listener:
    """One listener that tells all of them."""

    def listen(event: events.Event) -> None:
        for listener in listeners:
            listener(event)

    return listen
