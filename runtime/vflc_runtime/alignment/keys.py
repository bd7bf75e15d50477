"""A party's own keys, in the order that all parties find by themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from vflc_common.control import HASH

from vflc_runtime.errors import Failure

Ranks = NDArray[np.int64]
"""Places of keys in the order of their bytes, ascending."""
BLOCK = 1 << 16
"""Keys that are Python's own bytes at a time."""


class SortedKeys:
    """The keys of a table, sorted by their bytes, as a run in one process sorts them.

    Args:
        party: whose they are.
        values: the keys as text [rows], in the order of the rows.

    Raises:
        Failure: VFL0605 where a key is there twice, VFL0616 where one is missing or blank.
    """

    def __init__(self, party: str, values: pa.Array | pa.ChunkedArray) -> None:
        values = pa.chunked_array(values) if isinstance(values, pa.Array) else values
        values = values.cast(pa.large_binary()).combine_chunks()
        order = pc.sort_indices(values)
        self._sorted = values.take(order)
        self.order: Ranks = order.to_numpy().view(np.int64)
        self._check(party, values.null_count)

    def __len__(self) -> int:
        return len(self._sorted)

    def texts(self, ranks: Ranks | None = None) -> list[bytes]:
        """The keys `ranks` [keys], or all, in order."""
        return [text for block in self._blocks(ranks) for text in block]

    def _blocks(self, ranks: Ranks | None = None) -> Iterator[list[bytes]]:
        """The same, some at a time: what Python makes of a text is several times as large."""
        for start in range(0, len(self) if ranks is None else len(ranks), BLOCK):
            if ranks is None:
                yield self._sorted.slice(start, BLOCK).to_pylist()
            else:
                yield self._sorted.take(pa.array(ranks[start : start + BLOCK])).to_pylist()

    def _check(self, party: str, missing: int) -> None:
        blank = missing or sum(not text.strip(b" \t\n\f\r") for block in self._blocks() for text in block)
        if blank:
            raise Failure(
                "VFL0616",
                f"{party} has rows without a key: {blank}",
                "leave such rows out of the source: every row needs a key",
            )
        doubled = pc.sum(pc.equal(self._sorted[1:], self._sorted[:-1])).as_py()
        if doubled:
            raise Failure(
                "VFL0605",
                f"{party} has the same key in several rows, {doubled} times",
                "choose a key column that identifies a row, or leave the other rows out",
            )

    def positions(self, ranks: Ranks) -> NDArray[np.int64]:
        """The rows [keys] with the keys `ranks` [keys]."""
        return self.order[ranks]

    def hashes(self, key: bytes, ranks: Ranks | None = None) -> NDArray[Any]:
        """Keyed BLAKE2b (RFC 7693), 16 bytes each, `S16` [keys], of the keys `ranks`, or of all, in order."""
        blake, key = hashlib.blake2b, hashlib.blake2b(key).digest()
        found = bytearray()
        for block in self._blocks(ranks):
            found += b"".join([blake(text, digest_size=HASH, key=key).digest() for text in block])
        return np.frombuffer(found, dtype=f"S{HASH}")

    def digest(self, key: bytes, ranks: Ranks | None = None) -> bytes:
        """32 bytes by which two parties see whether the keys `ranks` are equal, and nothing else."""
        return hashlib.blake2b(self.hashes(key, ranks).view(np.uint8).data, digest_size=32, key=key).digest()

    def fingerprint(self) -> bytes:
        """SHA-256 of the keys and of the order of their rows. It stays at this party."""
        seen = hashlib.sha256(len(self).to_bytes(8, "big"))
        for block in self._blocks():
            seen.update(b"".join([len(text).to_bytes(8, "big") + text for text in block]))
        seen.update(np.ascontiguousarray(self.order).view(np.uint8).data)
        return seen.digest()
