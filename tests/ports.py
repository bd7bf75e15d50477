"""Ports for what a test starts."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

FIRST, LAST = 20_000, 32_000
"""Below the ports that systems give to who dials: between choice and use only who listens could take one.

And above those that Ray keeps for its workers.
"""


def free_ports(count: int) -> list[int]:
    """Different ports on loopback on which nobody listens, at random: other tests choose at the same time."""
    chosen: list[int] = []
    for port in random.SystemRandom().sample(range(FIRST, LAST), LAST - FIRST):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise AssertionError("no port is free")
