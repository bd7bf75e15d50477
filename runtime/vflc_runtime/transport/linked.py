"""`Network` over streams, whatever carries them: one for every peer, kept up by threads of its own.

What may pass is decided here, by `MessageRules` and `Link`, before a transport is given anything and after it
has brought something: a transport carries bytes, and cannot let through what the manifest does not declare.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread

from vflc_common.plugins import BrokenPlugin

from vflc_runtime import events
from vflc_runtime.bundle.plugins import unusable
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.memory import keep_freed
from vflc_runtime.transport.ends import PATIENCE, Dial, Dialing
from vflc_runtime.transport.frames import Frame, FrameKind, encode
from vflc_runtime.transport.link import Link
from vflc_runtime.transport.mailbox import Mailbox, overdue
from vflc_runtime.transport.messages import Envelope
from vflc_runtime.transport.network import REASONS, Reason, Restarted, Traffic
from vflc_runtime.transport.refusing import taken
from vflc_runtime.transport.rules import MessageRules
from vflc_runtime.transport.schemes import TRANSPORTS
from vflc_runtime.transport.tls import expired, expires_soon
from vflc_runtime.transport.transport import Ends, Server

Choose = Callable[[str], tuple[str, Ends, str]]
"""From an address to its scheme, what dials or listens there, and the address as that knows it."""
_DELAY = 2.0
"""Seconds after which the first of two that both listen dials as well."""
_LINGER = 3.0
"""Seconds that a place that failed takes at most to tell its peers."""


@contextmanager
def trusting(scheme: str) -> Iterator[None]:
    """What another package's transport raises within is VFL0695."""
    try:
        with TRANSPORTS.using(scheme, Failure):
            yield
    except BrokenPlugin as broken:
        raise unusable(broken) from broken


