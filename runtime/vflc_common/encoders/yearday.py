"""The day of a moment in its year."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc_common.dates import DAY, date_of, days_of, part
from vflc_common.encoder import EncoderSettings
from vflc_common.numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def yearday(value: Any, step: EncoderSettings) -> int:
    return int(value // DAY - days_of(date_of(value // DAY)[0], 1, 1) + 1)


def of_block(moments: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of moments [n] the days [n]."""
    days = moments // DAY
    years = days.astype("datetime64[D]").astype("datetime64[Y]")
    return days - years.astype("datetime64[D]").astype(np.int64) + 1


ENCODER = part(
    "yearday",
    "The day of the year of a date or timestamp, from 1 to 366.",
    of_block,
    yearday,
    "the day of the year of the moment in UTC, from 1 to 366",
    366,
)
