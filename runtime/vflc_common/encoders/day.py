"""The day of a moment in its month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc_common.dates import DAY, date_of, part
from vflc_common.encoder import EncoderSettings
from vflc_common.numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def day(value: Any, step: EncoderSettings) -> int:
    return date_of(value // DAY)[2]


def of_block(moments: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of moments [n] the days [n]."""
    days = moments // DAY
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    return days - months.astype("datetime64[D]").astype(np.int64) + 1


ENCODER = part(
    "day",
    "The day of the month of a date or timestamp, from 1 to 31.",
    of_block,
    day,
    "the day of the month of the moment in UTC, from 1 to 31",
    31,
)
