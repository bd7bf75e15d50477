"""Random instants that a test takes, of a seed that it prints: pytest shows it where the test fails."""

from __future__ import annotations

import os
import random


def seeded() -> random.Random:
    """Chance by a new seed, or by that of the environment: VFLC_SEED=NUMBER repeats it."""
    seed = int(os.environ.get("VFLC_SEED") or int.from_bytes(os.urandom(4), "big"))
    print(f"VFLC_SEED={seed}")
    return random.Random(seed)
