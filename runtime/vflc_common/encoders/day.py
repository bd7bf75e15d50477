"""The day of a moment in its month."""

from __future__ import annotations

from typing import Any

from vflc_common.dates import DAY, date_of, days_into, part
from vflc_common.encoder import EncoderSettings


def day(value: Any, step: EncoderSettings) -> int:
    return date_of(value // DAY)[2]


ENCODER = part(
    "day",
    "The day of the month of a date or timestamp, from 1 to 31.",
    lambda moments: days_into(moments, "M"),
    day,
    "the day of the month of the moment in UTC, from 1 to 31",
    31,
)
