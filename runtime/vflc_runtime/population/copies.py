"""The weights of a group of users while it trains: copies of global rows, and their own local weights.

The rows of a table that the users touch lie user after user in one array [1 + rows, k]. Row 0 is
nobody's: batches that are not full are filled up with it, and a mask keeps it out of every mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices
from vflc_kernels.users import user_kernels

from vflc_runtime.bundle.population_plan import PopulationWeight, UsersPlan
from vflc_runtime.population.users import UserGroup

FLAGS = 64
"""Up to so many possible numbers for each that is there, marking these is quicker than sorting them."""


@dataclass
class Copies:
    """One table's rows at the users of a group.

    Attributes:
        values: [1 + rows, k], changed by steps.
        ends: number of rows, row 0 included, of the first 1, 2, … users.
        ids: the table's row that each row from 1 on is a copy of.
        owner: position in the group of the user each row from 1 on belongs to.
        slots: of each feature that reads the table, the row of every example; -1 for none.
    """

    values: Array
    ends: Indices
    ids: Indices
    owner: Indices
    slots: dict[str, NDArray[np.int32]]


def touched(
    plan: UsersPlan, weight: PopulationWeight, group: UserGroup, features: dict[str, Array]
) -> Copies:
    """Where a table's rows lie for a group; `values` are for `fill`.

    `features` are the encoded columns of the group's rows, [example, …] by id.
    """
    names = sorted({name for ids in plan.ids if ids.table == weight.name for name in ids.features})
    columns = [np.ascontiguousarray(features[name], np.int32) for name in names]
    kernels = user_kernels()
    if weight.local:
        found = _all_rows(group, columns, weight.shape[0])
    elif kernels is not None:
        found = kernels.distinct(group.counts, columns)
    else:
        found = _touched(group, columns, weight.shape[0])
    ids, owner, ends, slots = found
    empty = np.empty((1 + len(ids), *weight.shape[1:]), plan.precision)
    return Copies(empty, ends, ids, owner, dict(zip(names, slots, strict=True)))


def _all_rows(
    group: UserGroup, columns: Sequence[Array], size: int
) -> tuple[Indices, Indices, Indices, list[Array]]:
    """Ids, owners, ends and slots of users who each have a table's `size` rows."""
    each = np.arange(len(group.users))
    slots = [(_pairs(group.owner, ids, size, -2) + 1).astype(np.int32) for ids in columns]
    return np.tile(np.arange(size), len(each)), np.repeat(each, size), 1 + (each + 1) * size, slots


def _touched(
    group: UserGroup, columns: Sequence[Array], size: int
) -> tuple[Indices, Indices, Indices, list[Array]]:
    """The same of users who have the rows that they read."""
    users = len(group.users)
    read = np.concatenate([_pairs(group.owner, ids, size, -1).reshape(-1) for ids in columns])
    there = read >= 0
    pairs, places = ranked(read[there], users * size)
    flat = np.full(len(read), -1, np.int32)
    flat[there] = places + 1
    parts = np.split(flat, np.cumsum([ids.size for ids in columns])[:-1])
    owner = pairs // size
    ids = pairs - owner * size  # half the time of a remainder
    ends = 1 + np.searchsorted(owner, np.arange(1, users + 1))
    return ids, owner, ends, [part.reshape(ids.shape) for part, ids in zip(parts, columns, strict=True)]


def ranked(values: Array, size: int) -> tuple[Indices, Indices]:
    """The distinct numbers among `values` [n], all below `size`, ascending; each one's place there [n]."""
    if size > FLAGS * len(values):
        return _sorted(values)
    there = np.zeros(size, bool)
    there[values] = True
    found = np.flatnonzero(there)
    place = np.empty(size, np.int64)
    place[found] = np.arange(len(found))
    return found, place[values]


def _sorted(values: Array) -> tuple[Indices, Indices]:
    """The distinct numbers among `values` [n], ascending; each one's place there [n]."""
    order = np.argsort(values)
    ascending = values[order]
    first = np.ones(len(values), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    place = np.empty(len(values), np.int64)
    place[order] = np.cumsum(first) - 1
    return ascending[first], place


def _pairs(owner: Indices, ids: Array, size: int, none: int) -> Indices:
    """One number for user and id, in the shape of the ids; `none` where there is no id."""
    mine = owner.reshape(-1, *(1 for _ in ids.shape[1:]))
    return np.where(ids < 0, none, mine * size + ids)


def fill(copies: Copies, values: Array) -> None:
    """Fills copies with the rows [rows, k], or of a local table with the tables [user, …] of all users."""
    copies.values[1:] = values.reshape(copies.values[1:].shape)
    copies.values[0] = copies.values[1] if len(copies.ids) else 0


def distinct(rows: Array) -> NDArray[np.int32]:
    """Each user's ids once, the rest -1: [.., user, n]; row 0 and -1 are no ids."""
    flat = np.sort(rows, axis=-1)
    again = np.zeros(flat.shape, bool)
    again[..., 1:] = flat[..., 1:] == flat[..., :-1]
    return np.where(again | (flat <= 0), -1, flat).astype(np.int32)
