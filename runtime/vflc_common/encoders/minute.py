"""The minute of a moment."""

from __future__ import annotations

from typing import Any

from vflc_common.dates import part
from vflc_common.encoder import EncoderSettings


def minute(value: Any, step: EncoderSettings) -> int:
    return int(value // 60_000_000 % 60)


ENCODER = part(
    "minute",
    "The minute of a timestamp in its hour, from 0 to 59.",
    lambda moments: moments // 60_000_000 % 60,
    minute,
    "the minute of the moment in UTC, from 0 to 59",
    60,
    ("timestamp",),
)
