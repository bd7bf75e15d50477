"""Tensors of an ONNX file: their numbers stay in the file until somebody asks for them."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from math import prod
from typing import Any

from msgspec import Struct

from vflc_common.onnx_wire import MOST_FIELDS, OnnxFileError, varints

MOST_AXES = 16
MOST_ELEMENTS = 1 << 31
"""Of a tensor, axes of size 0 not counted: what has no numbers has no endless axes, either."""
ELEMENTS = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""Element types as `onnx.TensorProto` numbers them, in numpy's words; ONNX has more, which are not read."""
FORMS = {
    "float32": "f", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "int32": "i", "int64": "q",
    "bool": "?", "float16": "e", "float64": "d", "uint32": "I", "uint64": "Q",
}  # fmt: skip
"""Those of numbers as `struct` and `array` name them."""
_HELD = {
    "float32": "floats", "float64": "doubles", "int64": "int64s", "uint32": "uint64s", "uint64": "uint64s",
}  # fmt: skip
"""The field that holds elements which are not raw; `int32s` for the others."""


class FileTensor(Struct, frozen=True):
    """Numbers or texts that belong to a file: a weight, or a constant.

    `outside` says where they lie if not in the file itself, in ONNX's words: `location`, `offset`, `length`;
    `held` are the fields that hold them here.
    """

    name: str
    dims: tuple[int, ...]
    element: str
    outside: Mapping[str, str] | None
    held: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"FileTensor({self.name!r}, {self.element} {list(self.dims)})"

    @property
    def size(self) -> int:
        return prod(self.dims)

    @property
    def nbytes(self) -> int:
        """Of numbers."""
        return self.size * array(_item(self.element)).itemsize

    def content(self) -> bytes | memoryview:
        """The bytes of the numbers in order, little-endian.

        Raises:
            OnnxFileError: they do not fill the shape.
        """
        held = self.held
        lists = [name for name in ("floats", "int32s", "int64s", "doubles", "uint64s") if held[name]]
        due = _HELD.get(self.element, "int32s")
        content: bytes | memoryview = b""
        if "raw" in held:
            content = held["raw"]
        elif lists == [due]:
            content = b"".join(held[due])
            if due not in ("floats", "doubles"):
                content = self._packed(varints(memoryview(content), MOST_FIELDS))
        if ("raw" in held and lists) or any(name != due for name in lists) or held["strings"]:
            raise OnnxFileError(f"its tensor `{self.name}` holds its numbers twice")
        if len(content) != self.nbytes:
            raise OnnxFileError(f"its tensor `{self.name}` has not as many numbers as its shape")
        return content

    def texts(self) -> list[str]:
        """The texts in order.

        Raises:
            OnnxFileError: they do not fill the shape, or are none.
        """
        held: list[memoryview] = self.held["strings"]
        if len(held) != self.size or "raw" in self.held:
            raise OnnxFileError(f"its tensor `{self.name}` has not as many texts as its shape")
        return [utf8(each, f"a text of its tensor `{self.name}`") for each in held]

    def _packed(self, numbers: list[int]) -> bytes:
        form = "H" if self.element == "float16" else _item(self.element)
        if self.element == "bool":
            numbers = [int(bool(number)) for number in numbers]
        try:
            packed = array(form, numbers)
        except OverflowError:
            raise OnnxFileError(f"a number of its tensor `{self.name}` is no {self.element}") from None
        if sys.byteorder == "big":
            packed.byteswap()
        return packed.tobytes()


def _item(element: str) -> str:
    """An element type as `array` names one of its size."""
    return {"bool": "B", "float16": "H"}.get(element, FORMS[element])


def utf8(content: memoryview | bytes, what: str) -> str:
    """Bytes as text; `what` names them where they are none."""
    try:
        return bytes(content).decode()
    except UnicodeDecodeError:
        raise OnnxFileError(f"{what} is not UTF-8 text") from None


def read_tensor(item: Mapping[str, Any]) -> FileTensor:
    """A tensor of its message.

    Raises:
        OnnxFileError: it cannot be one, or is of a type that is not read.
    """
    name, dims = item.get("name", ""), tuple(item["dims"])
    number = item.get("element", 0)
    element = ELEMENTS.get(number)
    if element is None or "segment" in item:
        help = "save it as float32, float64, int32, int64, bool or text"
        raise OnnxFileError(f"its tensor `{name}` has elements of ONNX's type {number}", "parts", help)
    if not possible(dims):
        raise OnnxFileError(f"its tensor `{name}` has the impossible sizes {str(list(dims))[:80]}")
    outside = None
    if item["outside"] or item.get("location", 0):
        outside = {each.get("key", ""): each.get("value", "") for each in item["outside"]}
    return FileTensor(name, dims, element, outside, item)


def possible(dims: tuple[int, ...]) -> bool:
    """Whether a tensor can have these sizes."""
    return (
        len(dims) <= MOST_AXES
        and all(size >= 0 for size in dims)
        and prod(max(size, 1) for size in dims) <= MOST_ELEMENTS
    )
