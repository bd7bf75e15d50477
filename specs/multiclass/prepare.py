"""Census Income, or rows like it: alice has the household and marital status, bob the rest."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import census
from common import Archive, Tables, main

PARTIES = {
    "alice": ("relationship", "race", "native_country", "marital_status"),
    "bob": ("age", "sex", "education_num", "occupation", "hours_per_week", "income"),
}


def prepare(archive: Archive) -> Tables:
    """The parties' tables from `adult.data` and, under `test/`, from `adult.test`."""
    return census.prepare(archive, PARTIES)


def generate(rows: int, seed: int) -> Tables:
    """Tables of the same form, with a planted signal; `test/` holds a quarter as many rows more."""
    return census.generate(rows, seed, PARTIES)


if __name__ == "__main__":
    sys.exit(main(__doc__, prepare, generate))
