"""Ctrl-C and SIGTERM: a run that is asked to end comes to the end of its step and saves."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

GRACE = 20.0
"""Seconds that SIGTERM leaves a run for the step at hand and its checkpoint."""


class Interrupted(Exception):
    """The user stopped the run; its checkpoint at `step` lies in `folder` and can be resumed."""

    exit_code = 130

    def __init__(self, step: int, folder: Path) -> None:
        super().__init__(f"stopped after step {step}; continue with --resume")
        self.step, self.folder = step, folder


class Interrupts:
    """While entered, `asked` says whether Ctrl-C or SIGTERM came. Outside the main thread neither is heard.

    A second Ctrl-C raises KeyboardInterrupt at once, and so does the end of `grace` seconds after
    SIGTERM: whoever sends it kills before long, and a peer that stalls must not keep this process.
    More of SIGTERM changes nothing, as `timeout` and supervisors send it to a process and its group.
    Ctrl-C stays ignored where it was (`&` in a script), for it is meant for others then.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.asked = False
        self._grace = grace
        self._timer: threading.Timer | None = None
        self._late = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._late or (self.asked and number == signal.SIGINT):
            raise KeyboardInterrupt
        self.asked = True
        if number == signal.SIGTERM and self._timer is None:
            self._timer = threading.Timer(self._grace, self._hurry)
            self._timer.daemon = True
            self._timer.start()

    def _hurry(self) -> None:
        """A signal ends the main thread's waiting, wherever it waits."""
        self._late = True
        if signal.SIGTERM in self._before:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
