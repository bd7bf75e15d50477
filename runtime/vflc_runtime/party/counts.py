"""Which keys and how many rows there are, told by the party whose rows are the joined ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Indices
from vflc_common.control import ALIGN_PRESENT, ALIGN_ROWS, ALIGN_WHICH

from vflc_runtime.errors import PEER, Failure
from vflc_runtime.party.peers import Peers, wrong

_NUMBER = np.dtype(">u4")


def tell_counts(peers: Peers, counts: Indices) -> None:
    """Tells every other place the rows of each common key, `counts` [keys], in the order of the keys."""
    told = counts.astype(_NUMBER).tobytes()
    peers.tell(ALIGN_ROWS.name, np.array([len(counts), counts.sum()], ">u8").tobytes())
    for start in range(0, len(told), ALIGN_ROWS.bytes):
        peers.tell(ALIGN_ROWS.name, told[start : start + ALIGN_ROWS.bytes])


def hear_counts(peers: Peers, many: str, keys: int | None, most: int) -> Indices:
    """The rows of each common key, [keys], as the party `many` tells them.

    Args:
        peers: the others.
        many: the party with many rows a key.
        keys: how many keys are common; None where this place does not know.
        most: the largest table that this place takes.

    Raises:
        Failure: VFL0655, what came is no such list; VFL0667, it is longer than this place takes.
    """
    kind = ALIGN_ROWS.name
    head = peers.hear(many, kind)
    if len(head) != 16:
        raise wrong(many, kind, f"has {len(head)} bytes instead of 16")
    told, rows = (int(number) for number in np.frombuffer(head, ">u8"))
    if rows > most:
        raise Failure(
            "VFL0667",
            f"{many} says it has {rows:,} common rows; this party takes at most {most:,}",
            "if the number is right, set rows = … in [align] of deploy.toml at all parties",
            exit_code=PEER,
        )
    if not 0 < told <= rows or told != (told if keys is None else keys):
        raise wrong(many, kind, f"counts the rows of {told} keys, where {keys or rows} are common")
    parts, left = [], told * _NUMBER.itemsize
    while left:
        part = peers.hear(many, kind)
        if len(part) != min(left, ALIGN_ROWS.bytes):
            raise wrong(many, kind, f"has {len(part)} bytes instead of {min(left, ALIGN_ROWS.bytes)}")
        parts.append(np.frombuffer(part, _NUMBER))
        left -= len(part)
    counts = np.concatenate(parts).astype(np.int64)
    if not counts.all() or counts.sum() != rows:
        raise wrong(many, kind, f"counts {counts.sum()} rows, where {rows} were said, or none of a key")
    return counts


def tell_present(peers: Peers, present: NDArray[np.bool_]) -> None:
    """Tells which common keys, [keys], the party has that may lack rows; to others only how many."""
    head = np.array([len(present), np.count_nonzero(present)], ">u8").tobytes()
    peers.tell(ALIGN_PRESENT.name, head)
    told = np.packbits(present).tobytes()
    for start in range(0, len(told), ALIGN_WHICH.bytes):
        peers.tell(ALIGN_WHICH.name, told[start : start + ALIGN_WHICH.bytes])


def hear_present(peers: Peers, first: str, keys: int | None, own: int | None, most: int) -> tuple[int, int]:
    """How many common keys there are, and how many of them the party has that may lack rows.

    Args:
        peers: the others.
        first: who tells.
        keys: how many there are, where this place knows.
        own: how many that party has, where this is it.
        most: the largest table that this place takes.

    Raises:
        Failure: VFL0655 where that cannot be.
    """
    kind = ALIGN_PRESENT.name
    head = peers.hear(first, kind)
    if len(head) != ALIGN_PRESENT.bytes:
        raise wrong(first, kind, f"has {len(head)} bytes instead of {ALIGN_PRESENT.bytes}")
    told, present = (int(number) for number in np.frombuffer(head, ">u8"))
    alike = keys in (None, told) and own in (None, present)
    if not alike or not 0 < present <= told <= most:
        raise wrong(first, kind, f"says that {present} of {told} keys are there, which cannot be")
    return told, present


def hear_which(peers: Peers, first: str, keys: int) -> NDArray[np.bool_]:
    """Which common keys, [keys], the party has that may lack rows; VFL0655 for what is no such list."""
    kind, size = ALIGN_WHICH.name, -(-keys // 8)
    parts = []
    for start in range(0, size, ALIGN_WHICH.bytes):
        part = peers.hear(first, kind)
        if len(part) != min(size - start, ALIGN_WHICH.bytes):
            raise wrong(
                first, kind, f"has {len(part)} bytes instead of {min(size - start, ALIGN_WHICH.bytes)}"
            )
        parts.append(np.frombuffer(part, np.uint8))
    return np.unpackbits(np.concatenate(parts), count=keys).astype(np.bool_)
