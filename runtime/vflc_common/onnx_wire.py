"""The wire format of protocol buffers, as far as ONNX files need it: bounded, in Python alone.

A file may come from anybody, and checking a spec must wait for no library. What is read here is what a
library will run, so nothing may have two readings: a field that is no list stands once at most, and one
that is not known here is refused. Depth follows from the fields, and the work from `MOST_FIELDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import unpack_from
from typing import Any, Literal

from msgspec import Struct

MOST_FIELDS = 1_000_000
"""Of one file, all its messages together. Numbers of tensors lie in one field, however many they are."""
MOST_SHOWN = 300
"""Characters of a message: names in it may be those of a file."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types that are in use."""
_SIZES = {FIXED64: 8, FIXED32: 4}

WireKind = Literal["int", "float", "text", "bytes", "ints", "numbers", "skip"]
"""`numbers` are elements of a tensor, left as they are until they are asked for."""


class OnnxFileError(Exception):
    """A file that is no ONNX model, or one that may not be used: what is wrong, without its name.

    Args:
        message: a clause, as `it ends in the middle of a field`.
        kind: `file`, what is no whole model; `shapes`, those of its inputs and outputs; `parts`, what it is
            made of.
        help: what to do.
    """

    def __init__(
        self, message: str, kind: Literal["file", "shapes", "parts"] = "file", help: str | None = None
    ) -> None:
        self.message, self.kind, self.help = printable(message), kind, help
        super().__init__(self.message)


def printable(text: str) -> str:
    """What a file says, in one line that a terminal shows as it is, and not without end."""
    return "".join(char if char.isprintable() else "?" for char in text[:MOST_SHOWN])


class WireField(Struct, frozen=True):
    """A field of a message: its name, what it holds, or of which message it is, and whether it is a list."""

    name: str
    kind: WireKind | str
    many: bool = False


WireMessages = Mapping[str, Mapping[int, WireField]]
"""The fields of each message by their numbers."""


class WireReader:
    """Reads messages of one file; each becomes a dictionary by the names of its fields."""

    def __init__(self, content: bytes, messages: WireMessages) -> None:
        self._data, self._messages = memoryview(content), messages
        self._fields = 0

    def read(self, message: str) -> dict[str, Any]:
        """The whole file as one message.

        Raises:
            OnnxFileError: it is none.
        """
        return self._message(message, 0, len(self._data))

    def _message(self, message: str, at: int, end: int) -> dict[str, Any]:
        fields = self._messages[message]
        found: dict[str, Any] = {f.name: [] for f in fields.values() if f.many or f.kind == "ints"}
        while at < end:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise OnnxFileError(f"it has more than {MOST_FIELDS:,} fields")
            tag, at = self._varint(at, end)
            wire, field = tag & 7, fields.get(tag >> 3)
            if field is None:
                raise OnnxFileError(f"its {message} has a field {tag >> 3} that is not known")
            start, at = self._extent(wire, at, end)
            if field.kind == "skip":
                continue
            value = self._value(field, wire, start, at)
            if field.kind == "ints":
                found[field.name] += value
            elif field.many:
                found[field.name].append(value)
            elif field.name in found:
                raise OnnxFileError(f"its {message} has two of the field `{field.name}`")
            else:
                found[field.name] = value
        return found

    def _extent(self, wire: int, at: int, end: int) -> tuple[int, int]:
        """Where the value of a field starts and ends."""
        if wire == VARINT:
            return at, self._varint(at, end)[1]
        size = _SIZES.get(wire)
        if wire == BYTES:
            size, at = self._varint(at, end)
        if size is None:
            raise OnnxFileError("it is not in the format of an ONNX file")
        if size > end - at:
            raise OnnxFileError("it ends in the middle of a field")
        return at, at + size

    def _value(self, field: WireField, wire: int, start: int, end: int) -> Any:
        kind = field.kind
        if kind == "ints":
            return self._ints(wire, start, end)
        if kind == "numbers":
            return self._data[start:end]
        due = {"int": VARINT, "float": FIXED32}.get(kind, BYTES)
        if wire != due:
            raise OnnxFileError(f"its field `{field.name}` is not of the type that it has in ONNX")
        if kind == "int":
            return signed(self._varint(start, end)[0])
        if kind == "float":
            return unpack_from("<f", self._data, start)[0]
        if kind == "bytes":
            return self._data[start:end]
        if kind == "text":
            try:
                return bytes(self._data[start:end]).decode()
            except UnicodeDecodeError:
                raise OnnxFileError(f"its field `{field.name}` is not UTF-8 text") from None
        return self._message(kind, start, end)

    def _ints(self, wire: int, at: int, end: int) -> list[int]:
        """A list of whole numbers, packed or one by one."""
        if wire not in (VARINT, BYTES):
            raise OnnxFileError("a list of whole numbers is not of the type that it has in ONNX")
        found = varints(self._data[at:end], MOST_FIELDS - self._fields)
        self._fields += len(found)
        return found

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        return varint(self._data, at, end)


def varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """A number of at most 64 bits, and where it ends.

    Raises:
        OnnxFileError: there is none.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise OnnxFileError("it ends in the middle of a field")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                break
            return value, at
    raise OnnxFileError("it has a number of more than 64 bits")


def varints(data: memoryview, most: int) -> list[int]:
    """The whole numbers, `most` at most, that follow one another in packed form. Raises as `varint`."""
    found: list[int] = []
    at = 0
    while at < len(data):
        if len(found) >= most:
            raise OnnxFileError(f"it has more than {MOST_FIELDS:,} fields")
        value, at = varint(data, at, len(data))
        found.append(signed(value))
    return found


def signed(value: int) -> int:
    """A number of 64 bits in two's complement."""
    return value - (1 << 64) if value >> 63 else value
