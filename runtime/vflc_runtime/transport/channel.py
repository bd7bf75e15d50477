"""The one thing that differs between a run in one process and a run between machines."""

from __future__ import annotations

from typing import Protocol

from vflc_runtime.transport.messages import Envelope


class Channel(Protocol):
    """One place's end of the connections to all others."""

    def send(self, receiver: str, envelope: Envelope) -> None:
        """Hands a message over; returns before the receiver has taken it."""
        ...

    def take(self, sender: str, message: str) -> Envelope | None:
        """The next message `message` of `sender`.

        None where it has not come yet and others must run first, which only places that share
        a process return; a networked channel waits. What came without being asked for is
        VFL0615.
        """
        ...
