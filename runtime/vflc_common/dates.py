"""Moments as whole microseconds since 1970 began in UTC: read from their text, written, and their parts.

The calendar is the Gregorian one, also before it was used, as Python, Arrow and DuckDB have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vflc_common.arrow import pa, pc
from vflc_common.encoder import Encoder, EncoderSettings, Kind, Python
from vflc_common.numpy import np
from vflc_common.values import Values

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY = 86_400_000_000
"""Microseconds."""
ISO_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?"
    r"(Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)?"
)
"""What a text has to be to be read as a date or a timestamp: ISO 8601, with a blank or a T between."""


def days_of(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, `days_from_civil`)."""
    year -= month <= 2
    shifted = (month + 9) % 12  # years begin in March: the leap day is the last
    of_year = (153 * shifted + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + of_year - 719468


def date_of(days: int) -> tuple[int, int, int]:
    """The year, month and day so many days after 1970-01-01; the inverse of `days_of`."""
    days += 719468
    era, of_era = days // 146097, days % 146097
    of_400 = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * of_400 + of_400 // 4 - of_400 // 100)
    shifted = (5 * of_year + 2) // 153
    month = (shifted + 2) % 12 + 1
    return era * 400 + of_400 + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1


def moment_of(text: str) -> int | None:
    """A text as a moment; one without a time zone is in UTC. None where it is none."""
    found = ISO_MOMENT.fullmatch(text.strip(" "))
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    if year == 0 or date_of(days_of(year, month, day)) != (year, month, day):
        return None
    seconds = 60 * (60 * hour + minute) + second
    if found[8] and found[8] != "Z":
        apart = 60 * int(found[8][1:3]) + int(found[8][3:].removeprefix(":") or 0)
        seconds += (60 if found[8][0] == "-" else -60) * apart
    return days_of(year, month, day) * DAY + seconds * 1_000_000 + int((found[7] or "")[:6].ljust(6, "0"))


def shown(moment: int, day: bool) -> str:
    """A moment as its text, or the text of its day, for years of four digits."""
    days, rest = divmod(moment, DAY)
    year, month, number = date_of(days)
    text = f"{year:04}-{month:02}-{number:02}"
    if day:
        return text
    seconds, micros = divmod(rest, 1_000_000)
    return f"{text} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}"


def part(
    name: str,
    doc: str,
    block: Callable[[NDArray[np.int64]], NDArray[Any]],
    one: Callable[[Any, EncoderSettings], Any],
    step: str,
    different: int | None,
    reads: tuple[Kind, ...] = ("date", "timestamp"),
) -> Encoder:
    """The encoder of a part of a moment, a whole number.

    Args:
        name: in a spec.
        doc: as of every encoder.
        block: from moments [n] to the part of each [n].
        one: the same of one moment.
        step: as of every encoder.
        different: how many values the part has.
        reads: what it may follow.
    """

    def encode(values: Values, settings: EncoderSettings) -> Values:
        null = pc.is_null(values.flat).to_numpy(zero_copy_only=False)
        moments = values.flat.fill_null(0).to_numpy(zero_copy_only=False)
        return values.with_flat(pa.array(block(moments).astype(np.int64), mask=null))

    return Encoder(
        name=name,
        doc=doc,
        step=step,
        reads=reads,
        gives="int",
        python=Python(one),
        encode=encode,
        different=different,
        keeps_units=True,
        misfit="declare the column as timestamp" if reads == ("timestamp",) else MISFIT,
    )


MISFIT = "declare the column as date or timestamp"


def dates(moments: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    """Moments [n] as whole days (`D`), months (`M`) or years (`Y`) since 1970 began [n]."""
    return (moments // DAY).astype("datetime64[D]").astype(f"datetime64[{unit}]").astype(np.int64)


def days_into(moments: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    """Of moments [n] the day of the month (`M`) or year (`Y`) that each is in, from 1 [n]."""
    days = (moments // DAY).astype("datetime64[D]")
    first = days.astype(f"datetime64[{unit}]").astype("datetime64[D]")
    return days.astype(np.int64) - first.astype(np.int64) + 1
