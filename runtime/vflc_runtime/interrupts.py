"""Ctrl-C in two stages: the first asks the run to end after its step, the second ends it at once."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any


class Interrupted(Exception):
    """The user stopped the run; its checkpoint at `step` lies in `folder` and can be resumed."""

    exit_code = 130

    def __init__(self, step: int, folder: Path) -> None:
        super().__init__(f"stopped after step {step}; go on with it by --resume")
        self.step, self.folder = step, folder


class Interrupts:
    """While entered, `asked` says whether Ctrl-C was pressed. Outside the main thread it never is."""

    asked = False

    def __enter__(self) -> Interrupts:
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
