"""The first 2000 users of MovieLens 1M, or rows like it: a table of who rated which movie how."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import Archive, Tables, main
from deepfm.prepare import read_ratings

USERS, MOVIES = 2000, 3706


def prepare(archive: Archive) -> Tables:
    """The ratings of the first 2000 users; movies are numbered in order of their own numbers."""
    table = ratings(archive)
    return {"users": table.filter(pc.less_equal(table["UserID"], USERS))}


def ratings(archive: Archive) -> pa.Table:
    """All ratings of `ratings.dat`, in the file's order, with movies numbered from 0."""
    user, movie, rating = read_ratings(archive.read("ratings.dat"))
    rated = pc.unique(movie).sort()
    return pa.table({"UserID": user, "MovieID": pc.index_in(movie, rated), "Rating": rating})


def generate(rows: int, seed: int) -> Tables:
    """Users of some 150 ratings each, as many as give `rows` rows, by levels and tastes of their own."""
    return {"users": generated(rows, seed, most=USERS)}


def generated(rows: int, seed: int, most: int) -> pa.Table:
    """Ratings by at most `most` users; the world is the same for every seed, which chooses who rated what."""
    world = np.random.default_rng(1998)
    level, taste = world.normal(0, 0.35, most), world.normal(0, 0.35, (most, 3))
    quality, kind = world.normal(0, 0.6, MOVIES), world.normal(0, 0.6, (MOVIES, 3))
    popular = (10.0 + world.permutation(MOVIES)) ** -1.2
    random = np.random.default_rng([seed, rows])
    user = np.sort(random.integers(0, min(most, max(rows // 150, 1)), rows))
    movie = random.choice(MOVIES, rows, p=popular / popular.sum())
    score = 3.6 + level[user] + quality[movie] + (taste[user] * kind[movie]).sum(1)
    rating = np.clip(np.rint(score + random.normal(0, 0.8, rows)), 1, 5).astype(np.int64)
    return pa.table({"UserID": user + 1, "MovieID": movie, "Rating": rating})


if __name__ == "__main__":
    sys.exit(main(__doc__, prepare, generate))
