"""MovieLens 1M, or rows like it: alice has a row for each of most users, bob a row for each rating."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import Archive, Tables, main, shuffled
from deepfm import prepare as deepfm

LACKED = 10
"""Of so many users alice knows one less."""


def prepare(archive: Archive) -> Tables:
    """The tables of the published files, by user."""
    return _by_user(deepfm.prepare(archive))


def generate(rows: int, seed: int) -> Tables:
    """`rows` ratings of the same form, with a planted signal."""
    return _by_user(deepfm.generate(rows, seed))


def _by_user(tables: Tables) -> Tables:
    """Of tables by the number of the rating: users once, without every `LACKED`th, and ratings by user."""
    alice, bob = (pa.table(tables[party]).sort_by("ID") for party in ("alice", "bob"))
    ratings = bob.set_column(0, "UserID", alice["UserID"])
    profile = ["UserID", "Gender", "Age", "Occupation"]
    users = alice.select(profile).group_by(profile).aggregate([]).sort_by("UserID")
    users = users.filter(
        pc.not_equal(users["UserID"], pc.multiply(pc.divide(users["UserID"], LACKED), LACKED))
    )
    users = users.append_column("User", users["UserID"])
    return {"alice": shuffled(users, 1), "bob": shuffled(ratings, 2)}


if __name__ == "__main__":
    sys.exit(main(__doc__, prepare, generate))
