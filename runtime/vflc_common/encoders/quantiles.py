"""Ids of ranges that hold as many training rows each."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from vflc_common.encoder import (
    ArgumentType,
    Encoder,
    EncoderParameter,
    EncoderSettings,
    Fit,
    Python,
    is_number,
    whole,
)
from vflc_common.encoders.bucketize import of_block
from vflc_common.encoding import of_numbers
from vflc_common.numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 1000
"""Ranges that a column may be cut into."""
NOWHERE = sys.float_info.max
"""An edge that no number reaches. What never varied in the training rows tells nothing."""


def are_edges(value: Any) -> bool:
    """Whether a value is a list of increasing numbers."""
    numbers = isinstance(value, list) and bool(value) and all(map(is_number, value))
    return numbers and all(a < b for a, b in pairwise(value))


def wrong(settings: EncoderSettings, kind: str) -> str | None:
    edges = settings["edges"]
    few = edges is None or len(edges) < settings["n"]
    return None if few else f"{len(edges)} edges make more than {settings['n']} ranges"


class Sorted:
    """All numbers of a column, so that the order in which rows come makes no difference."""

    def __init__(self) -> None:
        self.count, self._parts = 0, list[Any]()

    def add(self, numbers: NDArray[np.float64]) -> None:
        """Takes in some more numbers [n]; all are finite."""
        self.count += len(numbers)
        self._parts.append(numbers)

    def edges(self, ranges: int) -> list[float]:
        """Where to cut: numbers of the column, each greater than the one before and than the least."""
        numbers = np.sort(np.concatenate(self._parts))
        cuts = np.unique(numbers[np.arange(1, ranges) * len(numbers) // ranges])
        return [float(cut) for cut in cuts if cut > numbers[0]] or [NOWHERE]


def quantiles(value: float, step: EncoderSettings) -> int:
    return sum(edge <= float(value) for edge in step["edges"])


ENCODER = Encoder(
    name="quantiles",
    doc="The range that the value falls into, of `n` that hold as many training rows each: an id from 0 to "
    "`n` - 1. The `edges` between them are values of the party's aligned training rows, unless they are "
    "given; equal ones are one, so that there may be fewer ranges.",
    step="how many `edges` are not greater than the number",
    reads=("int", "float"),
    gives="id",
    parameters=(
        EncoderParameter("n", whole(2, MOST), needed=True),
        EncoderParameter("edges", ArgumentType("a list of increasing numbers", are_edges)),
    ),
    wrong=wrong,
    python=Python(quantiles),
    encode=of_numbers(of_block),
    codes=lambda settings: int(settings["n"]),
    fit=Fit(
        start=Sorted,
        result=lambda numbers, settings: {"edges": numbers.edges(settings["n"])},
        settled=lambda settings: {"name": "bucketize", "edges": settings["edges"]},
        neutral={"edges": [NOWHERE]},
    ),
    known_as={"qcut quantile decile deciles percentile percentiles": "write quantiles(10)"},
)
