"""Tensors in safetensors files, some rows at a time: nothing is copied whole, to be written or to be read."""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 1 << 22
"""Of what is copied at once."""
NAMES = {
    "uint64": "U64", "int64": "I64", "float64": "F64", "float32": "F32", "uint32": "U32", "int32": "I32",
    "float16": "F16", "uint16": "U16", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
"""What a file calls types of numbers, in the order in which tensors stand in it."""
_ORDER = [*NAMES]


@dataclass(frozen=True, slots=True)
class MadeRows:
    """A tensor [rows, …] that is nowhere as a whole: `make` gives its rows in order, a block at a time."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    make: Callable[[], Iterator[NDArray[Any]]]

    @property
    def nbytes(self) -> int:
        """Of all rows."""
        return math.prod(self.shape) * self.dtype.itemsize


AnyTensor = NDArray[Any] | MadeRows
Tensors = Mapping[str, NDArray[Any]]
"""By name."""


def blocks(tensor: AnyTensor) -> Iterator[NDArray[Any]]:
    """The numbers of a tensor [*] in order, in arrays that lie in one piece."""
    if isinstance(tensor, MadeRows):
        yield from map(np.ascontiguousarray, tensor.make())
    elif tensor.flags.c_contiguous:
        yield tensor
    else:
        rows = max(1, BLOCK_BYTES * len(tensor) // max(1, tensor.nbytes))
        for start in range(0, len(tensor), rows):
            yield np.ascontiguousarray(tensor[start : start + rows])


def taken(array: NDArray[Any], rows: NDArray[np.int64]) -> MadeRows:
    """Some rows [n] of an array [rows, …], which are taken out when they are written."""
    count = max(1, BLOCK_BYTES * len(array) // max(1, array.nbytes))

    def make() -> Iterator[NDArray[Any]]:
        for start in range(0, len(rows), count):
            yield array[rows[start : start + count]]

    return MadeRows((len(rows), *array.shape[1:]), array.dtype, make)


def content(tensors: Mapping[str, AnyTensor], metadata: Mapping[str, str]) -> Iterator[memoryview]:
    """A safetensors file of these, byte by byte what its own library makes."""
    names = sorted(tensors, key=lambda name: (_ORDER.index(tensors[name].dtype.name), name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        tensor = tensors[name]
        start, end = end, end + tensor.nbytes
        kind = NAMES[tensor.dtype.name]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for name in names:
        for block in blocks(tensors[name]):
            yield block.reshape(-1).view(np.uint8).data


def mapped(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors [*] of a safetensors file where they lie; what is written to them stays here."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    header.pop("__metadata__", None)
    types = {short: name for name, short in NAMES.items()}
    found: dict[str, NDArray[Any]] = {}
    for name, about in header.items():
        shape, dtype, start = tuple(about["shape"]), np.dtype(types[about["dtype"]]), about["data_offsets"][0]
        numbers = np.frombuffer(content, dtype, math.prod(shape), 8 + size + start if math.prod(shape) else 0)
        found[name] = numbers.reshape(shape)
    return found
