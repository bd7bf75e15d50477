"""The decoder: exactly one encoding of every frame, in protobuf's wire format; anything else is refused."""

from __future__ import annotations

import random
import tracemalloc

import fuzz_frames
import numpy as np
import pytest
from vflc_runtime.transport.frames import DTYPES, BadFrame, Frame, FrameKind, Tensor, decode, encode

FRAMES = fuzz_frames.examples()


@pytest.mark.parametrize("data", FRAMES.values(), ids=FRAMES)
def test_a_frame_comes_back(data: bytes) -> None:
    frame = decode(data)
    assert encode(frame, [frame.payload] if frame.payload else []) == data


def test_payloads_are_views_at_aligned_places() -> None:
    for step in range(1, 300, 7):
        array = np.arange(step, dtype=np.float64)
        frame = Frame(
            FrameKind.MESSAGE, number=step**3, generation=1, step=step, tensors=(Tensor(0, 1, (step,)),)
        )
        data = encode(frame, [array.data.cast("B")])
        view = np.frombuffer(decode(data).payload, np.float64)
        assert np.shares_memory(view, np.frombuffer(data, np.uint8))
        assert (len(data) - array.nbytes) % 8 == 0
        assert np.array_equal(view, array)


def test_the_header_is_protobuf() -> None:
    """Read by Google's own parser, from the schema in the documentation."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    schema = descriptor_pb2.FileDescriptorProto(name="frame.proto", package="vflc", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    tensor = schema.message_type.add(name="Tensor")
    for number, (name, label) in enumerate((("edge", 1), ("dtype", 1), ("shape", 3)), 1):
        tensor.field.add(name=name, number=number, label=label, type=field.TYPE_UINT64)
    header = schema.message_type.add(name="Header")
    names = [
        "kind",
        "version",
        "number",
        "generation",
        "index",
        "program",
        "step",
        "tensors",
        "incarnation",
        "known",
    ]
    for number, name in enumerate([*names, "received", "taken", "reason"], 1):
        if name == "tensors":
            kind, label = field.TYPE_MESSAGE, field.LABEL_REPEATED
        else:
            kind = field.TYPE_BYTES if name in ("incarnation", "known") else field.TYPE_UINT64
            label = field.LABEL_OPTIONAL
        type_name = ".vflc.Tensor" if name == "tensors" else None
        header.field.add(name=name, number=number, label=label, type=kind, type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    parser = message_factory.GetMessageClass(pool.FindMessageTypeByName("vflc.Header"))
    for data in FRAMES.values():
        length, start = (data[0], 1) if data[0] < 128 else (data[0] & 127 | data[1] << 7, 2)
        parsed, frame = parser.FromString(data[start : start + length]), decode(data)
        for name in (*names, "received", "taken", "reason"):
            if name != "tensors":
                assert getattr(parsed, name) == getattr(frame, name)
        shapes = [(t.edge, t.dtype, tuple(t.shape)) for t in parsed.tensors]
        assert shapes == [(t.edge, t.dtype, t.shape) for t in frame.tensors]
        assert parsed.SerializeToString(deterministic=True) == data[start : start + length]


def header(*fields: bytes, payload: bytes = b"") -> bytes:
    joined = b"".join(fields)
    pad = bytes(-(1 + len(joined)) % 8) if payload else b""
    return bytes([len(joined)]) + joined + pad + payload


MESSAGE = (b"\x08\x02", b"\x18\x01", b"\x20\x01")
THREE = b"\x42\x03\x1a\x01\x03"
WRONG = {
    "nothing": (b"", "does not end"),
    "a header longer than the frame": (b"\x20\x08\x02", "a header of 32 bytes"),
    "a header of two gigabytes": (b"\xff\xff\xff\xff\x07", "a header of"),
    "a number that never ends": (b"\xff" * 40, "does not end"),
    "a number of 64 bits": (header(b"\x08\x02", b"\x18" + b"\xff" * 9 + b"\x01"), "does not end|too large"),
    "a longer form of a number": (header(b"\x08\x82\x00"), "shortest"),
    "no kind": (header(b"\x18\x01"), "unknown kind"),
    "an unknown kind": (header(b"\x08\x09"), "unknown kind"),
    "a value as when left out": (header(b"\x08\x02", b"\x18\x00"), "left out"),
    "an unknown field": (header(*MESSAGE, b"\x70\x01"), "unknown field 14"),
    "an unknown wire type": (header(*MESSAGE, b"\x2d\0\0\0\0"), "wire type 5"),
    "a field twice": (header(b"\x08\x02", b"\x08\x02"), "field 1 after field 1"),
    "fields out of order": (header(b"\x18\x01", b"\x08\x02"), "field 1 after field 3"),
    "no number": (header(b"\x08\x02", b"\x20\x01"), "without number"),
    "no generation": (header(b"\x08\x02", b"\x18\x01"), "without number or generation"),
    "a number that a receipt has not": (header(b"\x08\x04", b"\x18\x01"), "receipt with number"),
    "a short incarnation": (header(b"\x08\x01", b"\x10\x01", b"\x20\x01", b"\x4a\x02ab"), "incarnation of 2"),
    "tensors in a receipt": (header(b"\x08\x04", b"\x42\x00"), "tensors"),
    "a tensor longer than the header": (header(*MESSAGE, b"\x42\x7f"), "longer than the header"),
    "a tensor of an unknown type": (header(*MESSAGE, b"\x42\x02\x10\x63"), "unknown field or type"),
    "a tensor of nine axes": (header(*MESSAGE, b"\x42\x0b\x1a\x09" + b"\x01" * 9), "more than 8 axes"),
    "a tensor of exabytes": (
        header(*MESSAGE, b"\x42\x14\x1a\x12" + (b"\xff" * 8 + b"\x7f") * 2, payload=b"12345678"),
        "in a payload of 8",
    ),
    "a tensor larger than its payload": (header(*MESSAGE, THREE, payload=bytes(8)), "12 bytes"),
    "a tensor smaller than its payload": (header(*MESSAGE, THREE, payload=bytes(16)), "12 bytes"),
    "a payload of a receipt": (header(b"\x08\x04", payload=b"x"), "with a payload"),
    "padding that says something": (b"\x06\x08\x03\x18\x01\x20\x01\x07x", "padding"),
    "padding alone": (b"\x04\x08\x03\x18\x01\x20\x01\0", "padding|without"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_frame_is_refused(case: str) -> None:
    data, why = WRONG[case]
    with pytest.raises(BadFrame, match=why):
        decode(data)


def test_mutated_frames_never_do_harm() -> None:
    """Without coverage feedback, and few; `fuzz_frames.py` does it with, and a million."""
    chance = random.Random(3)
    corpus = list(FRAMES.values())
    for _ in range(20_000):
        fuzz_frames.one(fuzz_frames.mutated(chance, corpus))


def test_claims_allocate_nothing() -> None:
    claims = [WRONG["a tensor of exabytes"][0], WRONG["a header of two gigabytes"][0]]
    tracemalloc.start()
    for data in claims:
        with pytest.raises(BadFrame):
            decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_codes_of_types_stay() -> None:
    """Their positions are on the wire: new ones come last."""
    assert DTYPES[:5] == ("float32", "float64", "int32", "int64", "bool")
