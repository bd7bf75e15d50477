"""Random numbers that nobody can foresee: from the system's cryptographic generator, new in every run."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array

Bytes = Callable[[int], bytes]
"""Gives so many random bytes."""

SUMMANDS = 4
"""Normal numbers that are added up to one.

A single one by Box and Muller's method shows in its last bits which value it was added to; of a sum
of four the bits that would tell cannot be found in practice (Holohan & Braghin, "Secure random
sampling in differential privacy", 2021).
"""


class Noise:
    """Numbers made of random bytes.

    Args:
        source: where the bytes come from; the operating system's generator but in tests.
    """

    def __init__(self, source: Bytes = os.urandom) -> None:
        self._source = source

    def uniform(self, count: int) -> Array:
        """Numbers above 0, up to and with 1, float64 [count], each a multiple of 2^-53."""
        words = np.frombuffer(self._source(8 * count), "<u8")
        found: Array = ((words >> np.uint64(11)) + np.uint64(1)) * 2.0**-53
        return found

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Standard normal numbers, float64 [*shape]."""
        count = int(np.prod(shape))
        pairs = -(-count * SUMMANDS // 2)
        radius = np.sqrt(-2.0 * np.log(self.uniform(pairs)))
        angle = (2.0 * np.pi) * self.uniform(pairs)
        parts = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[: count * SUMMANDS]
        whole: Array = parts.reshape(SUMMANDS, count).sum(0) / np.sqrt(SUMMANDS)
        return whole.reshape(shape)

    def shifts(self, count: int, keep: float, classes: int) -> NDArray[np.int64]:
        """0 with the probability `keep`, else one of 1 to `classes` - 1, each as likely: int64 [count]."""
        moved = self.uniform(count) > keep
        steps = 1 + np.minimum((self.uniform(count) * (classes - 1)).astype(np.int64), classes - 2)
        return np.where(moved, steps, 0)
