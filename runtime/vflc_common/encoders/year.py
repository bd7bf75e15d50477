"""The year of a moment."""

from __future__ import annotations

from typing import Any

from vflc_common.dates import DAY, date_of, dates, part
from vflc_common.encoder import EncoderSettings


def year(value: Any, step: EncoderSettings) -> int:
    return date_of(value // DAY)[0]


ENCODER = part(
    "year",
    "The year of a date or timestamp, such as 2024.",
    lambda moments: dates(moments, "Y") + 1970,
    year,
    "the year of the moment in UTC",
    None,
)
