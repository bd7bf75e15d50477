"""SipHash-2-4 of many texts at once (Aumasson & Bernstein, 2012), as Keras's `Hashing(salt=…)` uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vflc_common.arrays import Words
from vflc_common.numpy import np

if TYPE_CHECKING:
    pass


def siphash(texts: Sequence[bytes], low: int, high: int) -> Words:
    """The 64-bit SipHash-2-4 [texts] of each text under the key (`low`, `high`), two numbers of 64 bits."""
    result = np.zeros(len(texts), np.uint64)
    blocks = np.fromiter((len(text) // 8 + 1 for text in texts), np.int64, len(texts))
    for count in np.unique(blocks):
        chosen = [int(i) for i in np.flatnonzero(blocks == count)]
        padded = b"".join(texts[i].ljust(8 * count - 1, b"\0") + bytes([len(texts[i]) & 255]) for i in chosen)
        words = np.frombuffer(padded, "<u8").astype(np.uint64).reshape(len(chosen), count)
        result[chosen] = _hashed(words, np.uint64(low), np.uint64(high))
    return result


def _hashed(words: Words, low: np.uint64, high: np.uint64) -> Words:
    start = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    v = [
        np.full(len(words), np.uint64(s) ^ k, np.uint64) for s, k in zip(start, (low, high) * 2, strict=True)
    ]
    for word in words.T:
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= np.uint64(255)
    _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _rounds(v: list[Words], count: int) -> None:
    for _ in range(count):
        v[0] += v[1]
        v[2] += v[3]
        v[1] = _rotated(v[1], 13) ^ v[0]
        v[3] = _rotated(v[3], 16) ^ v[2]
        v[0] = _rotated(v[0], 32)
        v[2] += v[1]
        v[0] += v[3]
        v[1] = _rotated(v[1], 17) ^ v[2]
        v[3] = _rotated(v[3], 21) ^ v[0]
        v[2] = _rotated(v[2], 32)


def _rotated(x: Words, bits: int) -> Words:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))
