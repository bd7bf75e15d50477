"""A population's examples by user: who is trained on, who takes part in a round, what each half holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices, Words
from vflc_kernels.users import user_kernels

from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.engines.initial import generator
from vflc_runtime.errors import Failure
from vflc_runtime.population import random

CHUNK = 1 << 16
"""Keys that are Python's at once."""


@dataclass
class Users:
    """Encoded rows in order of the users' keys.

    Attributes:
        keys: each user's key as text.
        starts: each user's first row, [users + 1].
        inputs: encoded columns, by input id.
    """

    keys: pa.Array
    starts: Indices
    inputs: dict[str, Array]

    @classmethod
    def of(cls, data: Dataset) -> Users:
        """The users of a data set whose rows are in order of the keys."""
        runs = pc.run_end_encode(data.keys)
        ends = runs.run_ends.to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(runs.values, np.concatenate([np.zeros(1, np.int64), ends]), data.inputs)

    def __len__(self) -> int:
        return len(self.keys)

    def by_key(self) -> Indices:
        """Users in order of their keys, as numbers where all of them are whole numbers."""
        try:
            found: Indices = np.argsort(pc.cast(self.keys, pa.int64()).to_numpy(), kind="stable")
        except pa.ArrowInvalid:
            return np.arange(len(self))
        return found

    def words(self, users: Indices) -> Words:
        """64 bits of each user's key."""
        return self._words[users]

    @cached_property
    def _words(self) -> Words:
        """Those of all users: a user takes part in many rounds."""
        parts = (self.keys.slice(start, CHUNK) for start in range(0, len(self), CHUNK))
        return random.user_words(key for part in parts for key in part.to_pylist())

    def counts(self, users: Indices, limit: int | None) -> Indices:
        """Examples of each of `users`, rows [user], at most `limit` of one."""
        found = self.starts[users + 1] - self.starts[users]
        return found if limit is None else np.minimum(found, limit)


@dataclass(frozen=True, slots=True)
class Split:
    """Which users are trained on and which are kept for measuring: positions in `Users`."""

    train: Indices
    validation: Indices
    test: Indices


def split_users(users: Users, settings: ReconstructSettings) -> Split:
    """Divides users, the last to be tested and those before them to validate on.

    Raises:
        Failure: VFL0608 where none is left to train on, VFL0619 for too large a cohort.
    """
    count = len(users)
    order = (
        users.by_key() if settings.divide == "keys" else generator(settings.seed, "users").permutation(count)
    )
    test = count - round(count * settings.test)
    validation = test - round(count * settings.validation)
    train = np.sort(order[:validation])
    if not len(train):
        raise Failure(
            "VFL0608",
            f"{count} users are too few: validation and test leave none to train on",
            "give more users, or smaller shares: `validation 0.0  test 0.0`",
        )
    if settings.cohort > len(train):
        raise Failure(
            "VFL0619",
            f"a cohort of {settings.cohort:,} is larger than the {len(train):,} users to train on",
            f"set `cohort {len(train)}` or less, or keep fewer users for validation and test",
        )
    return Split(train, np.sort(order[validation:test]), np.sort(order[test:]))


def cohort_of(split: Split, settings: ReconstructSettings, number: int, secret: str = "") -> Indices:
    """The users [cohort] of round `number`, drawn without replacement by the seed, or with a secret."""
    if secret:
        noise = random.secret_noise(settings.seed, "cohort", number, secret)
        return split.train[np.argsort(noise.uniform(len(split.train)))[: settings.cohort]]
    return generator(settings.seed, "cohort", number).choice(split.train, settings.cohort, replace=False)


@dataclass(frozen=True, slots=True)
class Half:
    """One phase's batches of a group of users.

    Attributes:
        rows: positions in the group's rows, [batch, user, example]; -1 fills batches up.
        batches: how many batches each user has, [user].
        examples: how many examples, [user].
    """

    rows: Indices
    batches: Indices
    examples: Indices

    def step(self, number: int, users: int) -> Indices:
        """The rows [users, example] of a step of the first `users` users; epochs follow each other."""
        if number < len(self.rows) and (number < self.batches[:users]).all():
            return self.rows[number, :users]
        turn = number % self.batches[:users]
        found: Indices = self.rows[turn, np.arange(users)]
        return found

    def passes(self) -> Iterator[Indices]:
        """The rows [user, example] of each batch, once; -1 also for users who have no batch left."""
        for number, rows in enumerate(self.rows):
            yield rows[: int(np.flatnonzero(self.batches > number)[-1]) + 1]

    def steps(self, epochs: int, most: int | None) -> Indices:
        """How many steps each user makes, [user]."""
        steps = self.batches * epochs
        return steps if most is None else np.minimum(steps, most)


