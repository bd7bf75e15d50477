"""Rows of a party that has one a key, beside the many rows that another party has for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices

from vflc_runtime.data.batches import gather

ABSENT = -1
"""Stands for the row of a party that has none."""


@dataclass(frozen=True, slots=True)
class KeySpread:
    """How the distinct rows of one party in a batch stand beside the rows of the batch.

    Args:
        taken: rows of the party's table, each once, in their order, [distinct].
        at: of each row of the batch, which of `taken` it has, [rows]; `ABSENT` where it has none.
    """

    taken: Indices
    at: Indices

    @classmethod
    def of(cls, rows: Indices) -> KeySpread:
        """From the row of the party's table that each row of the batch has, [rows].

        A batch in which the party has no row takes its first one, so that its graphs have something to
        run on; what it gives reaches no row.
        """
        taken, at = np.unique(rows, return_inverse=True)
        at = at.reshape(-1).astype(np.int64, copy=False)
        if len(taken) and taken[0] == ABSENT:
            taken, at = taken[1:], at - 1
        return cls(taken if len(taken) else np.zeros(1, np.int64), at)

    @property
    def rows(self) -> int:
        return len(self.taken)

    def expanded(self, values: Array) -> Array:
        """What was computed for the distinct rows [distinct, …], for all [rows, …]; 0 where absent."""
        found = values.take(np.maximum(self.at, 0), axis=0)
        absent = self.at == ABSENT
        if absent.any():
            found[absent] = 0
        return found

    def masked(self, values: Array) -> Array:
        """What was computed for each row [rows, …], 0 where absent."""
        found = values.copy()
        found[self.at == ABSENT] = 0
        return found

    def summed(self, values: Array) -> Array:
        """The sums [distinct, …] of the batch's rows [rows, …]; rows that are absent are in none."""
        order = np.argsort(self.at, kind="stable")
        order = order[np.searchsorted(self.at[order], 0) :]
        found = np.zeros((self.rows, *values.shape[1:]), values.dtype)
        if len(order):
            own = self.at[order]
            starts = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
            found[own[starts]] = np.add.reduceat(values[order], starts, axis=0)
        return found


class Batch(dict[str, NDArray[np.generic]]):
    """The rows of a batch by input id; of parties in `spreads`, their distinct rows alone."""

    def __init__(self, inputs: Mapping[str, NDArray[Any]], spreads: Mapping[str, KeySpread]) -> None:
        """`inputs` are [rows, …] by id, of a party in `spreads` [distinct, …]."""
        super().__init__(inputs)
        self.spreads = spreads


def standing(
    parties: Collection[str], missing: Sequence[str], lacks: Indices, counts: Indices | None
) -> dict[str, Indices]:
    """Of each joined row the row that a party has, [rows], where these are not the same.

    Args:
        parties: those with one row a key.
        missing: those that may lack rows, each a bit of `lacks`, the first the lowest.
        lacks: who lacks each key, [keys].
        counts: how many joined rows each key has, [keys]; None where each has one.
    """
    rows = np.arange(len(lacks))
    own = {party: rows for party in parties if counts is not None and party not in missing}
    for bit, party in enumerate(missing):
        if party not in parties:
            continue  # its key is a part of the others'
        has = lacks >> bit & 1 == 0
        own[party] = np.where(has, np.cumsum(has) - 1, ABSENT)
    return own if counts is None else {party: np.repeat(each, counts) for party, each in own.items()}


def gathered(
    inputs: Mapping[str, NDArray[Any]],
    at: Mapping[str, Indices],
    once: Collection[str],
    rows: Indices,
    drop: Mapping[str, NDArray[np.bool_]],
    present: Mapping[str, tuple[str, np.dtype[Any]]],
) -> Batch:
    """The rows `rows` [batch] of every input, as contiguous arrays.

    Args:
        inputs: by `party.column`, the rows of the party's own table.
        at: of parties whose rows are not the joined ones, the row that each joined row has.
        once: those of them that take part with their distinct rows.
        rows: of the joined rows.
        drop: of parties that may lack rows, which others to leave out, bool [all joined rows].
        present: inputs that say whether a party has a row, 1 or 0 [rows, 1], with the party and their type.
    """
    own = {party: each[rows] for party, each in at.items()}
    for party, dropped in drop.items():
        if party not in own:
            continue  # this place reads nothing of it, and is not told which rows it has
        own[party] = np.where(dropped[rows], ABSENT, own[party])
    spreads = {party: KeySpread.of(each) for party, each in own.items() if party in once}
    taken = {party: np.maximum(each, 0) for party, each in own.items() if party not in once}
    taken |= {party: spread.taken for party, spread in spreads.items()}
    of: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in inputs.items():
        of.setdefault(name.partition(".")[0], {})[name] = array
    found: dict[str, NDArray[Any]] = {}
    for party, arrays in of.items():
        found |= gather(arrays, taken.get(party, rows))
    for input, (party, dtype) in present.items():
        found[input] = (own[party] != ABSENT).astype(dtype)[:, None]
    return Batch(found, spreads)
