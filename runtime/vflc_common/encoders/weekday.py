"""The day of the week of a moment."""

from __future__ import annotations

from typing import Any

from vflc_common.dates import DAY, part
from vflc_common.encoder import EncoderSettings


def weekday(value: Any, step: EncoderSettings) -> int:
    """1970 began on a Thursday."""
    return int((value // DAY + 3) % 7)


ENCODER = part(
    "weekday",
    "The day of the week of a date or timestamp, from 0 for Monday to 6 for Sunday, as in Python.",
    lambda moments: (moments // DAY + 3) % 7,
    weekday,
    "the day of the week of the moment in UTC, from 0 for Monday to 6 for Sunday",
    7,
)
