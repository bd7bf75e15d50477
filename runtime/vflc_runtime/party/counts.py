"""Which keys and how many rows there are, told by the party whose rows are the joined ones."""

from __future__ import annotations

import numpy as np
from vflc_common.arrays import Indices
from vflc_common.control import ALIGN_AT, ALIGN_PRESENT, ALIGN_ROWS, ALIGN_WHICH

from vflc_runtime.data.spread import ABSENT
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.party.peers import Peers, wrong

_NUMBER = np.dtype(">u4")
_ABSENT = 2**32 - 1


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


def tell_patterns(peers: Peers, lacks: Indices) -> None:
    """Tells all how many keys there are for each set of parties that lack them, from `lacks` [keys]."""
    found, times = np.unique(lacks, return_counts=True)
    counts = np.zeros(1 << len(peers.manifest.missing), ">u8")
    counts[found] = times
    peers.tell(ALIGN_PRESENT.name, counts.tobytes())


def hear_patterns(peers: Peers, first: str, most: int) -> Indices:
    """Who lacks each key, [keys], in order; a bit for each party that may lack rows.

    Args:
        peers: the others.
        first: who tells.
        most: the largest table that this place takes.

    Raises:
        Failure: VFL0655 where that cannot be.
    """
    kind, missing = ALIGN_PRESENT.name, len(peers.manifest.missing)
    told = peers.hear(first, kind)
    if len(told) != 8 << missing:
        raise wrong(first, kind, f"has {len(told)} bytes instead of {8 << missing}")
    counts = [int(number) for number in np.frombuffer(told, ">u8")]
    keys = sum(counts)
    lacked = [sum(n for pattern, n in enumerate(counts) if pattern >> bit & 1) for bit in range(missing)]
    if keys > most or max(lacked) >= keys:
        raise wrong(first, kind, f"says that {max(lacked)} of {keys} keys are lacked, which cannot be")
    return np.repeat(np.arange(len(counts)), counts)


def tell_which(peers: Peers, receiver: str, lacks: Indices) -> None:
    """Tells a party with a table who lacks each of its keys, [its keys], where it may hear that."""
    if receiver in peers.receivers(ALIGN_WHICH.name):
        told = lacks.astype(np.uint8).tobytes()
        for start in range(0, len(told), ALIGN_WHICH.bytes):
            peers.network.tell(receiver, ALIGN_WHICH.name, told[start : start + ALIGN_WHICH.bytes])


def hear_which(peers: Peers, first: str, keys: int) -> Indices:
    """Who lacks each of this party's common keys, [keys]; VFL0655 for what is no such list."""
    kind = ALIGN_WHICH.name
    parts = [np.zeros(0, np.uint8)]
    for start in range(0, keys, ALIGN_WHICH.bytes):
        part, due = peers.hear(first, kind), min(keys - start, ALIGN_WHICH.bytes)
        if len(part) != due:
            raise wrong(first, kind, f"has {len(part)} bytes instead of {due}")
        parts.append(np.frombuffer(part, np.uint8))
    return np.concatenate(parts).astype(np.int64)


def tell_at(peers: Peers, party: str, at: Indices) -> None:
    """Tells which of a party's keys each joined row has, `at` [rows], to all who must know.

    Its key is a part of the others'. To others than itself the keys of joined rows are numbered alone: how
    many more there are, and between which of these, is not for them.
    """
    head = len(at).to_bytes(8, "big")
    used = np.unique(at[at != ABSENT])
    for receiver in peers.receivers(ALIGN_AT.name):
        if peers.manifest.knows(receiver, party):
            numbers = at if receiver == party else np.searchsorted(used, at)
            told = np.where(at == ABSENT, _ABSENT, numbers).astype(_NUMBER).tobytes()
            peers.network.tell(receiver, ALIGN_AT.name, head)
            for start in range(0, len(told), ALIGN_AT.bytes):
                peers.network.tell(receiver, ALIGN_AT.name, told[start : start + ALIGN_AT.bytes])


def hear_at(peers: Peers, first: str, party: str, rows: int | None, most: int, may_lack: bool) -> Indices:
    """The same, [rows], with `ABSENT` where the party has none, if it may lack rows.

    Args:
        peers: the others.
        first: who tells.
        party: whose keys they are.
        rows: how many there are, where this place knows.
        most: the largest table that this place takes.
        may_lack: whether the party may lack rows.

    Raises:
        Failure: VFL0655 for what cannot be.
    """
    kind = ALIGN_AT.name
    head = peers.hear(first, kind)
    told = int.from_bytes(head, "big")
    if len(head) != 8 or not 0 < told <= most or told != (told if rows is None else rows):
        raise wrong(first, kind, f"says that {party} has keys in {told} rows, where that cannot be")
    parts, left = [], told * _NUMBER.itemsize
    while left:
        part = peers.hear(first, kind)
        if len(part) != min(left, ALIGN_AT.bytes):
            raise wrong(first, kind, f"has {len(part)} bytes instead of {min(left, ALIGN_AT.bytes)}")
        parts.append(np.frombuffer(part, _NUMBER))
        left -= len(part)
    at = np.concatenate(parts).astype(np.int64)
    at[at == _ABSENT] = ABSENT
    if at.max() == ABSENT or (not may_lack and at.min() == ABSENT):
        raise wrong(first, kind, f"leaves {party} without a row")
    return at
