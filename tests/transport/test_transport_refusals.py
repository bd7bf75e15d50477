"""Who refuses what came, or a whole process, says so: the other does not wait for its timeout to learn it."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import wiring
from vflc_runtime.errors import Failure
from vflc_runtime.party.joined import left
from vflc_runtime.transport import ends, linked
from vflc_runtime.transport.frames import Frame, FrameKind, decode, encode
from vflc_runtime.transport.grpc import streams
from vflc_runtime.transport.network import REASONS, Ended, Restarted
from wiring import LONG


class Raw:
    """alice by hand, who listens: says what it is given, `None` for the end, and keeps what comes."""

    def __init__(self, *answers: Frame | bytes | None) -> None:
        grpc = streams.grpc_module()
        self.heard: list[Frame] = []
        self.out: queue.SimpleQueue[Frame | bytes | None] = queue.SimpleQueue()
        for each in answers:
            self.out.put(each)
        self._pool = ThreadPoolExecutor(4)
        self._server = grpc.server(self._pool)
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        service, _, method = streams.METHOD[1:].partition("/")
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _serve(self, frames: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self._pool.submit(self._hear, frames)
        for each in iter(self.out.get, None):
            yield encode(each) if isinstance(each, Frame) else each

    def _hear(self, frames: Iterator[bytes]) -> None:
        for data in frames:
            self.heard.append(decode(data))
        self.out.put(None)

    def refusal(self) -> str | None:
        found = [frame.reason for frame in self.heard if frame.kind == FrameKind.REFUSAL]
        return REASONS[found[0]] if found else None

    def close(self) -> None:
        self.out.put(None)
        self._server.stop(0).wait(5)


def hello(**change: Any) -> Frame:
    return Frame(
        FrameKind.HELLO, **{"version": 1, "generation": 1, "incarnation": bytes(range(16)), **change}
    )


@pytest.mark.parametrize(
    "answers",
    {
        "no frame": (b"\xff" * 40,),
        "a frame before the hello": (Frame(FrameKind.RECEIPT),),
        "a resumption that cannot be": (hello(received=7, known=b"bob" * 5 + b"!"),),
        "another version": (hello(version=9),),
        "a message nobody declared": (
            hello(),
            Frame(FrameKind.MESSAGE, number=1, generation=1, index=99, step=1),
        ),
    }.items(),
    ids=lambda each: each[0],
)
def test_who_dials_says_that_it_refuses(answers: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked.secrets, "token_bytes", lambda count: b"bob" * 5 + b"!")
    alice = Raw(*answers[1])
    bob = wiring.dialling(alice.address)
    with wiring.closing(bob):
        (outcome,) = wiring.together(lambda: (bob.open(), bob.hear("alice", "word", 100)))
        assert isinstance(outcome, Failure) and outcome.code == "VFL0645", outcome
        wiring.until(lambda: alice.refusal() is not None)
        assert alice.refusal() == "refused"
    alice.close()


@pytest.fixture
def pair() -> Iterator[tuple]:
    alice = wiring.listening()
    bob = wiring.dialling(f"127.0.0.1:{alice.bind()}")
    assert wiring.together(alice.open, bob.open) == [None, None]
    with wiring.closing(alice, bob):
        yield {"alice": alice, "bob": bob}


@pytest.mark.parametrize("sender", ["alice", "bob"])
def test_the_end_reaches_both_sides_with_the_sender_named(pair: tuple, sender: str) -> None:
    (receiver,) = {"alice", "bob"} - {sender}
    envelope = wiring.envelope(sender, receiver, 1)
    envelope.tensors[f"{sender}>{receiver}.wide"][3, 1] = np.nan
    pair[sender].send(receiver, envelope)

    def take() -> None:
        try:
            pair[receiver].take(sender, f"{sender}>{receiver}")
        finally:
            pair[receiver].close("failed")

    found = wiring.together(take, lambda: pair[sender].hear(receiver, "word", 100), within=LONG / 2)
    assert isinstance(found[0], Failure) and found[0].code == "VFL0611"
    assert f"'{receiver}' refused what '{sender}' sent" in found[0].message
    assert isinstance(found[1], Ended) and (found[1].peer, found[1].reason) == (receiver, "refused")
    told = left(found[1], resumes=True)
    assert told.message == f"'{receiver}' has left the run: it refuses what this party sent to it"


# --- two processes of one party ------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is silent is given up soon, so a second one knows soon that the first is not."""
    monkeypatch.setattr(linked, "PATIENCE", 3.0)
    monkeypatch.setattr(ends, "_SURELY", 1.0)


