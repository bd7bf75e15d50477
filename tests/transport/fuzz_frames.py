"""A fuzz run of the decoder, led by coverage: `python tests/transport/fuzz_frames.py -runs=1000000`.

Needs `atheris`; takes its options (libFuzzer's). Whatever the bytes, decoding and the checks
against the manifest may only give a frame or refuse it; what is accepted has no other encoding;
and nothing larger than the input is allocated. The input's first byte chooses who receives it.
"""

from __future__ import annotations

import inspect
import random
import sys
import tracemalloc

from vflc_runtime.bundle.manifest import ControlMessage, Edge, Manifest, Message
from vflc_runtime.transport import frames, rules
from vflc_runtime.transport.frames import BadFrame, Frame, FrameKind, Tensor, decode, encode
from vflc_runtime.transport.rules import MessageRules

ROWS = 16


def manifest() -> Manifest:
    """Every type of edge, shapes that only the data knows, two messages and a control message."""
    edges = {
        name: Edge(name, name, "alice", "bob", "forward", shape, dtype, ("train", "predict"))
        for name, shape, dtype in (
            ("a", ("batch", 4), "float32"),
            ("b", (None, 2), "int64"),
            ("c", ("batch",), "bool"),
            ("d", (), "float64"),
            ("e", (3,), "int32"),
        )
    }
    messages = {
        "one": Message("one", "alice", "bob", "forward", ("train",), ("a", "c", "d")),
        "two": Message("two", "alice", "bob", "forward", ("train", "predict"), ("b", "e")),
    }
    controls = (ControlMessage("word", "alice", "bob", 40), ControlMessage("word", "bob", "alice", 40))
    places = ("alice", "bob")
    return Manifest("m", "float32", "0", places, places, edges, messages, "d", {}, {}, controls=controls)


RULES = {place: MessageRules(manifest(), place, ROWS) for place in ("alice", "bob")}


def examples() -> dict[str, bytes]:
    """A frame of every kind, to begin with."""
    one = (Tensor(0, 0, (2, 4)), Tensor(1, 4, (2,)), Tensor(2, 1, ()))
    two = (Tensor(0, 3, (3, 2)), Tensor(1, 2, (3,)))
    identity = {"incarnation": bytes(range(16)), "known": bytes(range(16, 32))}
    return {
        "hello": encode(
            Frame(FrameKind.HELLO, version=1, generation=1, received=300, taken=1 << 40, **identity)
        ),
        "first hello": encode(Frame(FrameKind.HELLO, version=1, generation=1, incarnation=bytes(16))),
        "message": encode(Frame(FrameKind.MESSAGE, number=1, generation=1, step=7, tensors=one), [bytes(42)]),
        "second message": encode(
            Frame(FrameKind.MESSAGE, number=1 << 33, generation=2, index=1, program=2, tensors=two),
            [bytes(60)],
        ),
        "control": encode(Frame(FrameKind.CONTROL, number=9, generation=1), [b"payload"]),
        "empty control": encode(Frame(FrameKind.CONTROL, number=10, generation=1, index=1)),
        "receipt": encode(Frame(FrameKind.RECEIPT, received=12, taken=4000)),
        "generation": encode(Frame(FrameKind.GENERATION, number=3, generation=200)),
        "bye": encode(Frame(FrameKind.BYE, number=4, generation=1, reason=2)),
    }  # fmt: skip


def one(data: bytes) -> None:
    """One input; raises where a promise is broken."""
    place, data = ("alice", "bob")[data[:1] == b"\1"], data[1:]
    try:
        frame = decode(data)
    except BadFrame:
        return
    assert encode(frame, [frame.payload] if frame.payload else []) == data
    try:
        if frame.kind == FrameKind.MESSAGE:
            envelope = RULES[place].envelope("alice" if place == "bob" else "bob", frame)
            assert sum(tensor.nbytes for tensor in envelope.tensors.values()) == len(frame.payload)
        elif frame.kind == FrameKind.CONTROL:
            RULES[place].heard("alice" if place == "bob" else "bob", frame)
    except BadFrame:
        return


def mutated(chance: random.Random, corpus: list[bytes]) -> bytes:
    """One of the corpus with a few bytes changed, cut out, doubled or spliced in from another."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if at < len(data):
                data[at] = chance.randrange(256)
            case 1 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                del data[at : at + chance.randint(1, 8)]
            case 3:
                data[at:at] = chance.randbytes(chance.randint(1, 8))
            case 4:
                other = chance.choice(corpus)
                start = chance.randrange(len(other))
                data[at:at] = other[start : start + chance.randint(1, 40)]
    return bytes([chance.randrange(2)]) + bytes(data)


def main() -> None:
    """Runs until `-runs` are done or a promise is broken."""
    from pathlib import Path
    from tempfile import mkdtemp

    import atheris

    for holder in (frames, rules, MessageRules):
        for function in filter(inspect.isfunction, list(vars(holder).values())):
            atheris.instrument_func(function)
    seeds = Path(mkdtemp(prefix="frames"))
    for number, data in enumerate(examples().values()):
        for place in range(2):
            (seeds / f"{number}.{place}").write_bytes(bytes([place]) + data)

    def checked(data: bytes) -> None:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        one(data)
        _, peak = tracemalloc.get_traced_memory()
        assert peak - before < 50_000 + 50 * len(data), f"{peak - before} bytes for {len(data)}"

    tracemalloc.start()
    atheris.Setup([*sys.argv, str(seeds)], checked)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
