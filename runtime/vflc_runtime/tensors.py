"""Tensors in safetensors files, some rows at a time: nothing is copied whole, to be written or to be read."""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.memory import ask_for, far_file

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
AnyTensors = Mapping[str, AnyTensor]
"""By name."""


def blocks(tensor: AnyTensor) -> Iterator[NDArray[Any]]:
    """The numbers of a tensor [*] in order, in arrays that lie in one piece."""
    if isinstance(tensor, MadeRows):
        yield from map(np.ascontiguousarray, tensor.make())
    elif tensor.flags.c_contiguous and far_file(tensor) is None:
        yield tensor
    else:
        rows = _rows_at_once(tensor)
        for start in range(0, len(tensor), rows):
            ask_for(tensor, np.arange(start, min(start + 2 * rows, len(tensor))))
            yield np.ascontiguousarray(tensor[start : start + rows])


def taken(array: NDArray[Any], rows: NDArray[np.int64]) -> MadeRows:
    """Some rows [n] of an array [rows, …], which are taken out when they are written."""
    count = _rows_at_once(array)

    def make() -> Iterator[NDArray[Any]]:
        for start in range(0, len(rows), count):
            ask_for(array, rows[start : start + count])
            yield array[rows[start : start + count]]

    return MadeRows((len(rows), *array.shape[1:]), array.dtype, make)


def with_rows(array: NDArray[Any], changes: Sequence[tuple[NDArray[np.int64], NDArray[Any]]]) -> MadeRows:
    """An array [rows, …] with other rows in some places, put one after the other; none of it is copied whole.

    Args:
        array: where it lies.
        changes: which rows, [n] ascending, and what they are, [n, …].
    """
    count = _rows_at_once(array)

    def make() -> Iterator[NDArray[Any]]:
        for start in range(0, len(array), count):
            block = array[start : start + count].copy()
            for at, rows in changes:
                first, end = np.searchsorted(at, (start, start + count))
                block[at[first:end] - start] = rows[first:end]
            yield block

    return MadeRows(array.shape, array.dtype, make)


def put(target: NDArray[Any], tensor: AnyTensor) -> None:
    """Sets an array [rows, …] to a tensor of its shape."""
    if not isinstance(tensor, MadeRows) and far_file(target) is None:
        target[...] = tensor
        return
    start = 0
    for block in tensor.make() if isinstance(tensor, MadeRows) else _in_blocks(tensor):
        ask_for(target, np.arange(start, start + len(block)))
        target[start : start + len(block)] = block
        start += len(block)


def _rows_at_once(array: NDArray[Any]) -> int:
    """How many rows of an array [rows, …] are copied at once."""
    return max(1, BLOCK_BYTES * len(array) // max(1, array.nbytes))


def _in_blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """An array [rows, …] some rows at a time."""
    count = _rows_at_once(array)
    return (array[start : start + count] for start in range(0, len(array), count))


def whole(tensor: AnyTensor) -> NDArray[Any]:
    """A tensor [*] in memory or in its file."""
    if not isinstance(tensor, MadeRows):
        return tensor
    found = np.empty(tensor.shape, tensor.dtype)
    put(found, tensor)
    return found


def arrays(tensors: AnyTensors) -> dict[str, NDArray[Any]]:
    """All of these [*] in memory or in their files."""
    return {name: whole(tensor) for name, tensor in tensors.items()}


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