class LinkedNetwork:
    """See `Network`.

    Of two places of which only one listens, the other dials. Of two that both do, the one whose
    name comes second in the alphabet dials; the first does so only where it waits in vain, as
    where its address is not known to the second.

    Args:
        place: this party's name.
        peers: by name, the address at which each listens, or None where it only dials.
        listen: where this party listens, or None where it only dials.
        rules: what may pass.
        ends: what dials or listens at an address, and that address as it knows it.
        timeout: seconds that a wait lasts at most.
    """

    def __init__(
        self,
        place: str,
        peers: Mapping[str, str | None],
        listen: str | None,
        rules: MessageRules,
        ends: Choose,
        timeout: float,
    ) -> None:
        self.place, self.peers = place, tuple(peers)
        self._addresses, self._listen, self._rules = peers, listen, rules
        self._mailbox = Mailbox(self.peers, timeout, self._state, lambda peer: self._links[peer].heard)
        incarnation = secrets.token_bytes(16)
        self._links = {peer: Link(peer, incarnation, rules, self._mailbox) for peer in self.peers}
        self.waited, self.waited_for = self._mailbox.waited, self._mailbox.waited_for
        self.traffic: dict[str, Traffic] = {peer: link.traffic for peer, link in self._links.items()}
        self._ends = ends
        chosen = [ends(each) for each in (listen, *peers.values()) if each is not None]
        for _, each, address in chosen:
            each.check(address)
        self._expires = min((each.expires for _, each, _ in chosen), default=math.inf)
        self._listener: Server | None = None
        self._dialers: list[Dialing] = []
        self._closed = Event()

    def bind(self) -> int | None:
        """Takes the port to listen at, and says which; nobody is answered before `open`."""
        if self._listener is None and self._listen is not None:
            scheme, ends, address = self._ends(self._listen)
            with trusting(scheme):
                largest = self._rules.largest(self.peers)
                self._listener = ends.server(address, self._links, largest, self._failing(scheme))
        return self._listener.port if self._listener is not None else None

    def report_to(self, listen: events.Listener) -> None:
        self._mailbox.listen = listen

    def open(self, within: float | None = None) -> None:
        """See `Network`; waits for peers at most `within` seconds, the network's timeout where None."""
        keep_freed()
        self.bind()
        if self._listener is not None:
            self._listener.start()
        timeout = self._mailbox.timeout if within is None else within
        for peer in self.peers:
            self._dial(peer)
        for dialer in self._dialers:
            dialer.thread.start()
        Thread(target=self._beat, name=f"beat {self.place}", daemon=True).start()
        begin = time.monotonic()
        for peer, link in self._links.items():
            left = begin + timeout - time.monotonic()
            if not self._mailbox.until(link.has_met, peer, left, (Restarted,), "a connection"):
                raise self._unreached(peer, timeout)
        self._mailbox.adopt()
        self._warn_of_dates()

    def send(self, receiver: str, envelope: Envelope) -> None:
        generation = self._mailbox.generation
        payload = sum(tensor.nbytes for tensor in envelope.tensors.values())
        link, session = self._ready(receiver)
        link.push(partial(self._rules.message, receiver, envelope, generation=generation), payload, session)

    def take(self, sender: str, message: str) -> Envelope:
        envelope: Envelope = self._mailbox.wait((sender, "message", message))
        return envelope

    def tell(self, receiver: str, kind: str, payload: bytes) -> None:
        generation = self._mailbox.generation
        link, session = self._ready(receiver)
        make = partial(self._rules.control, receiver, kind, payload, generation=generation)
        link.push(make, len(payload), session)

    def hear(self, sender: str, kind: str, limit: int, timeout: float | None = None) -> bytes:
        """See `Network`."""
        return self._mailbox.control(sender, kind, limit, timeout)

    def told(self, kind: str) -> tuple[str, ...]:
        return self._mailbox.senders("control", kind)

    def renew(self) -> None:
        generation = self._mailbox.renew()
        for link in self._links.values():
            link.push(partial(generation_frame, generation=generation))

    def close(self, reason: Reason = "done") -> None:
        if self._closed.is_set():
            return
        for link in self._links.values():
            if link.has_met():
                link.push(bye(reason, self._mailbox.generation))
        try:
            self._settle(reason)
        except Restarted:
            raise
        except BaseException:
            self._stop()
            raise
        self._stop()

    # --- how -----------------------------------------------------------------------------------

    def _dial(self, peer: str) -> None:
        """Makes the dialer to `peer`, where its address is known."""
        address = self._addresses[peer]
        if address is None:
            if self._listen is None:
                help = "give one of the two an address in deploy.toml"
                raise Failure("VFL0640", f"neither {self.place!r} nor {peer!r} listens", help)
            return
        delay = 0.0 if self._listen is None or self.place > peer else _DELAY
        names, patience = (self.place, *self.peers), min(PATIENCE, self._mailbox.timeout)
        scheme, ends, to = self._ends(address)
        largest = self._rules.largest([peer])
        dial = Dial(self._links[peer], to, names, largest, patience, self._failing(scheme), delay)
        with trusting(scheme):
            self._dialers.append(ends.dialer(dial))

    def _failing(self, scheme: str) -> Callable[[Exception], None]:
        """Is told what cannot be mended, of which what another package raises is VFL0695."""

        def fail(error: Exception) -> None:
            try:
                with trusting(scheme):
                    raise error
            except Exception as found:
                self._mailbox.fail(found)

        return fail

    def _ready(self, receiver: str) -> tuple[Link, int]:
        """The link that may take another frame, and its session from before anything was checked."""
        link, timeout = self._links[receiver], self._mailbox.timeout
        session = link.session
        self._mailbox.check()
        if not link.open_for_more():
            since = time.strftime("%H:%M:%S")
            if not self._mailbox.until(link.open_for_more, receiver, timeout):
                raise overdue(receiver, "that it took what was sent", timeout, since, link.state)
        return link, session

    def _settle(self, reason: Reason) -> None:
        """Waits until every peer has all that was sent to it."""
        done = reason == "done"
        begin, timeout = time.monotonic(), self._mailbox.timeout if done else _LINGER
        since = time.strftime("%H:%M:%S")
        for peer, link in self._links.items():
            left = max(begin + timeout - time.monotonic(), 0)
            ignored: tuple[type[Exception], ...] = () if done else (Exception,)
            if link.has_met() and not self._mailbox.until(link.settled, peer, left, ignored) and done:
                raise overdue(peer, "that it received the last messages", timeout, since, link.state)

    def _stop(self) -> None:
        self._closed.set()
        for dialer in self._dialers:
            dialer.stop()
        for link in self._links.values():
            link.cut("closed")
        if self._listener is not None:
            self._listener.stop()
        for dialer in self._dialers:
            if dialer.thread.is_alive():  # not where `open` failed before it was started
                dialer.thread.join(1)

    def _beat(self) -> None:
        """Receipts while little is sent, and an end for streams on which nothing is heard."""
        pause = min(1.0, self._mailbox.timeout / 10)
        silence = min(PATIENCE, self._mailbox.timeout / 2)
        dialers = {dialer.link.peer: dialer for dialer in self._dialers}
        while not self._closed.wait(pause):
            for peer, link in self._links.items():
                link.beat()
                self._check_dates(peer, link)
                silent = link.connected and time.monotonic() - link.heard > silence
                if silent:
                    link.cut(f"nothing heard for {silence:g} s")
                if peer in dialers and (silent or dialers[peer].late()):
                    dialers[peer].cut()

    def _warn_of_dates(self) -> None:
        dates = {peer: link.expires for peer, link in self._links.items()}
        dates = {self.place: self._expires, **dates}
        for whose, at in dates.items():
            if math.isfinite(at) and (warning := expires_soon(whose, at)):
                self._mailbox.listen(warning)

    def _check_dates(self, peer: str, link: Link) -> None:
        """Ends a link that would outlive a certificate of its ends; both find it, and each says it."""
        own = self._expires
        if time.time() > min(own, link.expires):
            whose = f"the certificate of {self.place if own <= link.expires else peer!r}"
            self._mailbox.fail(expired(peer, whose))
            link.refuse("expired")

    def _state(self, peer: str) -> str:
        return self._links[peer].state

    def _unreached(self, peer: str, timeout: float) -> Failure:
        state = self._links[peer].state
        if self._links[peer].taken is not None:
            return taken(self.place, peer)
        if self._addresses[peer] is not None:
            what = f"{peer!r} at {self._addresses[peer]}: {state}"
        else:
            refused = self._listener.refused if self._listener is not None else []
            others = f"; refused: {', '.join(refused)}" if refused else ""
            what = f"{peer!r}, which has to dial {self._listen}: {state}{others}"
        return Failure(
            "VFL0640",
            f"no connection within {timeout:g} s to {what}",
            f"start {peer!r}, check addresses and certificates, or raise the timeout",
            exit_code=PEER,
        )


def generation_frame(number: int, generation: int) -> bytes:
    """The frame that says that this place began a generation."""
    return encode(Frame(FrameKind.GENERATION, number=number, generation=generation))


def bye(reason: Reason, generation: int) -> Callable[[int], bytes]:
    """Makes the last frame."""
    return lambda number: encode(
        Frame(FrameKind.BYE, number=number, generation=generation, reason=REASONS.index(reason))
    )
