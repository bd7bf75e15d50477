"""The day of a moment in its year."""

from __future__ import annotations

from typing import Any

from vflc_common.dates import DAY, date_of, days_into, days_of, part
from vflc_common.encoder import EncoderSettings


def yearday(value: Any, step: EncoderSettings) -> int:
    return int(value // DAY - days_of(date_of(value // DAY)[0], 1, 1) + 1)


ENCODER = part(
    "yearday",
    "The day of the year of a date or timestamp, from 1 to 366.",
    lambda moments: days_into(moments, "Y"),
    yearday,
    "the day of the year of the moment in UTC, from 1 to 366",
    366,
)
