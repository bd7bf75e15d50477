"""Frames as they travel: a protobuf header, zeros up to a multiple of 8 bytes, raw bytes.

The header is written and read here by hand, not by the `protobuf` package: it is a dozen
numbers; generated code would tie every party to one range of versions of that package, while
other libraries pin others; and its parser accepts unknown and repeated fields, where this one
accepts for each frame exactly one encoding. It is the wire format of protobuf all the same, so
that any tool can read it; `docs/network.md` has the schema. Numbers are little endian.

`decode` allocates nothing that grows with what a header claims: payloads stay views of `data`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache

import numpy as np
from vflc_common.arrays import Array
from vflc_common.words import BYTES

VERSION = 1
MAX_HEADER = 1 << 16
ALIGN = 8
DTYPES = tuple(BYTES)
WIRE_DTYPES = tuple(np.dtype(name).newbyteorder("<") for name in DTYPES)
_MAX_AXES = 8
_NOTHING = memoryview(b"")
_MAX_NUMBER = (1 << 63) - 1
_KEPT_HEADER = 1 << 10
"""Bytes of a description of tensors that is kept, to be known when it comes again."""


FrameBytes = bytes | memoryview
"""A frame as it came: bytes that nobody writes to."""


class FrameKind(IntEnum):
    """What a frame is. All but hello, receipt and refusal are numbered, and accepted exactly once."""

    HELLO = 1
    MESSAGE = 2
    CONTROL = 3
    RECEIPT = 4
    GENERATION = 5
    BYE = 6
    REFUSAL = 7


class BadFrame(Exception):
    """Bytes that are no frame, or a frame that may not come now; the text says why."""


class NotFiniteFrame(BadFrame):
    """A tensor with NaN or an infinity, which would be in every weight before long."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a message: the position of its edge in the message, its type and shape."""

    edge: int
    dtype: int
    shape: tuple[int, ...]

    @cached_property
    def nbytes(self) -> int:
        count = WIRE_DTYPES[self.dtype].itemsize
        for size in self.shape:
            count *= size
        return count


@dataclass(slots=True)
class Frame:
    """A frame; which fields a kind has, `_FIELDS` says. Not frozen: that doubles the time to make one.

    Args:
        number: of numbered frames in this direction, from 1.
        generation: of the run, as the sender counts.
        index: of the message or the control kind in the manifest.
        program: its position in `EVERY_PROGRAM`.
        incarnation: 16 random bytes, other ones for every process.
        known: the incarnation of the receiver as the sender knows it, or nothing.
        received: the last number that the sender accepted.
        taken: bytes of numbered frames that the sender has done with.
        reason: of a bye and a refusal, its position in `REASONS`.
    """

    kind: FrameKind
    version: int = 0
    number: int = 0
    generation: int = 0
    index: int = 0
    program: int = 0
    step: int = 0
    tensors: tuple[Tensor, ...] = ()
    incarnation: bytes = b""
    known: bytes = b""
    received: int = 0
    taken: int = 0
    reason: int = 0
    payload: memoryview = _NOTHING


_NUMBERS = {
    1: "kind", 2: "version", 3: "number", 4: "generation", 5: "index", 6: "program", 7: "step",
    11: "received", 12: "taken", 13: "reason",
}  # fmt: skip
_TENSOR_TAG = 8 << 3 | 2
_BYTES = {9: "incarnation", 10: "known"}
_FIELDS = {
    FrameKind.HELLO: {"version", "generation", "incarnation", "known", "received", "taken"},
    FrameKind.MESSAGE: {"number", "generation", "index", "program", "step", "tensors"},
    FrameKind.CONTROL: {"number", "generation", "index"},
    FrameKind.RECEIPT: {"received", "taken"},
    FrameKind.GENERATION: {"number", "generation"},
    FrameKind.BYE: {"number", "generation", "reason"},
    FrameKind.REFUSAL: {"reason"},
}
_KINDS = {int(kind): kind for kind in FrameKind}


# --- writing ---------------------------------------------------------------------------------


def encode(frame: Frame, parts: Sequence[bytes] | Sequence[Array] = ()) -> bytes:
    """The bytes of a frame, with contiguous `parts` [*] one after another as its payload."""
    header = bytearray((0x08, frame.kind))
    for tag, value in (
        (0x10, frame.version), (0x18, frame.number), (0x20, frame.generation),
        (0x28, frame.index), (0x30, frame.program), (0x38, frame.step),
    ):  # fmt: skip
        if value:
            header.append(tag)
            _put(header, value)
    for tensor in frame.tensors:
        header += _encoded(tensor)
    for tag, some in ((0x4A, frame.incarnation), (0x52, frame.known)):
        if some:
            header += bytes((tag, len(some))) + some
    for tag, value in ((0x58, frame.received), (0x60, frame.taken), (0x68, frame.reason)):
        if value:
            header.append(tag)
            _put(header, value)
    prefix = bytearray()
    _put(prefix, len(header))
    pad = -(len(prefix) + len(header)) % ALIGN if parts else 0
    return b"".join((prefix, header, bytes(pad), *parts))


