"""The month of a moment."""

from __future__ import annotations

from typing import Any

from vflc_common.dates import DAY, date_of, dates, part
from vflc_common.encoder import EncoderSettings


def month(value: Any, step: EncoderSettings) -> int:
    return date_of(value // DAY)[1]


ENCODER = part(
    "month",
    "The month of a date or timestamp, from 1 to 12.",
    lambda moments: dates(moments, "M") % 12 + 1,
    month,
    "the month of the moment in UTC, from 1 to 12",
    12,
)
