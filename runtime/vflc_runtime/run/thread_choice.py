"""How many threads share out our operators in a step of training: as many as it takes least time with.

That is found by trying, as it depends on the batch and on what else the machine does: beside busy
neighbours one thread may be faster than two, which wait for each other. The bits of a step are the same for
every number.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType

import vflc_kernels
from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime.cores import cores

LOG = logging.getLogger("vflc_runtime.threads")
PAUSE = 10.0
"""Seconds of steps, at least, before numbers are tried, first and again: short runs are spared."""
BLOCK_STEPS, BLOCK_SECONDS = 8, 0.2
"""A number of threads is tried for at least so many steps and seconds at a time: in much shorter ones one
thread has the time that two left to others before."""
ROUNDS = 6
"""Of two numbers that are compared, one after the other is tried as many times."""
CLEARLY, MOSTLY = 0.9, 0.75
"""Steps by fewer threads take clearly less time where they take less than the first share of it, and any
less in the second share of rounds: beside busy neighbours times are far apart by chance, too."""
FAR, SURE_ROUNDS = 1.15, 3
"""Where times are further apart than this, the same way in each of the first rounds, these are all."""
TRYING = 0.005
"""The share of all time that trying may cost."""


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
    most = cores()
    if threads is not None or most == 1 or engine != DEFAULT_ENGINE or vflc_kernels.why_not():
        return nullcontext()
    return ThreadChoice(most)


def searching(most: int) -> Generator[int, float, None]:
    """Yields how many threads the next step is to have, and is sent the seconds that it took.

    Tries `most`, half as many and so on, as long as fewer are better, and uses the best for a while.
    """
    used, left = most, PAUSE
    while True:
        while left > 0:
            left -= yield used
        used, lost = most, 0.0
        while used > 1:
            many, few, mostly = yield from _in_turn(used, used // 2)
            took = 1e3 * many.each, used, 1e3 * few.each, used // 2
            LOG.debug("a step takes %.3g ms by %d threads, %.3g by %d", *took)
            better = mostly and few.each < CLEARLY * many.each
            best, worse = (few, many) if better else (many, few)
            lost += worse.seconds - worse.steps * best.each
            if not better:
                break
            used //= 2
        LOG.debug("%d of %d threads are used", used, most)
        left = max(PAUSE, lost / TRYING)


@dataclass(slots=True)
class Taken:
    """Steps, and the seconds that they took: with those in which a thread waited for a neighbour."""

    steps: int = 0
    seconds: float = 0.0

    @property
    def each(self) -> float:
        return self.seconds / self.steps

    def add(self, other: Taken) -> None:
        self.steps += other.steps
        self.seconds += other.seconds


def _in_turn(many: int, few: int) -> Generator[int, float, tuple[Taken, Taken, bool]]:
    """See `searching`; what steps by `many` and by `few` threads took, and whether mostly less by `few`."""
    all_of = {many: Taken(), few: Taken()}
    ratios: list[float] = []
    for index in range(ROUNDS):
        blocks = {}
        for threads in (many, few) if index % 2 else (few, many):  # a drift favours neither
            blocks[threads] = yield from _block(threads)
            all_of[threads].add(blocks[threads])
        ratios.append(blocks[few].each / blocks[many].each)
        if len(ratios) == SURE_ROUNDS and (min(ratios) > FAR or max(ratios) < 1 / FAR):
            break
    return all_of[many], all_of[few], sum(ratio < 1 for ratio in ratios) >= MOSTLY * len(ratios)


def _block(threads: int) -> Generator[int, float, Taken]:
    taken = Taken()
    while taken.steps < BLOCK_STEPS or taken.seconds < BLOCK_SECONDS:
        taken.add(Taken(1, (yield threads)))
    return taken
