"""What a link refuses and keeps, frame by frame, without a socket."""

from __future__ import annotations

from dataclasses import replace

import pytest
import wiring
from vflc_runtime.transport.frames import (
    ALIGN,
    DTYPES,
    MAX_HEADER,
    BadFrame,
    Frame,
    FrameKind,
    Tensor,
    decode,
    encode,
)
from vflc_runtime.transport.link import Link
from vflc_runtime.transport.mailbox import Mailbox
from vflc_runtime.transport.rules import MessageRules

FIRST, SECOND, THIRD = (bytes([number]) * 16 for number in (1, 2, 3))


@pytest.fixture
def link() -> Link:
    """alice's link to bob, who has said hello for the first time."""
    rules = MessageRules(wiring.manifest(("alice", "bob")), "alice", wiring.ROWS)
    made = Link("bob", bytes(16), rules, Mailbox(("bob",), 5.0))
    greet(made, FIRST)
    return made


def greet(link: Link, incarnation: bytes, **change: object) -> int:
    stream, _ = link.attach()
    hello = Frame(FrameKind.HELLO, version=1, generation=1, incarnation=incarnation, **change)
    link.arrived(stream, encode(hello))
    return stream


def pushed(link: Link, count: int) -> int:
    """Writes so many frames; how many bytes they have."""
    for _ in range(count):
        link.push(lambda number: encode(Frame(FrameKind.CONTROL, number=number, generation=1), [b"word"]))
    stream, frames = link._stream, link.outgoing(link._stream)
    return sum(len(next(frames)) for _ in range(count)) if stream else 0


def control(number: int) -> bytes:
    return encode(Frame(FrameKind.CONTROL, number=number, generation=1, index=1), [b"word"])


def test_receipts_do_not_go_back(link: Link) -> None:
    size = pushed(link, 3)
    link.arrived(link._stream, encode(Frame(FrameKind.RECEIPT, received=2, taken=size)))
    link.arrived(link._stream, encode(Frame(FrameKind.RECEIPT, received=2, taken=size)))
    for received, taken in ((1, size), (2, size - 1)):
        with pytest.raises(BadFrame, match="which cannot be"):
            link.arrived(link._stream, encode(Frame(FrameKind.RECEIPT, received=received, taken=taken)))
    link.arrived(link._stream, encode(Frame(FrameKind.RECEIPT, received=3, taken=size)))
    assert link.settled()


def test_a_process_that_was_replaced_is_known(link: Link) -> None:
    greet(link, SECOND)
    link.cut("test")
    hello = {
        each: Frame(FrameKind.HELLO, version=1, generation=1, incarnation=each)
        for each in (FIRST, SECOND, THIRD)
    }
    assert [link.known(each) for each in hello.values()] == [False, True, True]
    with pytest.raises(BadFrame, match="two processes say that they are 'bob'"):
        greet(link, FIRST)
    greet(link, SECOND)
    assert [link.known(each) for each in hello.values()] == [False, True, False], "while one is there"


def test_the_last_64_that_were_replaced_are_known(link: Link) -> None:
    processes = [bytes([2, number]) * 8 for number in range(66)]
    for each in processes:
        greet(link, each)
    link.cut("test")
    known = [
        link.known(Frame(FrameKind.HELLO, version=1, generation=1, incarnation=each))
        for each in (FIRST, *processes)
    ]
    assert known == [True, True, *[False] * 64, True]


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("here", [True, False])
def test_who_has_left_and_is_gone_receives_nothing_more(link: Link, left: bool, here: bool) -> None:
    assert link.settled()
    if left:
        link.arrived(link._stream, encode(Frame(FrameKind.BYE, number=1, generation=1)))
    pushed(link, 1)
    if not here:
        link.cut("test")
    assert link.settled() is (left and not here) and link.ended is left


@pytest.mark.parametrize(("known", "again"), [(bytes(16), 2), (SECOND, 3), (b"", 3)])
def test_what_another_process_received_is_sent_to_this_one_again(known: bytes, again: int) -> None:
    """A peer that speaks of what it has of a process before ours has nothing of ours."""
    rules = MessageRules(wiring.manifest(("alice", "bob")), "alice", wiring.ROWS)
    link = Link("bob", bytes(16), rules, Mailbox(("bob",), 5.0))
    for _ in range(3):
        link.push(lambda number: encode(Frame(FrameKind.CONTROL, number=number, generation=1), [b"word"]))
    stream = greet(link, FIRST, known=known, received=1)
    frames = link.outgoing(stream)
    assert [decode(next(frames)).number for _ in range(again)] == [4 - again, *range(5 - again, 4)]


