"""Files of values, one a line, which an encoder knows: what they may be, wherever they come from."""

from __future__ import annotations

from vflc_common.text import composed

SUFFIX = ".txt"
MOST_BYTES = 64 << 20
MOST_LISTED = 5_000_000
"""Values that a file may have."""
LONGEST_LINE = 10_000
"""Characters that a value may have."""


class ListedError(Exception):
    """A file is no list of values; the message says why."""


def values_of(content: bytes) -> list[str]:
    """The values of a file, in their order.

    Raises:
        ListedError: it is too large, is not UTF-8, or has no value, an empty, long or doubled one.
    """
    if len(content) > MOST_BYTES:
        raise ListedError(f"is larger than {MOST_BYTES >> 20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        raise ListedError(f"is not UTF-8, in line {line}") from None
    lines = [composed(line.removesuffix("\r")) for line in text.removesuffix("\n").split("\n")]
    if lines == [""]:
        raise ListedError("has no values")
    if len(lines) > MOST_LISTED:
        raise ListedError(f"has more than {MOST_LISTED:,} lines")
    first: dict[str, int] = {}
    for number, value in enumerate(lines, 1):
        if not value or len(value) > LONGEST_LINE or "\0" in value:
            why = "a zero byte" if "\0" in value else f"{len(value):,} characters" if value else "no value"
            raise ListedError(f"has {why} in line {number}")
        if first.setdefault(value, number) != number:
            raise ListedError(f"has the same value in lines {first[value]} and {number}")
    return lines
