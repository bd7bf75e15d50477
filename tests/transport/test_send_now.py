"""Who makes a frame sends it, where that goes without waiting; the stream's thread sends the rest."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest
import wiring
from vflc_runtime.transport.frames import Frame, FrameKind, decode, encode
from vflc_runtime.transport.link import _SOON, Link
from vflc_runtime.transport.mailbox import Mailbox
from vflc_runtime.transport.rules import MessageRules
from vflc_runtime.transport.tls import Identity
from vflc_runtime.transport.tls_stream import PIECE, TlsStream, context

from vflc.cli.certs import make

LARGE = 32 << 20
"""Bytes of which the system takes a part, where nobody reads."""


class Written:
    """A link with a stream: what its thread writes, and what others do; `answer` says whether that went."""

    def __init__(self) -> None:
        rules = MessageRules(wiring.manifest(("alice", "bob")), "alice", wiring.ROWS)
        self.link = Link("bob", bytes(16), rules, Mailbox(("bob",), wiring.LONG))
        self.by_thread: SimpleQueue[bytes] = SimpleQueue()
        self.by_others: list[bytes] = []
        self.answer: Callable[[], bool] = lambda: True
        self.begin()

    def begin(self) -> None:
        """The next stream."""
        self.stream, _ = self.link.attach()
        hello = Frame(FrameKind.HELLO, version=1, generation=1, incarnation=bytes([1]) * 16)
        self.link.arrived(self.stream, encode(hello))
        frames = self.link.outgoing(self.stream, self.send_now)
        self.writer = threading.Thread(target=lambda: [self.by_thread.put(frame) for frame in frames])
        self.writer.start()
        wiring.until(lambda: self.link._idle)

    def send_now(self, frame: bytes) -> bool:
        self.by_others.append(frame)
        return self.answer()

    def push(self, word: bytes = b"word") -> None:
        self.link.push(lambda number: encode(Frame(FrameKind.CONTROL, number=number, generation=1), [word]))

    def next(self) -> bytes:
        return self.by_thread.get(timeout=wiring.LONG)


@pytest.fixture
def written() -> Iterator[Written]:
    made = Written()
    yield made
    made.link.cut("the test is over")
    made.writer.join(wiring.LONG)
    assert not made.writer.is_alive() and made.by_thread.empty()


def numbers(frames: list[bytes]) -> list[int]:
    return [decode(frame).number for frame in frames]


def test_who_makes_a_frame_sends_it(written: Written) -> None:
    for _ in range(3):
        written.push()
    assert numbers(written.by_others) == [1, 2, 3]


def test_the_thread_finishes_what_did_not_go_and_sends_the_next(written: Written) -> None:
    written.answer = lambda: False
    written.push()
    assert written.next() == b"", "the rest of the first"
    wiring.until(lambda: written.link._idle)
    written.answer = lambda: True
    written.push()
    assert numbers(written.by_others) == [1, 2]


def test_what_falls_due_meanwhile_is_sent_by_the_thread(written: Written) -> None:
    def meanwhile() -> bool:
        written.link.beat()
        return True

    written.answer = meanwhile
    written.push()
    assert decode(written.next()).kind == FrameKind.RECEIPT


def test_large_frames_are_the_threads(written: Written) -> None:
    written.push(bytes(_SOON))
    assert decode(written.next()).number == 1 and not written.by_others


def test_a_signal_meanwhile_leaves_the_frame_to_the_thread(written: Written) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    written.answer = interrupted
    with pytest.raises(KeyboardInterrupt):
        written.push()
    assert written.next() == b""


def test_a_stream_that_began_meanwhile_sends_all_again(written: Written) -> None:
    writers = [written.writer]

    def again() -> bool:
        written.answer = lambda: True
        written.begin()
        return False

    written.answer = again
    written.push()
    assert decode(written.next()).number == 1
    wiring.until(lambda: written.link._idle)
    written.push()
    assert numbers(written.by_others) == [1, 2]
    writers[0].join(wiring.LONG)
    assert not writers[0].is_alive()


def test_the_thread_ends_with_a_stream_that_is_cut_meanwhile(written: Written) -> None:
    def cut() -> bool:
        written.link.cut("by somebody else")
        return True

    written.answer = cut
    written.push()
    written.writer.join(wiring.LONG)
    assert not written.writer.is_alive()


# --- over TLS ---------------------------------------------------------------------------------


@contextmanager
def ends(folder: Path) -> Iterator[tuple[TlsStream, TlsStream]]:
    """Both ends of a stream."""
    make(folder, ("alice", "bob"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        sockets = socket.create_connection(server.getsockname()), server.accept()[0]
    made = []
    for name, connection, serves in zip(("alice", "bob"), sockets, (False, True), strict=True):
        tls = wiring.files(folder, name)
        own = Identity(tls, tls.authority.read_bytes(), b"", b"", expires=2e9)
        made.append(TlsStream(connection, context(own, server=serves), server=serves, patience=wiring.LONG))
    assert wiring.together(*(lambda end=end: end.greet(wiring.LONG) for end in made)) == [None, None]
    try:
        yield made[0], made[1]
    finally:
        for end in made:
            end.close()


def test_blocks_of_all_sizes_arrive_as_they_were(tmp_path: Path) -> None:
    sizes = [0, 1, 100, *(PIECE * k + d for k in (1, 2, 5) for d in (-5, -4, -3, -1, 0, 1)), LARGE]
    blocks = [bytes([at + 1]) * size for at, size in enumerate(sizes)]
    with ends(tmp_path) as (alice, bob):
        got: list[bytes] = []
        reading = wiring.meanwhile(lambda: got.extend(bytes(bob.receive(LARGE) or b"") for _ in 2 * blocks))
        for block in blocks:
            alice.send(block)
            if not alice.send_now(block):
                alice.finish()
        reading.join(wiring.LONG)
    assert got == [block for block in blocks for _ in range(2)]


def test_nothing_waits_for_who_does_not_read(tmp_path: Path) -> None:
    block = bytes(range(256)) * (LARGE >> 8)
    with ends(tmp_path) as (alice, bob):
        assert alice.send_now(block) is False
        finishing = wiring.meanwhile(alice.finish)
        assert bob.receive(LARGE) == block
        finishing.join(wiring.LONG)
        assert alice.send_now(b"next") is True
        assert bob.receive(LARGE) == b"next"


def test_a_broken_stream_is_closed(tmp_path: Path) -> None:
    with ends(tmp_path) as (alice, bob):
        bob.close()
        wiring.until(lambda: alice.send_now(bytes(PIECE)) and alice._connection.fileno() == -1)
        with pytest.raises(OSError):
            alice.send(b"more")


def test_a_signal_within_a_block_closes_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ends(tmp_path) as (alice, bob):
        seal = alice._seal

        def interrupted(piece: bytes) -> None:
            seal(piece)
            if len(piece) < PIECE:
                raise KeyboardInterrupt

        monkeypatch.setattr(alice, "_seal", interrupted)
        with pytest.raises(KeyboardInterrupt):
            alice.send_now(bytes(2 * PIECE))
        assert bob.receive(LARGE) is None
