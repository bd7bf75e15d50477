"""MovieLens 1M, or rows like it, as the tables of alice (user profiles) and bob (movies and ratings)."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import Archive, Tables, Unusable, main, shuffled

GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
AGES = (1, 18, 25, 35, 45, 50, 56)
USERS, MOVIES, OCCUPATIONS = 6040, 3952, 21


def prepare(archive: Archive) -> Tables:
    """The tables of the published files: `users.dat`, `movies.dat` and `ratings.dat`."""
    users = _records(archive, "users.dat", 5)
    movies = _records(archive, "movies.dat", 3)
    user, movie, rating = read_ratings(archive.read("ratings.dat"))
    at_user = _positions(user, _numbers(users, 0, "users.dat: a user"), "user", "users.dat")
    at_movie = _positions(movie, _numbers(movies, 0, "movies.dat: a movie"), "movie", "movies.dat")
    age = pa.array(_numbers(users, 2, "users.dat: an age"))
    occupation = pa.array(_numbers(users, 3, "users.dat: an occupation"))
    gender = pa.array([record[1] for record in users])
    genres = pa.array([record[2] for record in movies])
    return _tables(
        user,
        gender.take(at_user),
        age.take(at_user),
        occupation.take(at_user),
        movie,
        genres.take(at_movie),
        rating,
    )


def generate(rows: int, seed: int) -> Tables:
    """Rows of the same form whose ratings follow users' and movies' own levels, profiles and factors.

    The people and the movies are the same for every seed; the seed chooses who rated what. What the
    profile of a user makes of a movie's genres carries most of the signal, so that neither party's
    columns alone predict much.
    """
    world = np.random.default_rng(1997)
    gender, age = world.integers(0, 2, USERS), world.integers(0, len(AGES), USERS)
    occupation = world.integers(0, OCCUPATIONS, USERS)
    has = world.random((MOVIES, len(GENRES))) < 0.08
    has[np.arange(MOVIES), world.integers(0, len(GENRES), MOVIES)] = True
    tastes = [
        world.normal(0, scale, (n, len(GENRES))) for n, scale in ((2, 1.4), (7, 1.4), (OCCUPATIONS, 0.3))
    ]
    taste = tastes[0][gender] + tastes[1][age] + tastes[2][occupation]
    factors = world.normal(0, 0.5, (USERS, 4)), world.normal(0, 0.5, (MOVIES, 4))
    level = world.normal(0, 0.3, USERS), world.normal(0, 0.4, MOVIES)
    active, popular = _power_law(world, USERS, 1.2), _power_law(world, MOVIES, 1.2)

    random = np.random.default_rng([seed, rows])
    user, movie = random.choice(USERS, rows, p=active), random.choice(MOVIES, rows, p=popular)
    genres = has / np.sqrt(has.sum(1, keepdims=True))
    score = (taste[user] * genres[movie]).sum(1) + (factors[0][user] * factors[1][movie]).sum(1)
    score += level[0][user] + level[1][movie] + random.logistic(0, 1, rows)
    rating = 1 + np.searchsorted([-3.7, -2.0, 0.1, 2.6], score)
    joined = np.array(["|".join(np.array(GENRES)[row]) for row in has])
    return _tables(
        pa.array(user + 1),
        pa.array(np.array(["F", "M"])[gender[user]]),
        pa.array(np.array(AGES)[age[user]]),
        pa.array(occupation[user]),
        pa.array(movie + 1),
        pa.array(joined[movie]),
        pa.array(rating),
    )


def _tables(
    user: pa.Array,
    gender: pa.Array,
    age: pa.Array,
    occupation: pa.Array,
    movie: pa.Array,
    genres: pa.Array,
    rating: pa.Array,
) -> Tables:
    """Both parties' tables, keyed by the number of the rating, in orders of their own."""
    key = pa.array(np.arange(1, len(user) + 1))
    alice = {"ID": key, "UserID": user, "Gender": gender, "Age": age, "Occupation": occupation}
    bob = {"ID": key, "MovieID": movie, "Genres": genres, "Rating": rating}
    return {"alice": shuffled(pa.table(alice), 1), "bob": shuffled(pa.table(bob), 2)}


def _power_law(random: np.random.Generator, count: int, exponent: float) -> np.ndarray:
    """Probabilities that fall with a power of the rank; ranks are dealt at random."""
    weights: np.ndarray = (10.0 + random.permutation(count)) ** -exponent
    weights /= weights.sum()
    return weights


def _records(archive: Archive, name: str, fields: int) -> list[list[str]]:
    lines = archive.read(name).decode("latin-1").splitlines()
    records = [line.split("::") for line in lines if line.strip()]
    for number, record in enumerate(records, 1):
        if len(record) != fields:
            raise Unusable(
                f"{name}, line {number}: {fields} fields separated by :: are expected: {lines[number - 1]!r}"
            )
    if not records:
        raise Unusable(f"{name} is empty")
    return records


def _numbers(records: list[list[str]], field: int, what: str) -> list[int]:
    try:
        return [int(record[field]) for record in records]
    except ValueError as error:
        raise Unusable(f"{what} is not a number: {error}") from None


def read_ratings(content: bytes) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Users, movies and ratings, in the file's order. A `::` is two separators around an empty column."""
    names = ["user", "a", "movie", "b", "rating", "c", "time"]
    try:
        table = pa.csv.read_csv(
            io.BytesIO(content),
            read_options=pa.csv.ReadOptions(column_names=names, encoding="latin-1"),
            parse_options=pa.csv.ParseOptions(delimiter=":", quote_char=False),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(("user", "movie", "rating"), pa.int64()),
                include_columns=["user", "movie", "rating"],
            ),
        )
    except pa.ArrowInvalid as error:
        raise Unusable(f"ratings.dat is not UserID::MovieID::Rating::Timestamp: {error}") from None
    if not table.num_rows:
        raise Unusable("ratings.dat is empty")
    return tuple(column.combine_chunks() for column in table.columns)


def _positions(wanted: pa.Array, known: list[int], what: str, file: str) -> pa.Array:
    found = pa.compute.index_in(wanted, pa.array(known))
    if found.null_count:
        row = found.is_null().index(True).as_py()
        raise Unusable(f"ratings.dat, line {row + 1}: {what} {wanted[row].as_py()} is not in {file}")
    return found


if __name__ == "__main__":
    sys.exit(main(__doc__, prepare, generate))
