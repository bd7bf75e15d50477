"""The hour of a moment, as an id."""

import re

from vflc_common.encoder import Encoder, EncoderSettings, Python, Suits

MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?: |T)(2[0-3]|[01][0-9]):[0-5][0-9]")


def clock(text: str, step: EncoderSettings) -> int | None:
    """0 to 23 of `2024-01-31 08:30:00`; None of any other text."""
    found = MOMENT.match(text)
    return int(found[1]) if found else None


ENCODER = Encoder(
    name="clock",
    doc="The hour of `2024-01-31 08:30:00`, an id from 0 to 23. Any other text is missing.",
    step="the two digits after the date and a space or `T`; missing if they are not an hour",
    reads=("string",),
    gives="id",
    codes=lambda settings: 24,
    python=Python(clock),
    suits=lambda settings: Suits(listed=[f"2024-01-31 {hour:02}:30:00" for hour in range(24)]),
)
