"""A network between threads of one process: what tests of parties run on."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from threading import Lock

import numpy as np
from vflc_runtime.bundle.manifest import ControlMessage
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.events import Listener
from vflc_runtime.transport.mailbox import Mailbox
from vflc_runtime.transport.messages import Envelope
from vflc_runtime.transport.network import Reason, Restarted, Traffic


class Exchange:
    """Where places meet. A place that joins again is a new process to the others.

    Args:
        places: all of them; each is a peer of every other.
        controls: the kinds of control messages that are declared.
    """

    def __init__(self, places: Iterable[str], controls: Iterable[ControlMessage] = ()) -> None:
        self.places = tuple(places)
        self.controls = {(each.sender, each.receiver, each.kind): each.bytes for each in controls}
        self.networks: dict[str, ThreadsNetwork] = {}
        self.lock = Lock()

    def join(self, place: str, timeout: float) -> ThreadsNetwork:
        """The network of `place`, not yet open."""
        return ThreadsNetwork(self, place, timeout)


class ThreadsNetwork:
    """See `Network`; payload and wire are the same here."""

    def __init__(self, exchange: Exchange, place: str, timeout: float) -> None:
        self._exchange, self.place = exchange, place
        self.peers = tuple(each for each in exchange.places if each != place)
        self._mailbox = Mailbox(self.peers, timeout)
        self.waited, self.waited_for = self._mailbox.waited, self._mailbox.waited_for
        self.traffic = {peer: Traffic() for peer in self.peers}
        self._met: set[str] = set()

    def report_to(self, listen: Listener) -> None:
        self._mailbox.listen = listen

    def open(self, within: float | None = None) -> None:
        exchange = self._exchange
        with exchange.lock:
            exchange.networks[self.place] = self
            for peer, other in exchange.networks.items():
                if peer != self.place:
                    self._mailbox.announce(peer, other._mailbox.generation)
                    self._meet(peer)
                    other._meet(self.place)
        for peer in self.peers:
            timeout = self._mailbox.timeout if within is None else within
            met = partial(self._met.__contains__, peer)
            if not self._mailbox.until(met, peer, timeout, ignored=(Restarted,)):
                raise Failure("VFL0640", f"no connection to {peer!r} within {timeout:g} s", exit_code=PEER)
        self._mailbox.adopt()

    def _meet(self, peer: str) -> None:
        if peer in self._met:
            self._mailbox.restarted(peer)
        self._met.add(peer)
        self._mailbox.notify()

    def send(self, receiver: str, envelope: Envelope) -> None:
        tensors = {edge: np.array(tensor) for edge, tensor in envelope.tensors.items()}
        for tensor in tensors.values():
            tensor.flags.writeable = False
        copy = Envelope(
            envelope.message, self.place, envelope.phase, envelope.program, envelope.step, tensors
        )
        size = sum(tensor.nbytes for tensor in tensors.values())
        self._put(receiver, "message", envelope.message, copy, size)

    def take(self, sender: str, message: str) -> Envelope:
        envelope: Envelope = self._mailbox.wait((sender, "message", message))
        return envelope

    def tell(self, receiver: str, kind: str, payload: bytes) -> None:
        limit = self._exchange.controls.get((self.place, receiver, kind))
        if limit is None or len(payload) > limit:
            raise undeclared(self.place, receiver, kind, len(payload), limit)
        self._put(receiver, "control", kind, bytes(payload), len(payload))

    def hear(self, sender: str, kind: str, limit: int, timeout: float | None = None) -> bytes:
        return self._mailbox.control(sender, kind, limit, timeout)

    def told(self, kind: str) -> tuple[str, ...]:
        return self._mailbox.senders("control", kind)

    def renew(self) -> None:
        generation = self._mailbox.renew()
        with self._exchange.lock:
            for other in self._others():
                other._mailbox.announce(self.place, generation)

    def close(self, reason: Reason = "done") -> None:
        with self._exchange.lock:
            if self._exchange.networks.get(self.place) is not self:
                return
            for other in self._others():
                other._mailbox.ended(self.place, reason)

    def _others(self) -> list[ThreadsNetwork]:
        return [each for each in self._exchange.networks.values() if each is not self]

    def _put(self, receiver: str, kind: str, name: str, item: object, size: int) -> None:
        self._mailbox.check()
        with self._exchange.lock:
            other = self._exchange.networks[receiver]
            if self._exchange.networks.get(self.place) is not self:
                return
            other._mailbox.deliver((self.place, kind, name), self._mailbox.generation, item)
            mine, theirs = self.traffic[receiver], other.traffic[self.place]
            mine.payload_out, mine.wire_out = mine.payload_out + size, mine.wire_out + size
            theirs.payload_in, theirs.wire_in = theirs.payload_in + size, theirs.wire_in + size


def undeclared(place: str, receiver: str, kind: str, size: int, limit: int | None) -> Failure:
    """VFL0615, on the side of the sender: what the manifest does not declare is not sent."""
    what = (
        f"control message {kind!r}, which is not declared"
        if limit is None
        else f"{size} bytes of {kind!r}, declared with at most {limit}"
    )
    return Failure("VFL0615", f"{place!r} was about to send {receiver!r} {what}", exit_code=PEER)
