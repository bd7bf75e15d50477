"""What a place has received and not yet taken, and what it has learned of its peers.

Filled by the threads of a transport, emptied by the one thread of the place.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from vflc_runtime.errors import PEER, Failure
from vflc_runtime.events import Listener, Waiting, silent
from vflc_runtime.transport.network import Ended, Reason, Restarted

NOTICE = 10.0
"""Seconds of a wait after which it is told, and told again when it has lasted twice as long."""

MessageKey = tuple[str, str, str]
"""Sender, "message" or "control", and the name of the message or the kind."""

_Item = tuple[int, Any, Callable[[], None]]


class Mailbox:
    """The inbox of one place.

    Args:
        peers: the places it is connected to.
        timeout: seconds that a wait lasts at most; a longer one, where it is asked for, lasts only
            as long as the peer is heard of at least this often.
        link: says in words how the link to a peer is, for those who waited in vain.
        heard: when a peer was last heard of, by the monotonic clock.
    """

    def __init__(
        self,
        peers: Iterable[str],
        timeout: float,
        link: Callable[[str], str] = lambda peer: "connected",
        heard: Callable[[str], float] = lambda peer: time.monotonic(),
    ) -> None:
        self.timeout, self._link, self._heard = timeout, link, heard
        self.generation = 1
        self.waited = dict.fromkeys(peers, 0.0)
        self.waited_for: dict[str, dict[str, float]] = {peer: {} for peer in self.waited}
        self._lock = Lock()
        self._wake_up: SimpleQueue[None] = SimpleQueue()
        self._waiting = False
        self._boxes: dict[MessageKey, deque[_Item]] = {}
        self._generations = dict.fromkeys(self.waited, 1)
        self._again: str | None = None
        self._ended: dict[str, Reason] = {}
        self._failure: Exception | None = None
        self.listen: Listener = silent
        """Is told of waits that last."""

    # --- by the threads of the transport -----------------------------------------------------

    def deliver(
        self, key: MessageKey, generation: int, content: Any, done: Callable[[], None] = lambda: None
    ) -> None:
        """Keeps what came, unless it is from a generation that this place has left.

        `done` is called once it has been taken, or dropped for its generation.
        """
        with self._lock:
            self._announce(key[0], generation)
            if generation < self.generation:
                done()
                return
            self._boxes.setdefault(key, deque()).append((generation, content, done))
            self._ring()

    def notify(self) -> None:
        """Something changed that `until` waits for."""
        with self._lock:
            self._ring()

    def announce(self, peer: str, generation: int) -> None:
        """`peer` is in `generation`."""
        with self._lock:
            self._announce(peer, generation)
            self._ring()

    def restarted(self, peer: str) -> None:
        """The process of `peer` is a new one: what the old one said is void."""
        with self._lock:
            for key in [key for key in self._boxes if key[0] == peer]:
                del self._boxes[key]
            self._generations[peer] = 1
            self._ended.pop(peer, None)
            self._again = peer
            self._ring()

    def ended(self, peer: str, reason: Reason) -> None:
        """`peer` has left, after all that it sent."""
        with self._lock:
            self._ended[peer] = reason
            self._ring()

    def fail(self, failure: Exception) -> None:
        """Nothing can be received any more; the first failure is the one to tell."""
        with self._lock:
            self._failure = self._failure or failure
            self._ring()

    def _ring(self) -> None:
        """Wakes the place: by a queue, which takes a tenth of what a `Condition` does."""
        if self._waiting:
            self._waiting = False
            self._wake_up.put(None)

    def _announce(self, peer: str, generation: int) -> None:
        if generation > self._generations[peer]:
            self._generations[peer] = generation
            self._ended.pop(peer, None)
        if self._generations[peer] > self.generation and self._again is None:
            self._again = peer

    # --- by the place ------------------------------------------------------------------------

    def control(self, sender: str, kind: str, limit: int, timeout: float | None = None) -> bytes:
        """The next control message of a kind, waited for at most `timeout` seconds, see `Network.hear`.

        Raises:
            Failure: VFL0645, it has more than `limit` bytes; VFL0641, it did not come in time.
        """
        payload: bytes = self.wait((sender, "control", kind), timeout)
        if len(payload) > limit:
            raise Failure(
                "VFL0645",
                f"{sender!r} sent {len(payload)} bytes of control message {kind!r}, "
                f"where at most {limit} are due",
                "run the same bundle and the same version on both sides",
                exit_code=PEER,
            )
        return payload

    def wait(self, key: MessageKey, timeout: float | None = None) -> Any:
        """The next of what came under this key; VFL0641 after `timeout` seconds, or the network's own."""
        with self._lock:
            item = self._next(key)
            self._waiting = item is None
        if item is None:
            item = self._patiently(key, self.timeout if timeout is None else timeout)
        _, content, done = item
        done()
        return content

    def until(
        self,
        ready: Callable[[], bool],
        peer: str,
        timeout: float,
        ignored: tuple[type[Exception], ...] = (),
        what: str | None = None,
    ) -> bool:
        """Waits for `ready`, which others make true and tell by `notify`; False after `timeout` seconds.

        The time counts as spent waiting for `peer`, and where it lasts, what is waited for is told.
        What keeps the place from going on is raised, but for what is `ignored`.
        """
        begin, rung, notice = time.monotonic(), True, math.inf if what is None else NOTICE
        try:
            while True:
                with self._lock:
                    if ready():
                        return True
                    with suppress(*ignored):
                        self._raise()
                    self._waiting = True
                passed = time.monotonic() - begin
                if not rung and passed >= timeout:
                    return False
                if what is not None and passed >= notice:
                    self.listen(Waiting(peer, what, passed, timeout))
                    notice = 2 * passed
                rung = self._sleep(begin + min(timeout, notice))
        finally:
            self.waited[peer] += time.monotonic() - begin

    def check(self) -> None:
        """Raises what keeps this place from going on, where there is something."""
        with self._lock:
            self._raise()

    def senders(self, kind: str, name: str) -> tuple[str, ...]:
        """Those of whom something lies here under this name."""
        with self._lock:
            self._raise()
            found = [key[0] for key, box in self._boxes.items() if key[1:] == (kind, name) and box]
            return tuple(peer for peer in found if self._boxes[peer, kind, name][0][0] == self.generation)

    def adopt(self) -> None:
        """Joins the generation of the peers, where nothing was sent or taken yet.

        A peer that was complete earlier may have told something in an older one: that is dropped.
        """
        with self._lock:
            self._enter(max(self.generation, *self._generations.values(), 1))

    def renew(self) -> int:
        """Begins the next generation and forgets the older ones; returns its number."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._enter(max(self.generation + 1, *self._generations.values(), 1))
            return self.generation

    def _enter(self, generation: int) -> None:
        """Whoever is in a generation drops what was told before it: peers told it anew, or will."""
        self.generation, self._again = generation, None
        for box in self._boxes.values():
            while box and box[0][0] < generation:
                _, _, done = box.popleft()
                done()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
        for peer, reason in self._ended.items():
            if reason != "done":
                raise Ended(peer, reason)
        if self._again is not None:
            raise Restarted(self._again)

    def _next(self, key: MessageKey) -> _Item | None:
        self._raise()
        box = self._boxes.get(key)
        if box and box[0][0] == self.generation:
            return box.popleft()
        if key[0] in self._ended:
            raise Ended(key[0], self._ended[key[0]])
        return None

    def _patiently(self, key: MessageKey, timeout: float) -> _Item:
        begin, notice = time.monotonic(), NOTICE
        since, what = time.strftime("%H:%M:%S"), f"{key[1]} {key[2]!r}"
        try:
            while True:
                last = max(begin, self._heard(key[0])) + self.timeout
                rung = self._sleep(min(begin + min(timeout, notice), last))
                with self._lock:
                    item = self._next(key)
                    if item is not None:
                        return item
                    self._waiting = True
                passed = time.monotonic() - begin
                if not rung and passed >= min(timeout, self._heard(key[0]) - begin + self.timeout):
                    raise overdue(key[0], what, passed, since, self._link(key[0]))
                if passed >= notice:
                    self.listen(Waiting(key[0], what, passed, timeout))
                    notice = 2 * passed
        finally:
            passed = time.monotonic() - begin
            self.waited[key[0]] += passed
            if key[1] == "message":
                messages = self.waited_for[key[0]]
                messages[key[2]] = messages.get(key[2], 0.0) + passed

    def _sleep(self, until: float) -> bool:
        """Sleeps until somebody rings; False where nobody does in time."""
        left = until - time.monotonic()
        if left <= 0:
            return False
        try:
            self._wake_up.get(timeout=left)
        except Empty:
            return False
        return True


def overdue(peer: str, what: str, seconds: float, since: str, link: str) -> Failure:
    """VFL0641: who was waited for, for what, since when, and how the link to it is."""
    return Failure(
        "VFL0641",
        f"{peer!r} did not send {what} within {seconds:.1f} s (waiting since {since}; link: {link})",
        f"check {peer!r}; if its work takes longer, raise the timeout at all parties",
        exit_code=PEER,
    )
