"""Tensors of an ONNX file as numbers: sizes are compared with the bytes before room is made for them."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import Any

from vflc.onnx_file.model import refuse
from vflc.onnx_file.numbers import Numbers

TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""ONNX's numbers of element types in numpy's words; complex, bfloat16 and 4 to 8 bits are not read."""
FIELDS = {
    "float32": "float_data", "float64": "double_data", "int64": "int64_data", "uint32": "uint64_data",
    "uint64": "uint64_data",
}  # fmt: skip
"""Where a tensor has its elements if not as bytes; otherwise `int32_data`."""
MOST_VALUES = 1 << 31
MOST_AXES = 16
AGAIN = "the file contradicts itself: export the model again"


def numbers(tensor: Any, folder: Path, what: str) -> Numbers:
    """The numbers, or texts, of a tensor.

    Args:
        tensor: a `TensorProto`.
        folder: of the file; tensors whose bytes lie in another file are read below it alone.
        what: the tensor in messages.

    Raises:
        Refused: VFL0707, it is not what it says; VFL0708, its bytes are in a file that is not read.
    """
    from vflc_common.numpy import np

    shape, kind = tuple(tensor.dims), TYPES.get(tensor.data_type)
    if kind is None:
        refuse("VFL0709", f"{what} has elements of ONNX's type {tensor.data_type}", "save it as float32")
    if len(shape) > MOST_AXES or any(size < 0 for size in shape) or prod(shape) > MOST_VALUES:
        refuse("VFL0707", f"{what} has the sizes {str(list(shape))[:80]}", AGAIN)
    count = prod(shape)
    if kind == "string":
        return Numbers.listed(kind, shape, _texts(tensor, count, what))
    if tensor.data_location == 1:
        content = _elsewhere(tensor, folder, what, count * np.dtype(kind).itemsize)
    elif tensor.HasField("raw_data"):
        content = tensor.raw_data
    else:
        return Numbers.of_array(_listed(tensor, kind, count, what).reshape(shape))
    if len(content) != count * np.dtype(kind).itemsize:
        refuse("VFL0707", f"{what} has {len(content)} bytes for {count} elements of {kind}", AGAIN)
    return Numbers.of_bytes(kind, shape, content)


def _texts(tensor: Any, count: int, what: str) -> list[str]:
    if len(tensor.string_data) != count or tensor.data_location == 1:
        refuse("VFL0707", f"{what} has {len(tensor.string_data)} texts for {count} elements", AGAIN)
    try:
        return [text.decode("utf-8") for text in tensor.string_data]
    except UnicodeDecodeError:
        refuse("VFL0707", f"{what} has texts that are not UTF-8", AGAIN)


def _listed(tensor: Any, kind: str, count: int, what: str) -> Any:
    """Elements that the file lists one by one."""
    from vflc_common.numpy import np

    listed = getattr(tensor, FIELDS.get(kind, "int32_data"))
    if len(listed) != count:
        refuse("VFL0707", f"{what} has {len(listed)} elements, not {count}", AGAIN)
    if kind == "float16":
        kind = "uint16"  # its bits
    widest = "float64" if kind.startswith("float") else "uint64" if kind == "uint64" else "int64"
    values = np.array(listed, widest)
    with np.errstate(over="ignore"):
        found = values.astype(kind)
    if not np.array_equal(found, values, equal_nan=found.dtype.kind == "f"):
        refuse("VFL0707", f"{what} has elements that are no {kind}", AGAIN)
    return found.view("float16") if tensor.data_type == 10 else found


def _elsewhere(tensor: Any, folder: Path, what: str, size: int) -> bytes:
    """The bytes of a tensor in another file: beside or below the model's, and really there."""
    given = {entry.key: entry.value for entry in tensor.external_data}
    location = given.get("location", "")
    help = "keep the data file beside the model, where the export wrote it, or export into one file"
    base = Path(os.path.realpath(folder))
    path = Path(os.path.realpath(base / location)) if location and "\0" not in location else base
    if Path(location).is_absolute() or base not in path.parents:
        refuse("VFL0708", f"{what} lies in `{location[:80]}`, outside the model's folder", help)
    offset, length = _whole(given.get("offset"), 0), _whole(given.get("length"), size)
    if offset is None or length != size:
        asked = f"{str(given.get('length'))[:20]} bytes at {str(given.get('offset', 0))[:20]}"
        refuse("VFL0707", f"{what} has {asked} of `{location[:80]}`, and needs {size}", AGAIN)
    try:
        if not path.is_file() or path.stat().st_size < offset + size:
            refuse("VFL0708", f"{what} lies in `{location[:80]}`, which is not there or too short", help)
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError:
        refuse("VFL0708", f"{what} lies in `{location[:80]}`, which cannot be read", help)


def _whole(text: str | None, otherwise: int) -> int | None:
    if text is None:
        return otherwise
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 16 else None
