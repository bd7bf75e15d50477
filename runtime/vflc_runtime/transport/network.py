"""What every transport between processes offers to the place that runs on it.

A network hands over, in order and exactly once, what each peer sent, for as long as both are
the processes that the run began with. A link that is cut comes back by itself and nothing is
lost. A process that is replaced has lost what it had not saved, which only the run can mend:
`Restarted` says so, and `renew` begins a new generation, in which nothing older is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from vflc_runtime.events import Listener
from vflc_runtime.transport.messages import Envelope

Reason = Literal["done", "interrupted", "failed", "refused", "taken", "expired"]
"""Why a place leaves a run: it has all it needs, somebody stopped it, or it cannot go on. Or why it
speaks no longer with one peer: it refuses what that one sent, another process has the peer's name, or
a certificate of theirs has expired."""

REASONS: tuple[Reason, ...] = ("done", "interrupted", "failed", "refused", "taken", "expired")
BYES = 3
"""The first of them are those of a bye, the others those of a refusal."""


class Restarted(Exception):
    """The run must go back to a state that all places hold, and call `Network.renew`.

    Either the process of `peer` is another than the one the run began with, or `peer` began a
    new generation because it saw that of one of its own peers. Every call raises it again until
    `renew`.
    """

    def __init__(self, peer: str) -> None:
        super().__init__(f"{peer!r} restarted")
        self.peer = peer


class Ended(Exception):
    """`peer` left the run.

    After "done" it is raised only where something of `peer` is waited for that it never sent;
    after the other reasons by every call, at once.
    """

    def __init__(self, peer: str, reason: Reason) -> None:
        super().__init__(f"{peer!r} left the run: {reason}")
        self.peer, self.reason = peer, reason


@dataclass(slots=True)
class Traffic:
    """Bytes to and from one peer.

    Args:
        payload_in: of tensors and control messages that were received, without anything around them.
        payload_out: the same of those sent.
        wire_in: of frames, headers and what the transport itself says included, before encryption.
        wire_out: the same of those sent, again after a cut included.
    """

    payload_in: int = 0
    payload_out: int = 0
    wire_in: int = 0
    wire_out: int = 0


class Network(Protocol):
    """One place's authenticated connections to all its peers. It is a `Channel`.

    Used by one thread. What waits, waits at most `timeout` seconds.
    """

    @property
    def place(self) -> str: ...

    @property
    def peers(self) -> tuple[str, ...]: ...

    @property
    def waited(self) -> dict[str, float]:
        """Seconds that this place spent waiting for each peer."""
        ...

    @property
    def waited_for(self) -> dict[str, dict[str, float]]:
        """Of these, those for each message of the manifest, by peer and message."""
        ...

    @property
    def traffic(self) -> dict[str, Traffic]:
        """What crossed, by peer."""
        ...

    def report_to(self, listen: Listener) -> None:
        """From now on tells `listen` of waits that last (`events.Waiting`)."""
        ...

    def open(self, within: float | None = None) -> None:
        """Listens and dials until every peer is connected; VFL0640 after `timeout`, or `within` seconds."""
        ...

    def send(self, receiver: str, envelope: Envelope) -> None:
        """Hands a declared message over; its tensors may change as soon as this returns.

        Waits only while more than a bounded number of bytes is on its way to `receiver`.
        """
        ...

    def take(self, sender: str, message: str) -> Envelope:
        """The next message `message` of `sender`; VFL0641 after the network's timeout.

        The tensors are read only views. The receiver's `Gate` checks them against the batch.
        """
        ...

    def tell(self, receiver: str, kind: str, payload: bytes) -> None:
        """Sends a control message of a declared kind, in order among those of its kind."""
        ...

    def hear(self, sender: str, kind: str, limit: int, timeout: float | None = None) -> bytes:
        """The next control message `kind` of `sender`; one of over `limit` bytes is VFL0645.

        `timeout`, in seconds, takes the place of the network's own, where more work lies in between; a peer
        that is not even heard of is VFL0641 within the network's own all the same.
        """
        ...

    def told(self, kind: str) -> tuple[str, ...]:
        """The peers that have told `kind` and were not yet heard; does not wait."""
        ...

    def renew(self) -> None:
        """After `Restarted`: forgets all that is on its way, in both directions, to every peer.

        What peers send after their own `renew` is kept, also where it comes before this one's.
        """
        ...

    def close(self, reason: Reason = "done") -> None:
        """Leaves the run and tells the peers why; after "done" it first waits until all is taken over."""
        ...
