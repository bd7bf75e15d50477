"""A party's own keys, in the order that all parties find by themselves."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from vflc_common.control import HASH

from vflc_runtime.errors import Failure

Ranks = NDArray[np.int64]
"""Places of keys in the order of their bytes, ascending."""


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
        self.order: NDArray[np.int64] = pc.sort_indices(values).to_numpy().astype(np.int64)
        self.texts: list[bytes] = values.take(pa.array(self.order)).to_pylist()
        self._check(party, values.null_count)

    def __len__(self) -> int:
        return len(self.texts)

    def _check(self, party: str, missing: int) -> None:
        blank = missing or sum(not text.strip(b" \t\n\f\r") for text in self.texts)
        if blank:
            raise Failure(
                "VFL0616",
                f"{party} has rows without a key: {blank}",
                "leave such rows out of the source: every row needs a key",
            )
        doubled = sum(a == b for a, b in pairwise(self.texts))
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
        texts = self.texts if ranks is None else [self.texts[rank] for rank in ranks]
        blake, key = hashlib.blake2b, hashlib.blake2b(key).digest()
        joined = b"".join([blake(text, digest_size=HASH, key=key).digest() for text in texts])
        return np.frombuffer(joined, dtype=f"S{HASH}")

    def digest(self, key: bytes, ranks: Ranks | None = None) -> bytes:
        """32 bytes by which two parties see whether the keys `ranks` are equal, and nothing else."""
        return hashlib.blake2b(self.hashes(key, ranks).tobytes(), digest_size=32, key=key).digest()

    def fingerprint(self) -> bytes:
        """SHA-256 of the keys and of the order of their rows. It stays at this party."""
        seen = hashlib.sha256(len(self).to_bytes(8, "big"))
        for text in self.texts:
            seen.update(len(text).to_bytes(8, "big") + text)
        seen.update(self.order.tobytes())
        return seen.digest()
