"""What the two ends of a stream have in common, whatever carries it: one dials, the other serves."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

from vflc_runtime.errors import Failure
from vflc_runtime.transport.frames import BadFrame, FrameBytes, FrameKind, decode
from vflc_runtime.transport.link import Link
from vflc_runtime.transport.refusing import refusal, refused, taken

PATIENCE = 10.0
"""Seconds within which a stream begins, and within which something is heard on it."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_SURELY = 5.0
"""Seconds after which a peer would have given up a process that is gone, over those of its patience."""
_IN_USE = 0.1, 0.4, 1.0
"""Pauses before a port that is in use is tried again."""
T = TypeVar("T")
Begun = Queue[tuple[int | None, bytes] | None]
"""The number of a stream that began, None where it was turned away, and the first frame to answer with."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Whom to dial, and how.

    Args:
        link: to the peer.
        address: of the peer, without its scheme.
        parties: all names of the run, of which a certificate must have only the peer's.
        largest: bytes of payload in a frame.
        patience: seconds that a stream may take to begin.
        fail: is told what cannot be mended.
        delay: seconds for which the peer may dial instead.
    """

    link: Link
    address: str
    parties: Collection[str]
    largest: int
    patience: float
    fail: Callable[[Exception], None]
    delay: float


def listening(listen: Callable[[], T], busy: type[Exception]) -> T:
    """What `listen` gives; a process that is ending may still have the port for a moment, which is `busy`."""
    for pause in _IN_USE:
        try:
            return listen()
        except busy:
            time.sleep(pause)
    return listen()


class Dialing(ABC):
    """Keeps a stream from `place` to one peer that listens: dials, and dials again, until `stop`."""

    def __init__(self, place: str, dial: Dial) -> None:
        self._place, self.link = place, dial.link
        self._patience, self._fail, self._delay = dial.patience, dial.fail, dial.delay
        self._stopped = Event()
        self._begun = 0.0
        self.thread = Thread(target=self._run, name=f"dial {dial.link.peer}", daemon=True)

    def stop(self) -> None:
        """No more streams; ends the one there is."""
        self._stopped.set()
        self.cut()

    @abstractmethod
    def cut(self) -> None:
        """Ends the stream; the next is dialled."""

    def late(self) -> bool:
        """Whether the stream takes too long to begin."""
        return self._waiting() and not self.link.connected and time.monotonic() - self._begun > self._patience

    @abstractmethod
    def _waiting(self) -> bool:
        """Whether a stream was asked for that has not begun."""

    @abstractmethod
    def _stream(self) -> tuple[bool, Failure | None]:
        """One stream from beginning to end: whether it came about, and what cannot be mended."""

    def _probe(self) -> Failure | None:
        """What cannot be mended, before anything is dialled."""
        return None

    def _run(self) -> None:
        pause, met = _FIRST_PAUSE, False
        while self._left_to_dial():
            failure = None if met else self._probe()
            if failure is None:
                try:
                    met, failure = self._stream()
                except Exception as defect:
                    self._fail(defect)
                    return
            if failure is not None:
                self._fail(failure)
                if failure.code == "VFL0645":
                    self.link.refuse("refused")  # there is one more word to say
                else:
                    return
            pause = _FIRST_PAUSE if met else min(pause * 2, _LONGEST_PAUSE)
            self._stopped.wait(pause)

    def _left_to_dial(self) -> bool:
        """Waits as long as the peer has dialled, or is to; False where there is nothing more to do."""
        free = time.monotonic()
        while not (self._stopped.is_set() or self.link.ended):
            if self.link.connected:
                free = time.monotonic()
            elif time.monotonic() - free >= self._delay:
                return True
            self._stopped.wait(0.1)
        return False

    def _arrived(self, stream: int, frame: FrameBytes) -> None:
        """Hands on what came; one that may not come is the last that is listened to."""
        try:
            self.link.arrived(stream, frame)
        except BadFrame as error:
            self._fail(refused(self._place, self.link.peer, error))
            self.link.refuse("refused")

    def _turned_away(self) -> Failure | None:
        """VFL0657 where the peer has spoken with another process for so long that it is no old one."""
        since = self.link.taken
        if since is not None and time.monotonic() - since > self._patience + _SURELY:
            return taken(self._place, self.link.peer)
        return None


def serve(
    place: str,
    link: Link,
    frames: Iterator[FrameBytes],
    begun: Begun,
    fail: Callable[[Exception], None],
    hang_up: Callable[[], object],
) -> None:
    """Takes in what comes on a stream that a peer dialled; `begun` says what to answer with."""
    number = 0
    try:
        first = next(frames, None)
        if first is None:
            return
        hello = decode(first)
        if hello.kind != FrameKind.HELLO:
            raise BadFrame("a frame before the hello")
        if not link.known(hello):
            begun.put((None, refusal("taken")))
            return
        number, own = link.attach()
        begun.put((number, own))
        link.arrived(number, first)
        for frame in frames:
            link.arrived(number, frame)
        hang_up()
    except BadFrame as error:
        fail(refused(place, link.peer, error))
        link.refuse("refused")
        begun.put((None, refusal("refused")))  # where no stream has begun
        for _ in frames:  # until the peer has heard it and hangs up
            pass
    except Exception as defect:
        fail(defect)
        hang_up()
    finally:
        begun.put(None)
        link.detach(number, "closed by the peer")
