"""Masked sums: pairwise masks that cancel, so that a receiver sees a sum and none of its terms.

Bonawitz et al., "Practical secure aggregation for privacy-preserving machine learning", 2017, without
its secret sharing: a party that drops out ends the run anyway. Keys are X25519, made anew in every
process; two places derive a key for each pair of their edges by HKDF, and a mask for each use of it
from a ChaCha20 stream. Values are fixed-point numbers modulo 2^64, so masks cancel exactly.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array
from vflc_common.words import PROGRAMS

from vflc_runtime.bundle.packing import Packing
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.errors import PEER, Failure


def scale(packing: Packing) -> float:
    """The largest power of two at which the sum of all members is below 2^62."""
    return 2.0 ** math.floor(62 - math.log2(packing.range * len(packing.members)))


class Masks:
    """One place's keys, and how often each was used.

    Args:
        edges: the masked edges that leave the place.
        digest: of the manifest; keys of two bundles have nothing in common.
    """

    def __init__(self, place: str, edges: Mapping[str, Packing], digest: str) -> None:
        self._place, self._digest, self._edges = place, digest, dict(edges)
        self._keys: dict[tuple[str, str], bytes] = {}
        self._uses: dict[tuple[str, str], int] = {}
        self._private: Any = None

    @property
    def peers(self) -> tuple[str, ...]:
        """The places whose public keys it needs, which need its own."""
        found = {place for packing in self._edges.values() for place in packing.places}
        return tuple(sorted(found - {self._place}))

    def public(self) -> bytes:
        """The public key, made at the first call; VFL0678 where the library for it is missing."""
        try:
            from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
        except ImportError:
            text = "masked sums are made by the library cryptography, which is not installed"
            raise Failure("VFL0678", text, "pip install 'vflc[masks]'") from None
        if self._private is None:
            self._private = X25519PrivateKey.generate()
        key: bytes = self._private.public_key().public_bytes_raw()
        return key

    def agree(self, publics: Mapping[str, bytes]) -> None:
        """Derives the keys of all pairs of edges from the peers' public keys.

        Raises:
            Failure: VFL0615, a public key is none.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        self.public()
        self._uses.clear()
        shared: dict[str, bytes] = {}
        for peer in self.peers:
            try:
                shared[peer] = self._private.exchange(X25519PublicKey.from_public_bytes(publics[peer]))
            except (ValueError, KeyError):
                text = f"{peer!r} sent no public key for masks"
                raise Failure("VFL0615", text, "run the same bundle at all parties", exit_code=PEER) from None
        for edge, packing in self._edges.items():
            for other, place in zip(packing.members, packing.places, strict=True):
                if place != self._place:
                    self._keys[edge, other] = self._derived(shared[place], packing, edge, other)

    def _derived(self, secret: bytes, packing: Packing, edge: str, other: str) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        pair = sorted((edge, other), key=packing.members.index)
        info = "\0".join(("vflc secure_sum", self._digest, packing.sum, *pair)).encode()
        return bytes(HKDF(SHA256(), 32, None, info).derive(secret))

    def mask(self, edge: str, packing: Packing, tensor: Array, program: str) -> Array:
        """The value [rows, …] in fixed point under its masks, int64: uniform for who has not all of the sum.

        Raises:
            Failure: VFL0675, a number is too large, or none.
        """
        if any((edge, other) not in self._keys for other in self._others(packing)):
            raise ValueError(f"no keys for the masks of {edge!r}: exchange them first")
        use = self._uses[edge, program] = self._uses.get((edge, program), 0) + 1
        total = _fixed(edge, packing, tensor)
        for other in self._others(packing):
            stream = _stream(self._keys[edge, other], program, use, tensor.size).reshape(tensor.shape)
            ahead = packing.members.index(edge) < packing.members.index(other)
            total = total + stream if ahead else total - stream
        return total.view(np.int64)

    def _others(self, packing: Packing) -> list[str]:
        pairs = zip(packing.members, packing.places, strict=True)
        return [other for other, place in pairs if place != self._place]


class Sums:
    """The receiving end: adds up, and gives the sum when all of it is there."""

    def __init__(self, edges: Mapping[str, Packing], precision: str) -> None:
        for edge, packing in edges.items():
            if edge not in packing.members:
                raise damaged(f"manifest.json: edge {edge!r} is no member of its masked sum")
        self._precision = precision
        self._totals: dict[str, tuple[set[str], Array]] = {}

    def add(self, edge: str, packing: Packing, tensor: Array) -> Array:
        """0, or the sum where this was the last of its values [*]; VFL0676 where it is out of range."""
        seen, total = self._totals.pop(packing.sum, (set(), np.zeros(tensor.shape, np.uint64)))
        seen.add(edge)
        total = total + tensor.view(np.uint64)
        if seen != set(packing.members):
            self._totals[packing.sum] = seen, total
            return np.zeros(tensor.shape, self._precision)
        numbers = total.view(np.int64).astype(np.float64) / scale(packing)
        if (np.abs(numbers) > packing.range * len(packing.members)).any():
            places = ", ".join(dict.fromkeys(packing.places))
            raise Failure(
                "VFL0676",
                f"the masked sum {packing.sum!r} is out of its range: the masks of {places} do not cancel",
                "run the same bundle at all parties and start them together; "
                "look for a party that was restarted alone",
                exit_code=PEER,
            )
        return numbers.astype(self._precision)

    def reset(self) -> None:
        """Forgets sums that are not complete."""
        self._totals.clear()


def _fixed(edge: str, packing: Packing, tensor: Array) -> NDArray[np.uint64]:
    numbers = np.ascontiguousarray(tensor, np.float64)
    wrong = ~(np.abs(numbers) <= packing.range)
    if wrong.any():
        raise Failure(
            "VFL0675",
            f"{edge} holds {numbers[wrong][0]:g}, but its masked sum only has room for magnitudes up to "
            f"{packing.range:g}",
            f"raise the range of the protection: range = {packing.range * 8:g}, or keep values small",
        )
    return np.rint(numbers * scale(packing)).astype(np.int64).view(np.uint64)


def _stream(key: bytes, program: str, use: int, count: int) -> NDArray[np.uint64]:
    """A mask: block counter 0 and a nonce that no other use of the key has."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

    nonce = struct.pack("<QQ", 0, use << 2 | PROGRAMS.index(program))
    made = Cipher(ChaCha20(key, nonce), None).encryptor().update(bytes(8 * count))
    return np.frombuffer(made, "<u8")