def test_what_a_gone_process_sent_is_not_said_to_be_taken_to_the_next(link: Link) -> None:
    link.arrived(link._stream, control(1))
    assert link._mailbox.senders("control", "word") == ("bob",)
    (item,) = link._mailbox._boxes["bob", "control", "word"]
    greet(link, SECOND)
    item[2]()
    assert link._taken == 0


def test_twice_the_window_may_come_untaken_and_no_byte_more(link: Link) -> None:
    frames = [control(number) for number in range(1, 8)]
    link._window_in = sum(map(len, frames[:6])) // 2
    for frame in frames[:6]:
        link.arrived(link._stream, frame)
    with pytest.raises(BadFrame, match=f"more than {2 * link._window_in} bytes that nobody has asked for"):
        link.arrived(link._stream, frames[6])
    link._mailbox.wait(("bob", "control", "word"))
    link.arrived(link._stream, frames[6])
    assert len(link._mailbox._boxes["bob", "control", "word"]) == 6


@pytest.mark.parametrize("window", [4, 7])
def test_a_quarter_of_the_window_is_acknowledged_at_once(link: Link, window: int) -> None:
    """Without waiting for the next beat: what arrived, and what was taken. One frame is no more than a
    quarter, two are."""
    frames = [control(number) for number in range(1, 4)]
    link._window_in = window * len(frames[0])
    link._owes = False
    link.arrived(link._stream, frames[0])
    assert link._to_write(link._stream) is None
    link.arrived(link._stream, frames[1])
    said = decode(link._to_write(link._stream) or b"")
    assert (said.kind, said.received, said.taken) == (FrameKind.RECEIPT, 2, 0)
    for taken in (1, 2):
        link._mailbox.wait(("bob", "control", "word"))
        data = link._to_write(link._stream)
        assert (data is None) == (taken == 1)
    assert decode(data or b"").taken == 2 * len(frames[0])


def test_each_way_has_its_own_window() -> None:
    """alice sends far more than she is sent."""
    declared = wiring.manifest(("alice", "bob"))
    wide = {"alice>bob.wide": replace(declared.edges["alice>bob.wide"], shape=("batch", 1 << 16))}
    rules = MessageRules(replace(declared, edges={**declared.edges, **wide}), "alice", wiring.ROWS)
    made = Link("bob", bytes(16), rules, Mailbox(("bob",), 5.0))
    out, back = (rules.window("bob", incoming=incoming) for incoming in (False, True))
    assert (made._window_out, made._window_in) == (out, back) and out > 2 * back


def test_a_frame_of_a_stream_that_is_gone_is_void(link: Link) -> None:
    stream = link._stream
    link.cut("test")
    link.arrived(stream, control(1))
    greet(link, FIRST)
    link.arrived(link._stream, control(1))
    assert link._received == 1


@pytest.mark.parametrize("number", [2, 3])
def test_a_link_that_refuses_is_deaf(link: Link, number: int) -> None:
    link.refuse("refused")
    link.arrived(link._stream, b"\xff" * 9)
    link.arrived(link._stream, control(number))
    assert link._received == 0 and not link.settled()
    assert [decode(frame).kind for frame in link.outgoing(link._stream)] == [FrameKind.REFUSAL]
    link.cut("test")
    assert link.settled() and link.ended


# --- headers at their bounds ---------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def test_a_header_has_a_largest_size() -> None:
    def frame(tensors: int) -> bytes:
        return encode(
            Frame(FrameKind.MESSAGE, number=1, generation=1, tensors=(Tensor(0, 0, (0,)),) * tensors)
        )

    assert len(decode(frame(1000)).tensors) == 1000
    assert len(frame(20_000)) > MAX_HEADER
    with pytest.raises(BadFrame, match="a header of"):
        decode(frame(20_000))


def test_a_tensor_has_at_most_eight_axes() -> None:
    for axes, taken in ((8, True), (9, False)):
        shape = (1,) * axes
        data = encode(
            Frame(FrameKind.MESSAGE, number=1, generation=1, tensors=(Tensor(0, 0, shape),)), [bytes(4)]
        )
        if taken:
            assert decode(data).tensors[0].shape == shape
        else:
            with pytest.raises(BadFrame, match="more than 8 axes"):
                decode(data)


@pytest.mark.parametrize(
    "inner",
    {
        "twice": b"\x08\x01\x08\x01",
        "backwards": b"\x10\x01\x08\x01",
        "what it has when left out": b"\x08\x00",
        "a type too many": b"\x10" + varint(len(DTYPES)),
    }.items(),
    ids=lambda each: each[0],
)
def test_a_tensor_has_one_encoding(inner: tuple[str, bytes]) -> None:
    header = b"\x08\x02\x18\x01\x20\x01\x42" + varint(len(inner[1])) + inner[1]
    start = varint(len(header)) + header
    with pytest.raises(BadFrame, match="a tensor with"):
        decode(start + bytes(-len(start) % ALIGN) + bytes(8))
