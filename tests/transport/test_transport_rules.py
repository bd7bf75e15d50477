"""What may be sent, and how much of it at once; numbers and frames come back as they went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vflc_runtime.bundle.manifest import ControlMessage, Edge, Manifest, Message
from vflc_runtime.errors import Failure
from vflc_runtime.transport.frames import (
    _FIELDS,
    _MAX_NUMBER,
    BadFrame,
    Frame,
    FrameKind,
    _get,
    _put,
    decode,
    encode,
)
from vflc_runtime.transport.rules import MessageRules

# --- rules --------------------------------------------------------------------------------------------


def uneven() -> Manifest:
    """Three places, between any two of them edges and words of other sizes."""
    places = ("alice", "bob", "carol")
    edges, messages, controls = {}, {}, []
    for count, (a, b) in enumerate((a, b) for a in places for b in places if a != b):
        name, width = f"{a}>{b}", 1 << 12 + 2 * count
        edges[name] = Edge(name, name, a, b, "forward", ("batch", width), "float32", ("train",))
        messages[name] = Message(name, a, b, "forward", ("train",), (name,))
        controls += [
            ControlMessage(kind, a, b, size << 2 * count) for kind, size in (("word", 10), ("long", 1 << 23))
        ]
    return Manifest(
        "m", "float32", "0", places, places, edges, messages, "d", {}, {}, controls=tuple(controls)
    )


def test_room_for_four_steps_or_two_words_with_each_peer_each_way() -> None:
    manifest, rows = uneven(), 100
    step = {name: 4 * rows * edge.shape[1] for name, edge in manifest.edges.items()}
    word = {(c.sender, c.receiver): c.bytes for c in manifest.controls if c.kind == "long"}
    for place in manifest.places:
        rules = MessageRules(manifest, place, rows)
        for peer in manifest.places:
            if peer != place:
                for incoming, (a, b) in ((False, (place, peer)), (True, (peer, place))):
                    due = max(1 << 23, 4 * step[f"{a}>{b}"], 2 * word[a, b])
                    assert rules.window(peer, incoming) == due
                both = [max(step[f"{a}>{b}"], word[a, b]) for a, b in ((place, peer), (peer, place))]
                assert rules.largest([peer]) == max(both)
        assert rules.largest([]) == 0
        assert MessageRules(manifest, place, 0).window("nobody", True) == 1 << 23


@pytest.mark.parametrize("kind", ["word", "long"])
@pytest.mark.parametrize(("a", "b"), [("alice", "bob"), ("carol", "bob"), ("bob", "alice")])
def test_words_up_to_what_is_declared(kind: str, a: str, b: str) -> None:
    manifest = uneven()
    small = tuple(
        ControlMessage(c.kind, c.sender, c.receiver, index + 1) for index, c in enumerate(manifest.controls)
    )
    manifest = Manifest(
        "m",
        "float32",
        "0",
        manifest.places,
        manifest.places,
        manifest.edges,
        manifest.messages,
        "d",
        {},
        {},
        controls=small,
    )
    (most,) = (c.bytes for c in small if (c.kind, c.sender, c.receiver) == (kind, a, b))
    sender, receiver = MessageRules(manifest, a, 2), MessageRules(manifest, b, 2)
    frame = decode(sender.control(b, kind, bytes(most), 5, 6))
    assert (frame.number, frame.generation) == (5, 6) and receiver.heard(a, frame) == (kind, bytes(most))
    with pytest.raises(Failure, match="which the manifest does not declare") as refused:
        sender.control(b, kind, bytes(most + 1), 5, 6)
    assert refused.value.code == "VFL0615"
    long = decode(
        encode(Frame(FrameKind.CONTROL, number=1, generation=1, index=frame.index), [bytes(most + 1)])
    )
    with pytest.raises(BadFrame, match=f"{most + 1} bytes of '{kind}', declared are at most {most}"):
        receiver.heard(a, long)
    for other in ({"alice", "bob", "carol"} - {a, b}, {b}):
        with pytest.raises(BadFrame, match="which is not declared"):
            receiver.heard(other.pop(), frame)


# --- numbers and frames ----------------------------------------------------------------------------------

NUMBERS = st.integers(1, _MAX_NUMBER) | st.sampled_from([1, 127, 128, 1 << 14, _MAX_NUMBER])


@given(NUMBERS | st.just(0))
def test_a_number_has_one_form(value: int) -> None:
    out = bytearray()
    _put(out, value)
    assert _get(bytes(out), 0, len(out)) == (value, len(out)) and len(out) == max(
        1, -(-value.bit_length() // 7)
    )
    wrong = [
        (bytes(out[:-1]), "does not end"),
        (bytes(out[:-1]) + bytes((out[-1] | 0x80, 0)), "shortest form"),
    ]
    for data, why in wrong:
        with pytest.raises(BadFrame, match=why):
            _get(data, 0, len(data))


@pytest.mark.parametrize("value", [_MAX_NUMBER + 1, (1 << 64) - 1, 1 << 70])
def test_a_number_that_is_too_large(value: int) -> None:
    out = bytearray()
    _put(out, value)
    with pytest.raises(BadFrame):
        _get(bytes(out), 0, len(out))


@given(st.data())
def test_frames_of_any_kind_and_numbers_come_back(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([each for each in FrameKind if each != FrameKind.MESSAGE]))
    fields = {}
    for name in sorted(_FIELDS[kind]):
        needed = name in ("number", "generation")
        if name in ("incarnation", "known"):
            fields[name] = data.draw(st.sampled_from([b"", bytes(16), b"\xff" * 16]))
        else:
            fields[name] = data.draw(NUMBERS if needed else NUMBERS | st.just(0))
    parts = [data.draw(st.binary(min_size=1, max_size=9))] if kind == FrameKind.CONTROL else []
    found = decode(encode(Frame(kind, **fields), parts))
    assert found.kind == kind and bytes(found.payload) == b"".join(parts)
    assert {name: getattr(found, name) for name in fields} == fields
