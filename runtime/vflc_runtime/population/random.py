"""Random numbers of many users at once, each from the seed, a name and the user's own key alone.

So nothing depends on who runs together with whom. SplitMix64 (Steele, Lea & Flood 2014), keyed by
SHA-256, as a counter: element i of a stream is a hash of the stream's key plus i times an odd number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Indices, Words
from vflc_kernels.users import user_kernels

from vflc_runtime.bundle.plan import Initializer
from vflc_runtime.engines.initial import glorot_scale
from vflc_runtime.protect.noise import Noise
from vflc_runtime.protect.replay import noise_from

_ODD = np.uint64(0x9E3779B97F4A7C15)


def word(*key: object) -> np.uint64:
    """64 bits that depend on `key` only."""
    hashed = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.uint64(int.from_bytes(hashed[:8], "little"))


def secret_noise(*key: object) -> Noise:
    """Noise that depends on `key` only, and that nobody can foresee who does not know all of it."""
    return noise_from(hashlib.sha256("/".join(map(str, key)).encode()).digest())


def user_words(keys: Iterable[str]) -> Words:
    """64 bits for each user's key, uint64 [users]."""
    digests = b"".join(hashlib.sha256(key.encode()).digest()[:8] for key in keys)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def mixed(words: Words) -> Words:
    """SplitMix64's finisher of words [*]: every bit of a word in every bit of the result."""
    z = words.copy()
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def stream(users: Words, *key: object) -> Words:
    """A key [user] for each user's stream of this name."""
    return mixed(users ^ word(*key)) if len(users) else users


def at(streams: Words, positions: NDArray[np.int64]) -> Words:
    """The elements at `positions` [*] of streams [*], broadcast against each other."""
    return mixed(streams + (positions.astype(np.uint64) + np.uint64(1)) * _ODD)


def ranks(drawn: Words) -> Indices:
    """The positions of drawn words [n] in ascending order; of two that are equal the first comes first."""
    order = np.argsort(drawn)  # several times as fast as the stable one, and the same but where two are equal
    ascending = drawn[order]
    if (ascending[1:] == ascending[:-1]).any():
        order = np.argsort(drawn, kind="stable")
    return order.astype(np.int64, copy=False)


def uniform(streams: Words, size: int) -> NDArray[np.float64]:
    """Numbers in [0, 1): [user, size]."""
    kernels = user_kernels()
    if kernels is not None:
        return kernels.uniform(streams, size)
    words = at(streams[:, None], np.arange(size)[None])
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def initial_values(streams: Words, shape: tuple[int, ...], init: Initializer, dtype: str) -> NDArray[Any]:
    """The first values [user, *shape] of a local weight; drawn in float64, then cast to `dtype`."""
    users, size = len(streams), int(np.prod(shape, dtype=np.int64))
    if init.kind in ("zeros", "ones", "constant"):
        value = {"zeros": 0.0, "ones": 1.0, "constant": init.scale}[init.kind]
        return np.full((users, *shape), value, dtype)
    if init.kind == "normal":
        drawn = uniform(streams, 2 * size)
        radius = np.sqrt(-2.0 * np.log1p(-drawn[:, :size]))  # Box and Muller 1958
        flat = radius * np.cos(2.0 * np.pi * drawn[:, size:]) * init.scale
    else:
        scale = glorot_scale(shape) if init.kind == "glorot_uniform" else init.scale
        flat = (2.0 * uniform(streams, size) - 1.0) * scale
    return flat.astype(dtype).reshape(users, *shape)
