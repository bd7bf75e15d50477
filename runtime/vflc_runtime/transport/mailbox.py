"""What a place has received and not yet taken, and what it has learned of its peers.

Filled by the threads of a transport, emptied by the one thread of the place.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Condition
from typing import Any

from vflc_runtime.errors import PEER, Failure
from vflc_runtime.transport.network import Ended, Reason, Restarted

Key = tuple[str, str, str]
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
        self.era = 1
        self.waited = dict.fromkeys(peers, 0.0)
        self.changed = Condition()
        self._boxes: dict[Key, deque[_Item]] = {}
        self._eras = dict.fromkeys(self.waited, 1)
        self._again: str | None = None
        self._ended: dict[str, Reason] = {}
        self._failure: Exception | None = None

    # --- by the threads of the transport -----------------------------------------------------

    def deliver(self, key: Key, era: int, content: Any, done: Callable[[], None] = lambda: None) -> None:
        """Keeps what came, unless it is from an era that this place has left.

        `done` is called once it has been taken, or dropped for its era.
        """
        with self.changed:
            self._announce(key[0], era)
            if era < self.era:
                done()
                return
            self._boxes.setdefault(key, deque()).append((era, content, done))
            self.changed.notify_all()

    def notify(self) -> None:
        """Something changed that `until` waits for."""
        with self.changed:
            self.changed.notify_all()

    def announce(self, peer: str, era: int) -> None:
        """`peer` is in `era`."""
        with self.changed:
            self._announce(peer, era)
            self.changed.notify_all()

    def restarted(self, peer: str) -> None:
        """The process of `peer` is a new one: what the old one said is void."""
        with self.changed:
            for key in [key for key in self._boxes if key[0] == peer]:
                del self._boxes[key]
            self._eras[peer] = 1
            self._ended.pop(peer, None)
            self._again = peer
            self.changed.notify_all()

    def ended(self, peer: str, reason: Reason) -> None:
        """`peer` has left, after all that it sent."""
        with self.changed:
            self._ended[peer] = reason
            self.changed.notify_all()

    def fail(self, failure: Exception) -> None:
        """Nothing can be received any more; the first failure is the one to tell."""
        with self.changed:
            self._failure = self._failure or failure
            self.changed.notify_all()

    def _announce(self, peer: str, era: int) -> None:
        if era > self._eras[peer]:
            self._eras[peer] = era
            self._ended.pop(peer, None)
        if self._eras[peer] > self.era and self._again is None:
            self._again = peer

    # --- by the place ------------------------------------------------------------------------

    def wait(self, key: Key, timeout: float | None = None) -> Any:
        """The next of what came under this key."""
        with self.changed:
            item = self._next(key)
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
    ) -> bool:
        """Waits for `ready`, which others make true and tell by `notify`; False after `timeout`.

        The time counts as spent waiting for `peer`. What keeps the place from going on is
        raised, but for what is `ignored`.
        """
        begin = time.monotonic()
        with self.changed:
            while not ready():
                with suppress(*ignored):
                    self._raise()
                left = begin + timeout - time.monotonic()
                if left <= 0:
                    break
                self.changed.wait(left)
            self.waited[peer] += time.monotonic() - begin
            return ready()

    def check(self) -> None:
        """Raises what keeps this place from going on, where there is something."""
        with self.changed:
            self._raise()

    def senders(self, kind: str, name: str) -> tuple[str, ...]:
        """Those of whom something lies here under this name."""
        with self.changed:
            self._raise()
            found = [key[0] for key, box in self._boxes.items() if key[1:] == (kind, name) and box]
            return tuple(peer for peer in found if self._boxes[peer, kind, name][0][0] == self.era)

    def adopt(self) -> None:
        """Joins the era of the peers, where nothing was sent or taken yet."""
        with self.changed:
            self.era = max(self.era, *self._eras.values(), 1)
            self._again = None

    def renew(self) -> int:
        """Begins the next era and forgets the older ones; returns its number."""
        with self.changed:
            if self._failure is not None:
                raise self._failure
            self.era = max(self.era + 1, *self._eras.values(), 1)
            self._again = None
            for box in self._boxes.values():
                while box and box[0][0] < self.era:
                    _, _, done = box.popleft()
                    done()
            return self.era

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
        for peer, reason in self._ended.items():
            if reason != "done":
                raise Ended(peer, reason)
        if self._again is not None:
            raise Restarted(self._again)

    def _next(self, key: Key) -> _Item | None:
        self._raise()
        box = self._boxes.get(key)
        if box and box[0][0] == self.era:
            return box.popleft()
        if key[0] in self._ended:
            raise Ended(key[0], self._ended[key[0]])
        return None

    def _patiently(self, key: Key, timeout: float) -> _Item:
        begin = time.monotonic()
        since = time.strftime("%H:%M:%S")
        try:
            while True:
                now = time.monotonic()
                last = max(begin, self._heard(key[0])) + self.timeout
                left = min(begin + timeout, last) - now
                if left <= 0:
                    raise overdue(key[0], f"{key[1]} {key[2]!r}", now - begin, since, self._link(key[0]))
                self.changed.wait(left)
                item = self._next(key)
                if item is not None:
                    return item
        finally:
            self.waited[key[0]] += time.monotonic() - begin


def overdue(peer: str, what: str, seconds: float, since: str, link: str) -> Failure:
    """VFL0641: who was waited for, for what, since when, and how the link to it is."""
    return Failure(
        "VFL0641",
        f"{peer!r} did not send {what} within {seconds:.3g} s, waited for since {since}; the link: {link}",
        f"look at what {peer!r} does; where its work takes longer, raise the timeout at all parties",
        exit_code=PEER,
    )
