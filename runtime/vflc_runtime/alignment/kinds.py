"""What parties tell each other while they align: the kinds of control messages and their bounds."""

from __future__ import annotations

from dataclasses import dataclass

POINT = 33
"""Bytes of a compressed point of the curve P-256."""
HASH = 16
"""Bytes of a keyed hash. Among n keys in all, two that differ collide with a probability of at most
n² / 2¹²⁹: 1.5e-23 for a hundred million keys."""
POINTS = 8192
"""Points a message."""
HASHES = 16384
"""Hashes a message."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of message.

    Args:
        name: as the manifest declares it.
        bytes: of the largest message.
        holds: what is in it.
    """

    name: str
    bytes: int
    holds: str


HELLO = Kind("align.hello", 76, "method, hub, number of rows, a random number, the alignment last kept")
CHECK = Kind("align.check", 32, "digest of the common keys, or of the shared key, under this run's salt")
TURN = Kind("align.turn", 8, "the hub asks for the receiver's keys, and how many points it will send")
HASHED = Kind("align.hashes", HASH * HASHES, "all keys, hashed with the shared key")
SETUP = Kind("align.setup", POINT * POINTS, "all keys as points under the sender's secret")
REQUEST = Kind("align.request", POINT * POINTS, "the hub's remaining keys as points under its secret")
RESPONSE = Kind("align.response", POINT * POINTS, "the same points, under the sender's secret as well")
COUNT = Kind("align.count", 8, "the number of common keys")
COMMON = Kind("align.common", HASH * HASHES, "the common keys, hashed with this run's salt")

KINDS = (HELLO, CHECK, TURN, HASHED, SETUP, REQUEST, RESPONSE, COUNT, COMMON)
"""All of them, in the order of their use; any party with a table may tell each to any other."""
