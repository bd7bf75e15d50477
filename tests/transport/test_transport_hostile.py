"""A peer that is who it says and does what it wants: every frame it may not send ends the run, unused."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import wiring
from vflc_runtime.errors import Failure
from vflc_runtime.transport import rules
from vflc_runtime.transport.frames import Frame, FrameKind, Tensor, decode, encode
from vflc_runtime.transport.grpc.streams import METHOD, grpc_module
from vflc_runtime.transport.network import REASONS, Ended

OWN = bytes(range(16))
# Of the four places' messages of `wiring.manifest(("alice", "bob"))`, bob's to alice is the second.
MINE, THEIRS = 1, 0
REFUSED = REASONS.index("refused")


@dataclass
class Raw:
    """bob, by hand: writes what it is given and keeps what comes."""

    address: str
    place: str = "bob"
    heard: list[Frame] = field(default_factory=list)
    out: queue.SimpleQueue[bytes | None] = field(default_factory=queue.SimpleQueue)
    ended: threading.Event = field(default_factory=threading.Event)
    status: Any = None

    def __post_init__(self) -> None:
        grpc = grpc_module()
        self.channel = grpc.insecure_channel(self.address, [("grpc.max_send_message_length", -1)])
        stream = self.channel.stream_stream(METHOD)
        self.call = stream(iter(self.out.get, None), metadata=(("vflc-place", self.place),))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for data in self.call:
                self.heard.append(decode(data))
        except Exception:
            self.status = self.call.code().name, self.call.details()
        self.ended.set()

    def write(self, *frames: bytes | Frame) -> None:
        for frame in frames:
            self.out.put(encode(frame) if isinstance(frame, Frame) else frame)

    def close(self) -> None:
        self.call.cancel()
        self.channel.close()


def hello(**change: Any) -> Frame:
    return Frame(FrameKind.HELLO, **{"version": 1, "generation": 1, "incarnation": OWN, **change})


def message(number: int = 1, tensors: tuple[Tensor, ...] | None = None, **change: Any) -> bytes:
    wide, ids = Tensor(0, 0, (wiring.ROWS, wiring.WIDTH)), Tensor(1, 2, (3,))
    tensors = (wide, ids) if tensors is None else tensors
    fields = {"number": number, "generation": 1, "index": MINE, "step": 1, **change}
    return encode(
        Frame(FrameKind.MESSAGE, tensors=tensors, **fields), [bytes(sum(t.nbytes for t in tensors))]
    )


def bye(reason: int) -> Frame:
    return Frame(FrameKind.BYE, number=1, generation=1, reason=reason)


def control(number: int = 1, index: int = 1, payload: bytes = b"word", generation: int = 1) -> bytes:
    return encode(
        Frame(FrameKind.CONTROL, number=number, generation=generation, index=index),
        [payload] if payload else [],
    )


@pytest.fixture
def meet() -> Iterator[Callable[..., tuple]]:
    """alice, open but for who comes, bob by hand, and a wait until she is open: before, she takes nothing."""
    made: list[Any] = []

    def make(**change: Any) -> tuple:
        alice = wiring.listening()
        raw = Raw(f"127.0.0.1:{alice.bind()}", **change)
        opening = wiring.meanwhile(alice.open)
        made.extend((raw.close, alice._stop))
        return alice, raw, lambda: opening.join(wiring.LONG)

    yield make
    for end in made:
        end()


def test_by_hand_as_it_should_be(meet: Callable[..., tuple]) -> None:
    alice, raw, opened = meet()
    raw.write(hello(), message(), control(2), Frame(FrameKind.RECEIPT))
    opened()
    assert alice.take("bob", "bob>alice").step == 1
    assert alice.hear("bob", "word", 100) == b"word"
    wiring.until(lambda: bool(raw.heard))
    assert raw.heard[0].kind == FrameKind.HELLO


def wide(*shape: int, dtype: int = 0) -> tuple[Tensor, Tensor]:
    return Tensor(0, dtype, shape), Tensor(1, 2, (3,))


ROWS, WIDTH = wiring.ROWS, wiring.WIDTH
HOSTILE = {
    "bytes that are no frame": (b"\xff" * 50, "does not end"),
    "nothing": (b"", "does not end"),
    "a second hello": (hello(), "at the wrong time"),
    "a message nobody declared": (message(index=7), "number 7, which is not declared"),
    "a message of another sender": (message(index=THEIRS), "not declared from 'bob'"),
    "a program that does not have it": (message(program=2), "in a program that does not have it"),
    "a program that does not exist": (message(program=9), "in a program that does not have it"),
    "an edge too few": (message(tensors=wide(ROWS, WIDTH)[:1]), "other edges"),
    "an edge too many": (message(tensors=(*wide(ROWS, WIDTH), Tensor(2, 0, (1,)))), "other edges"),
    "an edge twice": (message(tensors=(wide(ROWS, WIDTH)[0],) * 2), "other edges"),
    "another type": (message(tensors=wide(ROWS, WIDTH, dtype=1)), "as float64 instead of float32"),
    "another width": (message(tensors=wide(ROWS, WIDTH + 1)), "of shape"),
    "an axis more": (message(tensors=wide(ROWS, WIDTH, 1)), "of shape"),
    "more rows than a batch has": (message(tensors=wide(ROWS + 1, WIDTH)), "of shape"),
    "another size of a fixed axis": (message(tensors=(wide(ROWS, WIDTH)[0], Tensor(1, 2, (4,)))), "of shape"),
    "a kind of control nobody declared": (control(index=77), "control message number 77"),
    "a kind of control of another sender": (control(index=0), "not declared from 'bob'"),
    "more than a kind may hold": (control(payload=bytes(101)), "101 bytes of 'word'"),
    "a number left out": (control(2), "frame 2, where 1 is due"),
    "a receipt for what was not sent": (Frame(FrameKind.RECEIPT, received=5), "which cannot be"),
    "a receipt for bytes not sent": (Frame(FrameKind.RECEIPT, taken=5), "which cannot be"),
    "a bye for no known reason": (bye(9), "a bye for reason 9"),
    "a bye for the reason of a refusal": (bye(3), "a bye for reason 3"),
    "a refusal for no known reason": (Frame(FrameKind.REFUSAL, reason=9), "a refusal for reason 9"),
    "a refusal for the reason of a bye": (Frame(FrameKind.REFUSAL, reason=2), "a refusal for reason 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_frame_ends_the_run(meet: Callable[..., tuple], case: str) -> None:
    frame, named = HOSTILE[case]
    alice, raw, opened = meet()
    raw.write(hello(), frame)
    opened()
    with pytest.raises(Failure) as caught:
        alice.take("bob", "bob>alice")
    assert (caught.value.code, caught.value.exit_code) == ("VFL0645", 3), caught.value
    assert "'alice' refused a frame of 'bob'" in caught.value.message
    assert named in caught.value.message
    assert alice.traffic["bob"].payload_in == 0
    assert raw.ended.wait(wiring.LONG), "and the stream is over"
    assert (raw.heard[-1].kind, raw.heard[-1].reason) == (FrameKind.REFUSAL, REFUSED), "with a word why"


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(meet: Callable[..., tuple], number: float) -> None:
    alice, raw, opened = meet()
    values = np.zeros((ROWS, WIDTH), np.float32)
    values[ROWS // 2, 3] = number
    fields = {"number": 1, "generation": 1, "index": MINE, "step": 12, "tensors": wide(ROWS, WIDTH)}
    raw.write(hello(), encode(Frame(FrameKind.MESSAGE, **fields), [values.data.cast("B"), bytes(12)]))
    opened()
    with pytest.raises(Failure) as caught:
        alice.take("bob", "bob>alice")
    assert (caught.value.code, caught.value.exit_code) == ("VFL0611", 3)
    assert "NaN or an infinity in edge 'bob>alice.wide' at step 12 of 'train'" in caught.value.message


@pytest.mark.parametrize("replayed", [1, 2])
def test_a_replay_is_refused(meet: Callable[..., tuple], replayed: int) -> None:
    alice, raw, opened = meet()
    raw.write(hello(), message(1), control(2))
    opened()
    assert alice.take("bob", "bob>alice").step == 1
    raw.write(message(1) if replayed == 1 else control(2))
    with pytest.raises(Failure, match=f"frame {replayed}, where 3 is due"):
        alice.take("bob", "bob>alice")


def test_a_replay_of_another_stream_is_refused(meet: Callable[..., tuple]) -> None:
    """The hello of a new stream says how far alice is; who begins anew with the old numbers is refused."""
    alice, raw, opened = meet()
    raw.write(hello(), message(1))
    opened()
    assert alice.take("bob", "bob>alice").step == 1
    wiring.until(lambda: bool(raw.heard))
    again = Raw(raw.address)
    again.write(hello(known=raw.heard[0].incarnation))
    wiring.until(lambda: bool(again.heard))
    again.write(message(1))
    with pytest.raises(Failure, match="frame 1, where 2 is due"):
        alice.take("bob", "bob>alice")
    assert again.heard[0].received == 1
    again.close()


def test_what_is_too_large_is_not_buffered(meet: Callable[..., tuple]) -> None:
    alice, raw, opened = meet()
    raw.write(hello(), control(1, payload=bytes(1 << 22)))
    opened()
    assert raw.ended.wait(wiring.LONG)
    assert raw.status is not None
    assert raw.status[0] == "RESOURCE_EXHAUSTED"
    with pytest.raises(Failure):
        alice.hear("bob", "word", 100, timeout=0.5)
    assert alice.traffic["bob"].payload_in == 0


def test_a_flood_that_nobody_asked_for_is_refused(
    meet: Callable[..., tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_LEAST_WINDOW", 1 << 16)  # of 8 MiB, so that a hundred messages are a flood
    alice, raw, opened = meet()
    raw.write(hello(), *(message(number) for number in range(1, 100)))
    opened()
    with pytest.raises(Failure, match="that nobody has asked for yet"):
        alice.hear("bob", "word", 100, timeout=600)


def test_a_first_frame_that_is_no_hello(meet: Callable[..., tuple]) -> None:
    alice, raw, opened = meet()
    raw.write(message(1))
    opened()
    with pytest.raises(Failure, match="before the hello"):
        alice.take("bob", "bob>alice")


@pytest.mark.parametrize("change", [{"version": 2}, {"incarnation": b""}])
def test_a_hello_of_another_kind(meet: Callable[..., tuple], change: dict) -> None:
    alice, raw, opened = meet()
    raw.write(hello(**change))
    opened()
    with pytest.raises(Failure, match="a hello of version"):
        alice.take("bob", "bob>alice")


@pytest.mark.parametrize("place", ["carol", "alice", ""])
def test_who_is_not_expected_is_turned_away(meet: Callable[..., tuple], place: str) -> None:
    alice, raw, opened = meet(place=place)
    raw.write(hello())
    assert raw.ended.wait(wiring.LONG)
    assert raw.status[0] == "PERMISSION_DENIED"
    right = Raw(raw.address)
    right.write(hello(), control(1))
    opened()
    assert alice.hear("bob", "word", 100) == b"word", "and the right one is served as before"
    right.close()


def test_dropped_connections_and_noise_change_nothing(meet: Callable[..., tuple]) -> None:
    import socket

    alice, raw, opened = meet()
    host, port = raw.address.split(":")
    for noise in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 20):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(noise)
    raw.write(hello(), control(1))
    opened()
    assert alice.hear("bob", "word", 100) == b"word"


def test_a_bye_is_heard_at_once(meet: Callable[..., tuple]) -> None:
    alice, raw, opened = meet()
    raw.write(hello(), Frame(FrameKind.BYE, number=1, generation=1, reason=2))
    opened()
    with pytest.raises(Ended, match="failed"):
        alice.take("bob", "bob>alice")
