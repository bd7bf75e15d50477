"""How to align."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from vflc_runtime import files
from vflc_runtime.errors import Failure

METHODS = ("aligned", "hash", "psi")
SHORTEST_KEY = 16
READING = 3600.0
ROWS = 100_000_000
FOUND_BY_ALL = ("VFL0606", "VFL0660", "VFL0661", "VFL0664")
"""Failures that every party finds by itself: who finds one first need not tell, and may just leave."""


@dataclass(frozen=True, slots=True)
class AlignSettings:
    """What a party chooses; `hub` must be the same at all parties, and so must `key`.

    Args:
        hub: the party that compares; the one with the fewest rows where None.
        key: the shared key of the method `hash`; see `read_key`.
        cache: folder in which results are kept; nothing is kept where None.
        threads: of the method `psi`; a core each where None.
        reading: seconds that a peer may take to read and sort its table before it says a word.
        rows: the largest table that a peer may claim, since the time that all may take grows with it.
    """

    hub: str | None = None
    key: bytes | None = field(default=None, repr=False)
    cache: Path | None = None
    threads: int | None = None
    reading: float = READING
    rows: int = ROWS


def read_key(path: Path) -> bytes:
    """The shared key in a file: all of its bytes, white space at its end apart.

    Raises:
        Failure: VFL0663 where it cannot be read, or is too short to be hard to guess; VFL0659 where it is
            no secret.
    """
    try:
        key = path.read_bytes().rstrip()
    except OSError as error:
        raise _unusable(f"the shared key {path} cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(key) < SHORTEST_KEY:
        raise _unusable(f"the shared key {path} has {len(key)} bytes, fewer than {SHORTEST_KEY}")
    files.check_secret(path)
    return key


def check_settings(method: str, places: tuple[str, ...], settings: AlignSettings) -> None:
    """VFL0666 where they make no sense, VFL0663 where the shared key is missing."""
    if method not in METHODS:
        raise Failure(
            "VFL0666", f"there is no method {method!r} of alignment", f"use one of: {', '.join(METHODS)}"
        )
    if settings.hub is not None and settings.hub not in places:
        raise Failure(
            "VFL0666",
            f"the hub of the alignment is {settings.hub!r}, which has no table",
            f"name one of {', '.join(sorted(places))}, or leave the hub out",
        )
    if method == "hash" and settings.key is None:
        raise _unusable("the method hash needs a key that all parties share, but none was given")


def _unusable(message: str) -> Failure:
    return Failure(
        "VFL0663",
        message,
        "make one, `(umask 077; openssl rand -hex 32 > shared.key)`, and give it to all parties over a "
        "safe channel",
    )
