"""What a codec is: it makes bytes of rows of numbers, and the same numbers of these, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from vflc_common.arrays import Array

CodecSettings = Mapping[str, int]


class Unreadable(Exception):
    """Bytes that no codec of these settings has made; its text says why."""


class RowFormat(Struct, frozen=True):
    """Rows as a codec meets them.

    Args:
        settings: of the codec.
        width: numbers a row.
        size: bytes of a number.
    """

    settings: CodecSettings
    width: int
    size: int


class Codec(Struct, frozen=True):
    """A codec by name, for numbers that a mechanism has left few of.

    Args:
        name: as in `packing` of the manifest.
        settings: the least and the most of each setting, whole numbers.
        bytes: how many make a row; `True` where the batch's range crosses beside it.
        pack: from rows [rows, width] and the range [2] or None to bytes [rows, bytes], in uint8.
        unpack: back, in the dtype of the last argument; `Unreadable` where nothing can have made these.
        by_range: whether the least and the largest number of the batch may cross beside the rows, once.
    """

    name: str
    settings: Mapping[str, tuple[int, int]]
    bytes: Callable[[RowFormat, bool], int]
    pack: Callable[[RowFormat, Array, Array | None], Array]
    unpack: Callable[[RowFormat, Array, Array | None, Any], Array]
    by_range: bool = False
