"""Statistics of a column in one pass over its batches."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from vflc_common.numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 16 * sys.float_info.epsilon
"""Relative difference below which two numbers are taken for one."""


class Moments:
    """Mean, deviation and range of numbers that come in parts.

    Merged by the pairwise rule of Chan, Golub & LeVeque (1983), which stays exact where a sum of
    squares would lose everything to a large mean.
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, numbers: NDArray[np.float64]) -> None:
        """Takes in some more numbers [n]; all are finite."""
        if not len(numbers):
            return
        count, mean = len(numbers), float(numbers.mean())
        squares = float(np.square(numbers - mean).sum())
        total, apart = self.count + count, mean - self.mean
        self.squares += squares + apart * apart * self.count * count / total
        self.mean += apart * count / total
        self.count = total
        self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))

    @property
    def varies(self) -> bool:
        """Whether the numbers differ by more than what rounding makes of one and the same."""
        return self.high - self.low > ROUNDING * max(abs(self.low), abs(self.high))

    @property
    def std(self) -> float:
        """The population's standard deviation."""
        return float(np.sqrt(self.squares / self.count)) if self.count else 0.0
