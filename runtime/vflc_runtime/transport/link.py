"""The link to one peer, which outlives the streams that carry it.

Numbered frames stay here until the peer has said that it received them. When a stream breaks,
the next one begins with a hello from both sides, which says how far each came; what is missing
is sent again, in order. A peer with another incarnation is a new process: nothing of the old
one's frames means anything to it, and while the old one is there, the new one is turned away.

A place that refuses what came says so at once, as the last word of the stream, and is deaf from then on.

Knows bytes, not sockets: a transport calls `attach` for every new stream, passes what arrives
to `arrived`, writes what `outgoing` yields, and calls `detach` when the stream is gone.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from threading import Lock

from vflc_runtime.transport.frames import VERSION, BadFrame, Frame, FrameBytes, FrameKind, decode, encode
from vflc_runtime.transport.mailbox import Mailbox
from vflc_runtime.transport.network import BYES, REASONS, Reason, Traffic
from vflc_runtime.transport.refusing import refusal
from vflc_runtime.transport.rules import MessageRules

SendNow = Callable[[bytes], bool]
"""Sends a frame as far as that goes without waiting, and says whether all of it has gone."""
_SOON = 1 << 20
"""Bytes of a frame that its maker sends: of a larger one sealing alone takes longer than to wake a thread."""


class Link:
    """One place's end of the link to `peer`.

    Args:
        peer: its name, which the transport has made sure of.
        incarnation: of this process.
        rules: what may pass.
        mailbox: where what arrives goes.

    `session` counts the processes that were met at the other end. `expires` is when the first of the
    certificates of both ends does, in seconds since 1970. `taken` is since when, by the monotonic clock,
    the peer turns this process away because another one has its name.
    """

    def __init__(self, peer: str, incarnation: bytes, rules: MessageRules, mailbox: Mailbox) -> None:
        self.peer, self._own, self._rules, self._mailbox = peer, incarnation, rules, mailbox
        self.traffic = Traffic()
        self.heard = time.monotonic()
        self.state = "not connected yet"
        self.expires = math.inf
        self.taken: float | None = None
        self._met = False
        self._window_out = rules.window(peer, incoming=False)
        self._window_in = rules.window(peer, incoming=True)
        self._theirs = b""
        self._gone: deque[bytes] = deque(maxlen=64)
        self._last_word = b""
        self._said_on: int | None = None
        self._parted = False
        self._stream = 0
        self._attached = False
        self._ended = False
        self.session = 0
        self._arriving = Lock()
        self._lock = Lock()
        self._wake_up: SimpleQueue[None] = SimpleQueue()
        self._idle = False
        self._send_now: SendNow | None = None
        self._unfinished = False
        self._begin()

    def _begin(self) -> None:
        """The state between two incarnations: nothing sent, nothing received."""
        self._kept: deque[tuple[int, bytes]] = deque()
        self._number = self._next = 0
        self._pushed = self._done = 0
        self._received = self._arrived = self._taken = self._told = 0
        self._owes = False
        self.session += 1

    # --- by the place ------------------------------------------------------------------------

    def push(self, make: Callable[[int], bytes], payload: int = 0, session: int | None = None) -> None:
        """Queues the frame that `make` makes of its number; not where `session` is over.

        What was meant for a process that is gone must not reach the one in its place. While the stream's
        thread has nothing to write, the calling one writes what goes without waiting.
        """
        stream, first, gone = 0, None, False
        try:
            with self._lock:
                if session not in (None, self.session):
                    return
                frame = make(self._number + 1)
                self._number += 1
                self._kept.append((self._number, frame))
                self._pushed += len(frame)
                self.traffic.payload_out += payload
                stream, send = self._stream, self._send_now
                if send is not None and self._idle and len(frame) <= _SOON:
                    first = self._to_write(stream)
                if first is None:
                    self._ring()
                else:
                    self._idle = False
            if send is not None and first is not None:
                gone = send(first)
        finally:  # also where a signal ends it
            if first is not None:
                self._written(stream, gone)

    def _written(self, stream: int, gone: bool) -> None:
        """Lets the stream's thread go on, who has nothing to do if all has `gone`."""
        with self._lock:
            if stream == self._stream:
                self._unfinished = not gone
                self._idle = gone and not self._more_to_write()
                if self._idle:
                    return
            self._wake_up.put(None)  # where the stream has ended meanwhile, its thread is to hear of it

    def open_for_more(self) -> bool:
        """Whether the peer has taken so much that more may be sent."""
        return self._pushed - self._done < self._window_out

    def settled(self) -> bool:
        """Whether the peer has received all, or has left and is gone; or has heard that it is refused."""
        with self._lock:
            if self._last_word:
                return self._parted
            return not self._kept or (self._ended and not self._attached)

    def has_met(self) -> bool:
        """Whether there was a stream at some time."""
        return self._met

    @property
    def connected(self) -> bool:
        return self._attached

    @property
    def ended(self) -> bool:
        """Whether the peer left the run, or was told that it is refused."""
        return self._ended or self._parted

    def refuse(self, reason: Reason) -> None:
        """Tells the peer why it is not spoken with any more, now and whenever it dials."""
        with self._lock:
            self._last_word = self._last_word or refusal(reason)
            self._ring()

    # --- by the transport --------------------------------------------------------------------

    def known(self, hello: Frame) -> bool:
        """Whether this hello may begin a stream: not while another process is at the other end of one."""
        with self._lock:
            here = hello.incarnation == self._theirs
            return here or not (self._attached or hello.incarnation in self._gone)

    def attach(self) -> tuple[int, bytes]:
        """Begins a stream and ends the one before: its number, and the hello to send first."""
        with self._arriving, self._lock:
            self._stream += 1
            self._attached = self._idle = self._unfinished = False
            self._send_now = None
            before, self._wake_up = self._wake_up, SimpleQueue()
            before.put(None)
            hello = Frame(
                FrameKind.HELLO, version=VERSION, generation=self._mailbox.generation, incarnation=self._own,
                known=self._theirs, received=self._received, taken=self._taken,
            )  # fmt: skip
            return self._stream, self._counted(encode(hello))

    def cut(self, why: str) -> None:
        """Ends the stream that there is."""
        self.detach(self._stream, why)

    def detach(self, stream: int, why: str) -> None:
        """The stream is gone."""
        with self._lock:
            self._parted = self._parted or stream == self._said_on
            if stream == self._stream:
                self._attached = False
                self._stream += 1
                self.state = f"down since {time.strftime('%H:%M:%S')} ({why})"
            self._ring()
        self._mailbox.notify()

    def outgoing(self, stream: int, send_now: SendNow | None = None) -> Iterator[bytes]:
        """What to write to the stream, after both hellos; ends with the stream.

        `send_now` is called by who makes a frame, while this thread has nothing to write. Where it left a
        part, which is to be sent next, something empty comes.
        """
        with self._lock:
            if stream == self._stream:
                self._send_now = send_now
        while True:
            with self._lock:
                over = stream != self._stream or stream == self._said_on
                frame, wake_up = None if over else self._to_write(stream), self._wake_up
                if not over:  # then it is the next stream's writer that may be idle
                    self._idle = frame is None
            if frame is not None:
                yield frame
            elif over:
                return
            else:
                wake_up.get()

    def arrived(self, stream: int, data: FrameBytes) -> None:
        """Takes in what came on the stream; `BadFrame` where it may not come. Late streams are void."""
        with self._arriving:
            if stream != self._stream:
                return
            if self._last_word:
                return
            self.heard = time.monotonic()
            self.traffic.wire_in += len(data)
            frame = decode(data)
            if not self._attached and frame.kind not in (FrameKind.HELLO, FrameKind.REFUSAL):
                raise BadFrame("a frame before the hello")
            if frame.kind == FrameKind.REFUSAL:
                self._turned_away(frame.reason)
            elif frame.kind == FrameKind.HELLO:
                self._greet(frame)
            elif frame.kind == FrameKind.RECEIPT:
                self._receipt(frame)
            else:
                self._accept(frame, len(data))

    def beat(self) -> None:
        """Sends a receipt, also where there is no news: the peer hears that this place is there."""
        with self._lock:
            self._owes = True
            self._ring()

    def _ring(self) -> None:
        """Wakes who writes; see `Mailbox`."""
        if self._idle:
            self._idle = False
            self._wake_up.put(None)

    # --- writing -----------------------------------------------------------------------------

    def _more_to_write(self) -> bool:
        return self._owes or self._next < self._number or bool(self._last_word)

    def _to_write(self, stream: int) -> bytes | None:
        if self._unfinished:
            self._unfinished = False
            return b""
        if self._last_word:
            self._said_on = stream
            return self._counted(self._last_word)
        if not self._attached:
            return None
        if self._owes:
            self._owes = False
            self._told = self._taken
            return self._counted(encode(Frame(FrameKind.RECEIPT, received=self._received, taken=self._taken)))
        if self._next < self._number:
            self._next += 1
            first = self._kept[0][0]
            return self._counted(self._kept[self._next - first][1])
        return None

    def _counted(self, frame: bytes) -> bytes:
        self.traffic.wire_out += len(frame)
        return frame

    # --- arriving ----------------------------------------------------------------------------

    def _greet(self, hello: Frame) -> None:
        if self._attached or hello.version != VERSION or not hello.incarnation:
            raise BadFrame(f"a hello of version {hello.version} at the wrong time or without an incarnation")
        again = self._theirs not in (b"", hello.incarnation)
        if hello.incarnation in self._gone:
            raise BadFrame(f"two processes say that they are {self.peer!r}")
        with self._lock:
            if again:
                self._gone.append(self._theirs)
                self._begin()
            self._theirs = hello.incarnation
            received, taken = (
                (hello.received, hello.taken) if hello.known == self._own and not again else (0, 0)
            )
            self._acknowledged(received, taken)
            self._next = received
            self._attached = self._met = True
            self._ended = self._ended and not again
            self.state, self.taken = "connected", None
            self._ring()
        if again:
            self._mailbox.restarted(self.peer)
        self._mailbox.announce(self.peer, hello.generation)

    def _receipt(self, frame: Frame) -> None:
        with self._lock:
            self._acknowledged(frame.received, frame.taken)
        self._mailbox.notify()

    def _acknowledged(self, received: int, taken: int) -> None:
        first = self._number - len(self._kept)
        if not (first <= received <= self._number and self._done <= taken <= self._pushed):
            raise BadFrame(f"a receipt for {received} frames and {taken} bytes, which cannot be")
        while self._kept and self._kept[0][0] <= received:
            self._kept.popleft()
        self._done = taken

    def _accept(self, frame: Frame, size: int) -> None:
        sender, generation = self.peer, frame.generation
        with self._lock:
            if frame.number != self._received + 1:
                raise BadFrame(
                    f"frame {frame.number}, where {self._received + 1} is due: repeated or reordered"
                )
            if self._arrived - self._taken + size > 2 * self._window_in:
                raise BadFrame(f"more than {2 * self._window_in} bytes that nobody has asked for yet")
            self._received = frame.number
            self._arrived += size
            self._ended = frame.kind == FrameKind.BYE
            if self._ended or self._arrived - self._told > self._window_in // 4:
                self._owes = True
                self._ring()
        done = partial(self._release, self.session, size)
        if frame.kind == FrameKind.MESSAGE:
            envelope = self._rules.envelope(sender, frame)
            self.traffic.payload_in += len(frame.payload)
            self._mailbox.deliver((sender, "message", envelope.message), generation, envelope, done)
        elif frame.kind == FrameKind.CONTROL:
            kind, payload = self._rules.heard(sender, frame)
            self.traffic.payload_in += len(frame.payload)
            self._mailbox.deliver((sender, "control", kind), generation, payload, done)
        elif frame.kind == FrameKind.GENERATION:
            self._mailbox.announce(sender, generation)
            done()
        else:
            self._leave(frame.reason)
            done()

    def _turned_away(self, reason: int) -> None:
        if not BYES <= reason < len(REASONS):
            raise BadFrame(f"a refusal for reason {reason}")
        if REASONS[reason] == "taken":
            self.state = f"another process runs as {self._rules.place!r}"
            self.taken = self.taken or time.monotonic()
            return
        self._ended = True
        self._mailbox.ended(self.peer, REASONS[reason])

    def _leave(self, reason: int) -> None:
        if reason >= BYES:
            raise BadFrame(f"a bye for reason {reason}")
        self._mailbox.ended(self.peer, REASONS[reason])

    def _release(self, session: int, size: int) -> None:
        with self._lock:
            if session == self.session:
                self._taken += size
                if self._taken - self._told > self._window_in // 4:
                    self._owes = True
                    self._ring()
