"""How many threads share out our operators in a step of training: as many as it takes least time with.

That is found by trying, as it depends on the batch and on what else the machine does: beside busy
neighbours one thread may be faster than two, which wait for each other. The bits of a step are the same for
every number.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

import numpy as np
import vflc_kernels
from vflc_common.words import DEFAULT_ENGINE

LOG = logging.getLogger("vflc_runtime.threads")
WARM_STEPS = 16
"""Steps before the first that is counted."""
BLOCK_STEPS, BLOCK_SECONDS = 8, 0.02
"""A number of threads is tried for at least so many steps and seconds at a time."""
ROUNDS = 10
"""Of two numbers that are compared, one after the other is tried as many times."""
CLEARLY = 0.97
"""Steps by fewer threads take clearly less time where they take at most this share of it."""
FAR, SURE_ROUNDS = 1.15, 3
"""Where times are further apart than this, the same way in each of the first rounds, these are all."""
TRYING = 0.005
"""The share of all time that trying may cost."""
PAUSE = 10.0
"""Seconds of steps, at least, before numbers are tried again."""


class ThreadChoice:
    """A context manager in which a step is done each time: by as many threads as steps take least time with.

    Args:
        most: threads that there are, two or more.
        use: lets the operators that the calling thread runs have so many threads; 0 is for all of them.
        clock: in seconds.
    """

    def __init__(
        self,
        most: int,
        use: Callable[[int], None] = vflc_kernels.use_threads,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._use, self._clock = use, clock
        self._search = searching(most)
        self.used = next(self._search)
        self._started = 0.0

    def __enter__(self) -> None:
        self._use(self.used)
        self._started = self._clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = self._clock() - self._started
        self._use(0)  # the thread may go on with steps of others
        if kind is None:
            self.used = self._search.send(seconds)


def thread_choice(engine: str, threads: int | None) -> AbstractContextManager[None]:
    """What to do steps in: it chooses where there is a choice that the user has not made."""
    most = os.cpu_count() or 1
    if threads is not None or most == 1 or engine != DEFAULT_ENGINE or vflc_kernels.why_not():
        return nullcontext()
    return ThreadChoice(most)


def searching(most: int) -> Generator[int, float, None]:
    """Yields how many threads the next step is to have, and is sent the seconds that it took.

    Tries `most`, half as many and so on, as long as fewer are better, and uses the best for a while.
    """
    for _ in range(WARM_STEPS):
        yield most
    while True:
        used, trial = most, Trial()
        while used > 1 and (yield from trial.fewer_are_better(used, used // 2)):
            used //= 2
        LOG.debug("a step takes %s: %d used", trial, used)
        left = max(PAUSE, trial.lost(used) / TRYING)
        while left > 0:
            left -= yield used


class Trial:
    """Steps by several numbers of threads, and the seconds that they took."""

    def __init__(self) -> None:
        self._steps: dict[int, int] = {}
        self._seconds: dict[int, float] = {}

    def fewer_are_better(self, many: int, few: int) -> Generator[int, float, bool]:
        """See `searching`; whether steps take clearly less time by `few` threads than by `many`."""
        ratios: list[float] = []
        for index in range(ROUNDS):
            order = (many, few) if index % 2 else (few, many)  # a drift favours neither
            took = {}
            for threads in order:
                took[threads] = yield from self._block(threads)
            ratios.append(took[few] / took[many])
            if len(ratios) == SURE_ROUNDS and (min(ratios) > FAR or max(ratios) < 1 / FAR):
                break
        return bool(np.median(ratios) < CLEARLY)

    def _block(self, threads: int) -> Generator[int, float, float]:
        """The seconds that a step took."""
        steps, seconds = 0, 0.0
        while steps < BLOCK_STEPS or seconds < BLOCK_SECONDS:
            seconds += yield threads
            steps += 1
        self._steps[threads] = self._steps.get(threads, 0) + steps
        self._seconds[threads] = self._seconds.get(threads, 0.0) + seconds
        return seconds / steps

    def lost(self, threads: int) -> float:
        """Seconds that would not have been spent if so many had been used from the start."""
        each = self._seconds[threads] / self._steps[threads]
        return sum(self._seconds.values()) - each * sum(self._steps.values())

    def __str__(self) -> str:
        """As `1.2 ms by 1 thread, 1.5 ms by 2`."""
        each = sorted(
            (threads, 1e3 * self._seconds[threads] / steps) for threads, steps in self._steps.items()
        )
        (least, first), *more = each
        head = f"{first:.3g} ms by {least} thread{'s' if least > 1 else ''}"
        return ", ".join([head, *(f"{took:.3g} ms by {threads}" for threads, took in more)])
