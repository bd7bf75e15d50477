"""Keys of one column or of several, as the files of a bundle hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def key_json(names: Sequence[str]) -> str | list[str] | None:
    """What a file says of a key: a name, several, or nothing where a party has no table."""
    return names[0] if len(names) == 1 else list(names) or None


MOST_LACKING = 7
"""Parties of a spec that may lack rows: which of them lack a row is a byte, with one value to spare."""


def has_many(party: Mapping[str, Any]) -> bool:
    """Whether a party's table has many rows a key, beside which others have one."""
    return party.get("rows_per_key") == "many"


def may_lack(party: Mapping[str, Any]) -> bool:
    """Whether a party may lack rows that others have."""
    return bool(party.get("missing"))


def key_part(party: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Which columns of the joined rows' key, counted from 0, are a party's; None where it is the whole."""
    part = party.get("part_of_key")
    return None if part is None else tuple(part)


def key_columns(party: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a party's key columns, as its table calls them; none where it has no table."""
    key = party.get("key")
    return (key,) if isinstance(key, str) else tuple(key or ())
