"""Speaking with one peer: every message is bounded before it comes and checked before it is used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from vflc_common.control import ALIGN_COUNT, Control

from vflc_runtime.errors import PEER, Failure


class Exchange(Protocol):
    """Authenticated connections to the other parties: what `transport.network.Network` has of them."""

    def tell(self, receiver: str, kind: str, payload: bytes) -> None:
        """Sends a message, in order among those of its kind."""
        ...

    def hear(self, sender: str, kind: str, limit: int, timeout: float | None = None) -> bytes:
        """The next message `kind` of `sender`, of at most `limit` bytes; waits at most `timeout` seconds."""
        ...


def wrong(peer: str, what: str) -> Failure:
    """VFL0662: a message that no party sends who follows the protocol."""
    return Failure(
        "VFL0662",
        f"the alignment with {peer} failed: {what}",
        "run the same version at all parties; if they already do, do not continue with this peer",
        exit_code=PEER,
    )


class Clock:
    """The time that is left of an alignment, which has `seconds` from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._end = seconds, time.monotonic() + seconds

    def left(self, peer: str) -> float:
        """Seconds; VFL0668, which names the peer that is waited for, where there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Failure(
                "VFL0668",
                f"the alignment has taken longer than {self.seconds:,.0f} s, and {peer} has not finished",
                f"check {peer}; on slow machines, give it more threads or align by hash",
                exit_code=PEER,
            )
        return left


@dataclass(frozen=True, slots=True)
class PeerExchange:
    """What is said to and heard from one peer.

    Args:
        peer: its name.
        rows: how many keys it has, as it says.
        exchange: the connections.
        clock: bounds the time that all messages together may take.
    """

    peer: str
    rows: int
    exchange: Exchange
    clock: Clock

    def tell(self, kind: Control, payload: bytes) -> None:
        self.exchange.tell(self.peer, kind.name, payload)

    def hear(self, kind: Control, size: int) -> bytes:
        """A message of exactly `size` bytes."""
        try:
            payload = self.exchange.hear(self.peer, kind.name, size, self.clock.left(self.peer))
        except Failure as late:
            if late.code == "VFL0641":
                self.clock.left(self.peer)
            raise
        if len(payload) != size:
            raise wrong(self.peer, f"{kind.name} has {len(payload)} bytes instead of {size}")
        return payload

    def tell_number(self, kind: Control, number: int) -> None:
        self.tell(kind, number.to_bytes(ALIGN_COUNT.bytes, "big"))

    def hear_number(self, kind: Control, most: int) -> int:
        """A number from 0 to `most`."""
        number = int.from_bytes(self.hear(kind, ALIGN_COUNT.bytes), "big")
        if number > most:
            raise wrong(self.peer, f"{kind.name} is {number}, which is more than {most}")
        return number

    def tell_all(self, kind: Control, items: bytes) -> None:
        """As many messages as it takes."""
        for start in range(0, len(items), kind.bytes):
            self.tell(kind, items[start : start + kind.bytes])

    def hear_all(self, kind: Control, size: int) -> Iterator[bytes]:
        """Messages of `size` bytes in all; nothing is allocated for what did not come."""
        for start in range(0, size, kind.bytes):
            yield self.hear(kind, min(kind.bytes, size - start))
