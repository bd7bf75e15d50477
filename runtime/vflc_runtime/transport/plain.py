"""Streams of frames over whatever carries bytes: all of a transport but how one is dialled and accepted.

Whoever dials says its name first. Nothing shows that it is true: this is for trials on one machine. A
transport with certificates lets these say it instead.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, Queue
from threading import Thread
from typing import Protocol, runtime_checkable

from vflc_runtime.errors import Failure
from vflc_runtime.transport.ends import PATIENCE, Begun, Dial, Dialing, serve
from vflc_runtime.transport.frames import MAX_HEADER, BadFrame, FrameBytes
from vflc_runtime.transport.link import Link
from vflc_runtime.transport.refusing import denied, refused
from vflc_runtime.transport.transport import Fail

_LONGEST_NAME = 256
DENIED = b""
"""What is said to who is not expected to dial: no frame is empty."""


class Stream(Protocol):
    """Blocks of bytes, both ways, in order. What is broken raises `OSError`."""

    def send(self, block: bytes) -> None:
        """Hands a block over; waits where the other end is slow."""
        ...

    def receive(self, most: int) -> FrameBytes | None:
        """The next block; None where the other end is gone. One of over `most` bytes is `TooLong`."""
        ...

    def close(self) -> None:
        """Ends both directions, also for those who wait; may be called from any thread, and again."""
        ...


@runtime_checkable
class QuickStream(Stream, Protocol):
    """A stream that can send without waiting."""

    def send_now(self, block: bytes) -> bool:
        """Sends what goes without waiting; False where a part is left. A broken stream is closed."""
        ...

    def finish(self) -> None:
        """Sends the part that was left; waits where the other end is slow."""
        ...


class Acceptor(Protocol):
    """Listens."""

    def accept(self) -> Stream:
        """Waits for the next stream; `OSError` once it is closed."""
        ...

    def close(self) -> None:
        """Listens no more."""
        ...


class TooLong(Exception):
    """A block has more bytes than it may have."""


OpenStream = Callable[[str], Stream]
Listen = Callable[[str], Acceptor]


class PlainEnds:
    """See `Ends`.

    Args:
        place: whose they are.
        dial: from an address to a stream; `OSError` where nobody listens there.
        listen: from an address to what listens there; `OSError` where that cannot be.
    """

    expires = math.inf

    def __init__(self, place: str, dial: OpenStream, listen: Listen) -> None:
        self._place, self._dial, self._listen = place, dial, listen

    def check(self, address: str) -> None:
        """Any address will do."""

    def server(self, address: str, links: Mapping[str, Link], largest: int, fail: Fail) -> PlainServer:
        """Listens; VFL0646 where it cannot."""
        try:
            return PlainServer(self._place, self._listen(address), links, largest, fail)
        except OSError as error:
            raise not_listening(address, error) from None

    def dialer(self, dial: Dial) -> PlainDialer:
        """Dials, and dials again."""
        return PlainDialer(self._place, dial, lambda: self._dial(dial.address))


def not_listening(address: str, error: OSError) -> Failure:
    """VFL0646: the address is in use, or none of this machine."""
    return Failure(
        "VFL0646",
        f"cannot listen at {address!r}: {error.strerror or error}",
        "choose another address for `listen`, or stop the process that uses this one",
    )


class PlainDialer(Dialing):
    """See `Dialing`."""

    def __init__(self, place: str, dial: Dial, connect: Callable[[], Stream]) -> None:
        super().__init__(place, dial)
        self._connect, self._most = connect, dial.largest + MAX_HEADER
        self._open: Stream | None = None

    def cut(self) -> None:
        """Ends the stream; the next is dialled."""
        if (stream := self._open) is not None:
            stream.close()

    def _waiting(self) -> bool:
        return self._open is not None

    def _stream(self) -> tuple[bool, Failure | None]:
        link, met, why = self.link, False, "closed by the peer"
        try:
            self._begun, self._open = time.monotonic(), self._connect()
        except OSError as error:
            if not link.has_met():
                link.state = f"not connected: {error.strerror or error}"
            return False, self._meaning(error)
        stream = self._open
        number, hello = link.attach()
        writer = Thread(target=self._write, args=(stream, hello, number), daemon=True)
        writer.start()
        try:
            for frame in _frames(stream, self._most):
                if frame == DENIED:
                    return met, denied(link.peer, f"{link.peer} expects other parties to dial")
                self._arrived(number, frame)
                met = met or link.connected
            gone = self._turned_away()
        except TooLong as error:
            gone = refused(self._place, link.peer, BadFrame(str(error)))
        except OSError as error:
            gone, why = self._meaning(error), str(error.strerror or error)
        finally:
            link.detach(number, why)
            stream.close()
            self._open = None
        writer.join(1)
        return met, gone

    def _meaning(self, error: OSError) -> Failure | None:
        """Why trying again is of no use, where it is not."""
        return None

    def _introduce(self, stream: Stream) -> None:
        """Says who dials."""
        stream.send(self._place.encode())

    def _write(self, stream: Stream, hello: bytes, number: int) -> None:
        """Says who dials, and what the link has to say, as long as there is the stream."""
        try:
            self._introduce(stream)
            stream.send(hello)
            write(stream, self.link, number)
        except OSError:
            stream.close()
        except Exception as defect:
            self._fail(defect)
            self.stop()


def write(stream: Stream, link: Link, number: int) -> None:
    """Sends what the link has to say on a stream, to its end."""
    if not isinstance(stream, QuickStream):
        for frame in link.outgoing(number):
            stream.send(frame)
        return
    for frame in link.outgoing(number, stream.send_now):
        if frame:
            stream.send(frame)
        else:
            stream.finish()


def _frames(stream: Stream, most: int) -> Iterator[FrameBytes]:
    while (frame := stream.receive(most)) is not None:
        yield frame


class PlainServer:
    """See `Server`."""

    port = 0

    def __init__(
        self, place: str, acceptor: Acceptor, links: Mapping[str, Link], largest: int, fail: Fail
    ) -> None:
        self._place, self._acceptor, self._links, self._fail = place, acceptor, links, fail
        self._most, self._streams = largest + MAX_HEADER, set[Stream]()
        self._allowed = 2 * len(links) + 4  # as many as may be left of links that broke
        self.refused: list[str] = []
        self._thread = Thread(target=self._accept, name=f"accept {place}", daemon=True)

    def start(self) -> None:
        """Begins to take streams."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no more, and ends those that there are."""
        self._acceptor.close()
        for stream in list(self._streams):
            stream.close()

    def _accept(self) -> None:
        while True:
            try:
                stream = self._acceptor.accept()
            except OSError:
                return
            except Exception as defect:
                self._fail(defect)
                return
            if not self._admitted(stream):
                stream.close()
                continue
            self._streams.add(stream)
            Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _admitted(self, stream: Stream) -> bool:
        """Whether one more is held."""
        return len(self._streams) <= self._allowed

    def _gone(self, stream: Stream) -> None:
        """A stream has ended."""
        self._streams.discard(stream)

    def _serve(self, stream: Stream) -> None:
        """A stream from who it is to its end; the frames that go out are written by this thread."""
        try:
            link = self._who(stream)
            if link is None:
                self._deny(stream)
                return
            begun: Begun = Queue()
            Thread(target=self._read, args=(link, stream, begun), daemon=True).start()
            answer = begun.get(timeout=PATIENCE)
            if answer is not None:
                number, word = answer
                stream.send(word)
                if number is not None:
                    write(stream, link, number)
        except (OSError, TooLong, Empty):
            return
        except Exception as defect:
            self._fail(defect)
        finally:
            stream.close()
            self._gone(stream)

    def _who(self, stream: Stream) -> Link | None:
        """The link of who dialled; None for anybody else."""
        name = bytes(stream.receive(_LONGEST_NAME) or b"").decode("utf-8", "replace")
        if name not in self._links:
            self._turned_away(repr(name[:60]))
        return self._links.get(name)

    def _deny(self, stream: Stream) -> None:
        """Says that it is not expected."""
        stream.send(DENIED)

    def _turned_away(self, who: str) -> None:
        """Keeps it for who waits in vain."""
        self.refused = [*self.refused[-2:], f"{who} at {time.strftime('%H:%M:%S')}"]

    def _read(self, link: Link, stream: Stream, begun: Begun) -> None:
        def frames() -> Iterator[FrameBytes]:
            try:
                yield from _frames(stream, self._most)
            except OSError:
                return
            except TooLong as error:
                raise BadFrame(str(error)) from None

        serve(self._place, link, frames(), begun, self._fail, stream.close)
