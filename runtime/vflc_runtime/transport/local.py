"""All places in one process, taking turns: no threads, no copies, always the same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping

from vflc_runtime.errors import PEER, Failure
from vflc_runtime.transport.messages import Envelope

Routine = Generator[None, None, None]
"""A place at work: it yields where it waits for a message."""


class LocalNetwork:
    """Mailboxes of all places; `listen` is told of every message as it is sent."""

    def __init__(self, listen: Callable[[Envelope], None] | None = None) -> None:
        self._boxes: dict[tuple[str, str, str], deque[Envelope]] = {}
        self._listen = listen
        self.moved = 0

    @property
    def unheard(self) -> bool:
        """Whether nobody listens."""
        return self._listen is None

    def channel(self, place: str) -> LocalChannel:
        return LocalChannel(self, place)

    def put(self, receiver: str, envelope: Envelope) -> None:
        key = (receiver, envelope.sender, envelope.message)
        box = self._boxes.get(key)
        if box is None:
            box = self._boxes[key] = deque()
        box.append(envelope)
        self.moved += 1
        if self._listen is not None:
            self._listen(envelope)

    def take(self, receiver: str, sender: str, message: str) -> Envelope | None:
        box = self._boxes.get((receiver, sender, message))
        if not box:
            return None
        self.moved += 1
        return box.popleft()

    def run(self, routines: Mapping[str, Routine]) -> None:
        """Lets every place run until it waits, in turn, until all are done.

        Nothing may be left over: VFL0615 where a message is, which was not declared for this program.
        """
        waiting = dict(routines)
        while waiting:
            before, count = self.moved, len(waiting)
            for place in list(waiting):
                try:
                    next(waiting[place])
                except StopIteration:
                    del waiting[place]
            if self.moved == before and len(waiting) == count:
                names = ", ".join(repr(place) for place in waiting)
                raise Failure("VFL0615", f"{names} wait for messages that nobody sends", exit_code=PEER)
        for (receiver, sender, message), box in self._boxes.items():
            if box:
                raise Failure(
                    "VFL0615",
                    f"{receiver!r} refused what {sender!r} sent: message {message!r}, which is not due",
                    exit_code=PEER,
                )

    def clear(self) -> None:
        """Forgets what is under way, after a run that failed."""
        self._boxes.clear()


class LocalChannel:
    """One place's end; see `Channel`."""

    def __init__(self, network: LocalNetwork, place: str) -> None:
        self._network, self._place = network, place

    @property
    def near(self) -> bool:
        """Whether nobody but the receiver, in this process, sees what is sent: it may lie on a device."""
        return self._network.unheard

    def send(self, receiver: str, envelope: Envelope) -> None:
        self._network.put(receiver, envelope)

    def take(self, sender: str, message: str) -> Envelope | None:
        return self._network.take(self._place, sender, message)