def named(outcome: object) -> None:
    assert isinstance(outcome, Failure) and (outcome.code, outcome.exit_code) == ("VFL0657", 3), outcome
    assert "another process runs as 'bob'" in outcome.message


@pytest.mark.parametrize("timeout", [LONG, 1.5])
def test_the_second_of_two_processes_is_turned_away(pair: tuple, impatient: None, timeout: float) -> None:
    alice, bob = pair.values()
    second = wiring.dialling(bob._addresses["alice"], timeout=timeout)
    with wiring.closing(second):
        named(wiring.together(second.open, within=LONG / 2)[0])
    for network_, peer in ((alice, "bob"), (bob, "alice")):
        network_.tell(peer, "word", b"as before")
    assert alice.hear("bob", "word", 100) == bob.hear("alice", "word", 100) == b"as before"


def test_a_process_that_was_replaced_does_not_come_back(impatient: None) -> None:
    alice = wiring.listening()
    address = f"127.0.0.1:{alice.bind()}"
    proxy = wiring.Proxy(alice.bind())
    first, second = wiring.dialling(proxy.address), wiring.dialling(address)
    with wiring.closing(alice, first, second):
        assert wiring.together(alice.open, first.open) == [None, None]
        proxy.cut()
        wiring.until(lambda: not alice._links["bob"].connected)
        second.open()
        with pytest.raises(Restarted):
            alice.hear("bob", "word", 100)
        alice.renew()
        proxy.mend()
        named(wiring.together(lambda: first.hear("alice", "word", 100), within=LONG / 2)[0])
        with pytest.raises(Restarted):
            second.hear("alice", "word", 100)
        second.renew()
        second.tell("alice", "word", b"here to stay")
        assert alice.hear("bob", "word", 100) == b"here to stay"
    proxy.close()


def test_a_silent_process_gives_way(impatient: None) -> None:
    """As after a power failure: its connection stays, and nothing comes."""
    alice = wiring.listening(timeout=30)
    proxy = wiring.Proxy(alice.bind())
    first = wiring.dialling(proxy.address)
    second = wiring.dialling(f"127.0.0.1:{alice.bind()}")
    with wiring.closing(alice, first, second):
        assert wiring.together(alice.open, first.open) == [None, None]
        proxy.stall()
        second.open()
        with pytest.raises(Restarted):
            alice.hear("bob", "word", 100)
    proxy.close()


def test_a_refusal_is_said_once_a_stream_and_to_whoever_dials_again(pair: tuple) -> None:
    alice, bob = pair.values()
    begin = time.monotonic()
    alice._links["bob"].refuse("expired")
    with pytest.raises(Ended) as caught:
        bob.hear("alice", "word", 100)
    assert caught.value.reason == "expired" and time.monotonic() - begin < LONG / 2
    wiring.until(alice._links["bob"].settled)
    sent: Callable[[], int] = lambda: alice._links["bob"].traffic.wire_out  # noqa: E731
    stream, _ = alice._links["bob"].attach()
    before = sent()
    assert [decode(frame).kind for frame in alice._links["bob"].outgoing(stream)] == [FrameKind.REFUSAL]
    assert sent() > before
