"""All users of MovieLens 1M, or rows like it: a table of who rated which movie how."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import Archive, Tables, main
from fedrecon.prepare import generated, ratings

USERS = 6040


def prepare(archive: Archive) -> Tables:
    """The ratings of all users."""
    return {"users": ratings(archive)}


def generate(rows: int, seed: int) -> Tables:
    """Rows of the same form; see `fedrecon/prepare.py`."""
    return {"users": generated(rows, seed, most=USERS)}


if __name__ == "__main__":
    sys.exit(main(__doc__, prepare, generate))