@dataclass(frozen=True, slots=True)
class UserGroup:
    """Users that run together as arrays, those with most examples to rebuild from first.

    Attributes:
        users: positions in `Users`, [user].
        words: 64 bits of each user's key, [user].
        rows: rows of the data, user after user, in each user's own order.
        counts: how many each has, [user].
        owner: position of the user in the group, for each row.
        rebuild, update: the two halves, as positions in `rows`.
    """

    users: Indices
    words: Words
    rows: Indices
    counts: Indices
    owner: Indices
    rebuild: Half
    update: Half


def group_of(
    users: Users, chosen: Sequence[int] | Indices, settings: ReconstructSettings, given: Array | None = None
) -> UserGroup:
    """Orders and halves the examples of the chosen users.

    A user's examples are ordered by the seed, the user's key and their number, the same way at
    every round, so that no example is ever in both halves.

    Args:
        users: all of them.
        chosen: positions of those that run together, [users].
        settings: of the spec.
        given: for each row of the data, bool [rows], whether its label is known; then these rebuild and all
            others are of the update half.
    """
    chosen = np.asarray(chosen, np.int64)
    limit = settings.limit if given is None else None
    counts = users.counts(chosen, limit)
    most = counts
    if given is not None:
        so_far = np.concatenate([np.zeros(1, np.int64), np.cumsum(given)])
        most = so_far[users.starts[chosen + 1]] - so_far[users.starts[chosen]]
    order = np.argsort(-most, kind="stable")
    chosen, counts = chosen[order], counts[order]
    owner, words = np.repeat(np.arange(len(chosen)), counts), users.words(chosen)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    drawn = _drawn(random.stream(words, settings.seed, "order"), counts, owner, number)
    rows = np.repeat(users.starts[chosen], counts) + drawn
    late = _late(number, counts, settings) if given is None else ~given[rows]
    if given is None and settings.halves == "same":
        whole = _half(owner, counts, counts, np.zeros(len(owner), np.bool_), False, settings.batch)
        return UserGroup(chosen, words, rows, counts, owner, whole, whole)
    later = np.bincount(owner[late], minlength=len(chosen))
    first, second = (
        _half(owner, counts, sizes, late, half, settings.batch)
        for sizes, half in ((counts - later, False), (later, True))
    )
    return UserGroup(chosen, words, rows, counts, owner, first, second)


def _drawn(streams: Words, counts: Indices, owner: Indices, number: Indices) -> Indices:
    """The numbers of each user's examples in the order that the user's stream draws, [example]."""
    kernels = user_kernels()
    if kernels is not None:
        return kernels.order(streams, counts)
    drawn = random.at(streams[owner], number) >> np.uint64(16)
    return number[random.ranks((owner.astype(np.uint64) << np.uint64(48)) | drawn)]


def _late(number: Indices, counts: Indices, settings: ReconstructSettings) -> NDArray[np.bool_]:
    """Which examples are of the update half, by their numbers at their users."""
    late: NDArray[np.bool_]
    if settings.halves == "fraction":
        late = number >= np.repeat(np.floor(counts * settings.fraction).astype(np.int64), counts)
    else:
        turn = number // settings.batch if settings.halves == "batches" else number
        late = (turn & 1) == 1
    return late


def _half(
    owner: Indices, counts: Indices, sizes: Indices, late: NDArray[np.bool_], half: bool, batch: int
) -> Half:
    """The batches of the examples that are `late` or not: of each user `sizes` of its `counts`."""
    batches = -(-sizes // batch)
    rows = np.full((int(batches.max(initial=0)), len(sizes), batch), -1, np.int64)
    kernels = user_kernels()
    if kernels is not None:
        kernels.batches(counts, late, half, rows)
    else:
        at = np.flatnonzero(late == half)
        place = np.arange(len(at)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        turn = place // batch
        rows[turn, owner[at], place - turn * batch] = at
    return Half(rows, batches, sizes)
