"""The name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable

MOST_NAMES = 1_000
"""Beyond so many, only names of about the same length that start alike are compared."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate nearest to `name`, or None if none is near.

    Differences of case and a single letter always count as near; of equally near candidates the
    first in the alphabet is taken, so that messages do not depend on the order of a set.
    """
    names = sorted(set(candidates) - {name})
    for candidate in names:
        if candidate.lower() == name.lower():
            return candidate
    if len(names) > MOST_NAMES:
        alike = [n for n in names if n[:1] == name[:1] and abs(len(n) - len(name)) <= 1]
        names = alike[:MOST_NAMES]
    from difflib import get_close_matches

    found = get_close_matches(name, names, n=1, cutoff=0.6)
    return found[0] if found else None
