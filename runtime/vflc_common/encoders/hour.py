"""The hour of a moment."""

from __future__ import annotations

from typing import Any

from vflc_common.dates import DAY, part
from vflc_common.encoder import EncoderSettings


def hour(value: Any, step: EncoderSettings) -> int:
    return int(value % DAY // 3_600_000_000)


ENCODER = part(
    "hour",
    "The hour of a timestamp, from 0 to 23.",
    lambda moments: moments % DAY // 3_600_000_000,
    hour,
    "the hour of the moment in UTC, from 0 to 23",
    24,
    ("timestamp",),
)
