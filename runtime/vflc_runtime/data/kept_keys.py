"""The keys of all rows as one array, in memory or in files as encoded columns are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vflc_runtime.data.column_buffer import ColumnBuffer, Room

LARGE = 1 << 31
"""Bytes of text that Arrow's type `string` cannot hold."""


def kept_keys(
    blocks: Iterable[pa.Array], folder: Path, room: Room
) -> tuple[pa.Array, tuple[NDArray[Any], ...]]:
    """The keys as text [rows], from blocks of them [n]; those that find no `room` lie in `folder`.

    Of 2 GiB and more, their type is `large_string`. Also gives the arrays that the keys lie in.
    """
    texts = ColumnBuffer(folder / "keys", np.dtype(np.uint8), room)
    ends = ColumnBuffer(folder / "keys.ends", np.dtype(np.int32), room)
    kind, size, rows = pa.string(), 0, 0
    ends.append(np.zeros(1, np.int32))
    for block in blocks:
        offsets, text = _parts(block)
        if kind == pa.string() and size + len(text) >= LARGE:
            kind, before = pa.large_string(), ends.finish()
            ends = ColumnBuffer(folder / "keys.ends.large", np.dtype(np.int64), room)
            for start in range(0, len(before), len(block)):
                ends.append(before[start : start + len(block)])
        ends.append(offsets[1:] + size)
        texts.append(text)
        size += len(text)
        rows += len(block)
    at, text = ends.finish(), texts.finish()
    return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(at), pa.py_buffer(text)]), (at, text)


def _parts(block: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Where each text of a block begins and the last one ends, [n + 1], and the bytes of all of them."""
    if not len(block):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, offsets, texts = block.buffers()
    at = np.frombuffer(offsets, np.int32)[block.offset : block.offset + len(block) + 1].astype(np.int64)
    whole: NDArray[Any] = np.zeros(0, np.uint8) if texts is None else np.frombuffer(texts, np.uint8)
    return at - at[0], whole[at[0] : at[-1]]