@lru_cache(256)
def _encoded(tensor: Tensor) -> bytes:
    shape, inner, outer = bytearray(), bytearray(), bytearray((_TENSOR_TAG,))
    for size in tensor.shape:
        _put(shape, size)
    for tag, value in ((0x08, tensor.edge), (0x10, tensor.dtype)):
        if value:
            inner.append(tag)
            _put(inner, value)
    if shape:
        inner += bytes((0x1A, len(shape))) + shape
    _put(outer, len(inner))
    return bytes(outer + inner)


def _put(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


# --- reading ---------------------------------------------------------------------------------


def decode(data: FrameBytes) -> Frame:
    """The frame that `data` is; `BadFrame` where it is none."""
    length, start = _get(data, 0, len(data))
    end = start + length
    if length > MAX_HEADER or end > len(data):
        raise BadFrame(f"a header of {length} bytes in a frame of {len(data)}")
    header = bytes(data[:end])
    fields: dict[str, int | bytes] = {}
    tensors: tuple[Tensor, ...] = ()
    at, last = start, 0
    while at < end:
        tag, at = _get(header, at, end)
        field = tag >> 3
        if field <= last:
            raise BadFrame(f"field {field} after field {last}")
        last = field
        if tag & 7 == 0 and field in _NUMBERS:
            value, at = _get(header, at, end)
            if value == 0:
                raise BadFrame(f"field {field} with the value that it has when left out")
            fields[_NUMBERS[field]] = value
        elif tag == _TENSOR_TAG:  # nothing follows tensors in a frame that has some
            read = _tensors if end - at <= _KEPT_HEADER else _tensors.__wrapped__
            tensors, at = read(header[at - 1 :]), end
        elif tag & 7 == 2 and field in _BYTES:
            size, at = _get(header, at, end)
            if size != 16 or size > end - at:
                raise BadFrame(f"an incarnation of {size} bytes, where {end - at} are left of the header")
            fields[_BYTES[field]] = header[at : at + size]
            at += size
        else:
            raise BadFrame(f"unknown field {field} of wire type {tag & 7}")
    return _frame(data, end, fields, tensors)


def _frame(data: FrameBytes, end: int, fields: dict[str, int | bytes], tensors: tuple[Tensor, ...]) -> Frame:
    kind = _KINDS.get(int(fields.pop("kind", 0)))
    if kind is None:
        raise BadFrame("a frame of unknown kind")
    allowed = _FIELDS[kind]
    if not allowed >= fields.keys() or (tensors and kind != FrameKind.MESSAGE):
        raise BadFrame(
            f"a {kind.name.lower()} with {', '.join(sorted(fields.keys() - allowed)) or 'tensors'}"
        )
    if ("number" in allowed) != ("number" in fields) or ("generation" in allowed) != ("generation" in fields):
        raise BadFrame(f"a {kind.name.lower()} without number or generation")
    payload = end + (-end % ALIGN if end < len(data) else 0)
    if any(data[end:payload]) or payload >= len(data) > end:
        raise BadFrame("padding that is not zero, or with nothing behind it")
    size = len(data) - payload
    if kind == FrameKind.MESSAGE:
        claimed = sum(tensor.nbytes for tensor in tensors)
        if claimed != size:
            raise BadFrame(f"tensors of {claimed} bytes in a payload of {size}")
    elif kind != FrameKind.CONTROL and end != len(data):
        raise BadFrame(f"a {kind.name.lower()} with a payload")
    return Frame(kind, tensors=tensors, payload=memoryview(data)[payload:], **fields)  # type: ignore[arg-type]


@lru_cache(256)
def _tensors(data: bytes) -> tuple[Tensor, ...]:
    """The last fields of a header. Most have the shapes of the one before, and get its very tuple."""
    tensors: list[Tensor] = []
    at, end = 0, len(data)
    while at < end:
        tag, at = _get(data, at, end)
        if tag != _TENSOR_TAG:
            raise BadFrame(f"field {tag >> 3} after tensors")
        size, at = _get(data, at, end)
        if size > end - at:
            raise BadFrame("a tensor that is longer than the header")
        tensors.append(_tensor(data[at : at + size]))
        at += size
    return tuple(tensors)


def _tensor(data: bytes) -> Tensor:
    at, end = 0, len(data)
    edge = dtype = last = 0
    shape: list[int] = []
    while at < end:
        tag, at = _get(data, at, end)
        value, at = _get(data, at, end)
        if tag <= last or value == 0:
            raise BadFrame("a tensor with fields out of order")
        last = tag
        if tag == 0x08:
            edge = value
        elif tag == 0x10 and value < len(DTYPES):
            dtype = value
        elif tag == 0x1A and value <= end - at:
            stop = at + value
            while at < stop:
                size, at = _get(data, at, stop)
                shape.append(size)
                if len(shape) > _MAX_AXES:
                    raise BadFrame(f"a tensor of more than {_MAX_AXES} axes")
        else:
            raise BadFrame("a tensor with an unknown field or type")
    return Tensor(edge, dtype, tuple(shape))


def _get(data: FrameBytes, at: int, end: int) -> tuple[int, int]:
    """A varint of at most 63 bits in its shortest form, and where it ends."""
    if at < end and data[at] < 0x80:
        return data[at], at + 1
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (byte == 0 and shift) or value > _MAX_NUMBER:
                raise BadFrame("a number that is not in its shortest form, or too large")
            return value, at
        shift += 7
        if shift > 63:
            break
    raise BadFrame("a number that does not end")
