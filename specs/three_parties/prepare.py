"""MovieLens 1M, or rows like it: alice has profiles, bob the catalogue, carol who rated how."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import pyarrow as pa
from common import Archive, Tables, main, shuffled
from deepfm import prepare as movielens


def prepare(archive: Archive) -> Tables:
    """The tables of the published files: `users.dat`, `movies.dat` and `ratings.dat`."""
    return _dealt(movielens.prepare(archive))


def generate(rows: int, seed: int) -> Tables:
    """Rows of the same form, as specs/deepfm makes them."""
    return _dealt(movielens.generate(rows, seed))


def _dealt(tables: Tables) -> Tables:
    """Two parties' columns dealt to three: who rated and how are carol's."""
    alice, bob = (pa.table(tables[party]).sort_by("ID") for party in ("alice", "bob"))
    carol = pa.table({"ID": bob["ID"], "UserID": alice["UserID"], "Rating": bob["Rating"]})
    parts = {"alice": alice.drop_columns("UserID"), "bob": bob.drop_columns("Rating"), "carol": carol}
    return {party: shuffled(table, place) for place, (party, table) in enumerate(parts.items(), 1)}


if __name__ == "__main__":
    sys.exit(main(__doc__, prepare, generate))
