"""The kinds of control messages: all that places tell each other besides the values of the graph."""

from __future__ import annotations

from msgspec import Struct

from vflc_common.keys import MOST_LACKING

POINT = 33
"""Bytes of a compressed point of the curve P-256."""
HASH = 16
"""Bytes of a keyed hash. Among n keys in all, two that differ collide with a probability of at most
n² / 2¹²⁹: 1.5e-23 for a hundred million keys."""
POINTS = 8192
"""Points a message."""
HASHES = 16384
"""Hashes a message."""


COUNTS = 65_536
"""Numbers of rows a message."""


class Control(Struct, frozen=True):
    """What one kind of control message holds, when it is told, and how many bytes it has at most."""

    name: str
    bytes: int
    holds: str
    when: str


_ALIGN, _HASH, _PSI, _START = (
    "alignment", "alignment by hash", "alignment by psi", "at the start, after a restart",
)  # fmt: skip

HELLO = Control(
    "hello",
    4096,
    "digest of this manifest and of the Keras files, engine, version, settings of the run",
    _START,
)
READY = Control(
    "ready",
    1024,
    "numbers of aligned rows, and of those from tables to validate with, names of the checkpoints at hand",
    "when the data is loaded",
)
SAVED = Control("saved", 8, "the number of steps done", "when a checkpoint is written")
STOP = Control("stop", 8, "the number of steps done", "when somebody stops the run, at its end")
DONE = Control("done", 1, "that all is saved, that the place leaves", "at the end")
LOSS = Control("loss", 16, "the sender's terms of the loss, summed over the rows", "after each epoch")
MASK_KEY = Control("mask.key", 32, "an X25519 public key for the masks of sums", _START)
HELD_OUT = Control(
    "validation", 1 << 16, "which rows are kept for validation, a bit each", "when the data is loaded"
)
BEST = Control("best", 1, "whether the epoch was the best so far", "after each epoch")

ALIGN_HELLO = Control(
    "align.hello", 76, "method, hub, number of rows, a random number, the last alignment's name", _ALIGN
)
ALIGN_CHECK = Control("align.check", 32, "digest of the common keys, or of the shared key, salted", _ALIGN)
ALIGN_TURN = Control("align.turn", 8, "how many points the hub will send", _ALIGN)
ALIGN_HASHES = Control("align.hashes", HASH * HASHES, "keys, hashed with the shared key", _HASH)
ALIGN_SETUP = Control("align.setup", POINT * POINTS, "keys, as points under the sender's secret", _PSI)
ALIGN_REQUEST = Control("align.request", POINT * POINTS, "the hub's keys, as points under its secret", _PSI)
ALIGN_RESPONSE = Control(
    "align.response", POINT * POINTS, "the same points, under the sender's secret as well", _PSI
)
ALIGN_COUNT = Control("align.count", 8, "the number of common keys", _ALIGN)
ALIGN_COMMON = Control("align.common", HASH * HASHES, "the common keys, salted and hashed", _ALIGN)

ALIGN_ROWS = Control(
    "align.rows", 4 * COUNTS, "how many of the sender's rows each common key has, in their order", _ALIGN
)
ALIGN_PRESENT = Control(
    "align.present",
    8 << MOST_LACKING,
    "how many keys there are for each set of the parties that may lack rows and have them",
    _ALIGN,
)
ALIGN_WHICH = Control(
    "align.which", COUNTS, "of each key of the receiver which of those parties lack it, a byte each", _ALIGN
)

ALIGN_AT = Control(
    "align.at",
    4 * COUNTS,
    "of each joined row which key of a party with a part of the key it has, as numbers in the keys' order",
    _ALIGN,
)

ALWAYS = (HELLO, READY, SAVED, STOP, DONE)
"""What all places tell each other."""
ALIGNING = (
    ALIGN_HELLO, ALIGN_CHECK, ALIGN_TURN, ALIGN_HASHES, ALIGN_SETUP, ALIGN_REQUEST, ALIGN_RESPONSE,
    ALIGN_COUNT, ALIGN_COMMON,
)  # fmt: skip
"""What parties with tables tell each other, in the order of their use."""
