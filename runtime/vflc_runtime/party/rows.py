"""A party's own rows, brought into step with those that the others have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from vflc_common.arrays import Indices
from vflc_common.control import ALIGN_HELLO

from vflc_runtime.alignment.align import align
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.data.dataset import Agree, CommonRows, Dataset
from vflc_runtime.data.spread import standing
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener
from vflc_runtime.party.counts import hear_counts, hear_present, hear_which, tell_counts, tell_present
from vflc_runtime.party.peers import Peers
from vflc_runtime.run.loading import present

Load = Callable[[Agree | None], Dataset]
"""Reads this place's table; is given what finds the rows that are common."""


def rows_of(starts: Indices, counts: Indices) -> Indices:
    """The rows of keys, key after key, from each key's first row and how many it has, both [keys]."""
    return np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())


def runs(keys: pa.Array) -> tuple[pa.Array, Indices, Indices]:
    """The different keys of a table, from its sorted ones [rows]; of each its first row, and how many."""
    found = pc.run_end_encode(keys)
    ends = found.run_ends.to_numpy().astype(np.int64)
    counts = np.diff(ends, prepend=0)
    return found.values, ends - counts, counts


def _same(one: CommonRows, other: CommonRows) -> bool:
    alike = np.array_equal(one.positions, other.positions) and one.at.keys() == other.at.keys()
    return alike and all(np.array_equal(rows, other.at[party]) for party, rows in one.at.items())


@dataclass
class PlaceRows:
    """The rows of one place; a place without a table has as many as the others say.

    Args:
        peers: the others.
        bundle: this place's.
        method: how keys are aligned.
        settings: what this party chooses of it.
        listen: is told how alignment goes.
    """

    peers: Peers
    bundle: Bundle
    method: str
    settings: AlignSettings
    listen: Listener
    data: Dataset | None = None
    _found: list[tuple[pa.Array, CommonRows]] = field(default_factory=list)
    """Of each table that was read its keys, and which of its rows all have."""
    _lead: int = 0
    _at: dict[str, Indices] = field(default_factory=dict)

    def load(self, load: Load) -> int | None:
        """Reads and aligns the table; the number of rows, or None where there is no table.

        Called again it aligns again with peers that began anew, and reads again where they have
        other rows now.
        """
        if not self.bundle.parties:
            self._at = self._standing(None)
            return next((len(rows) for rows in self._at.values()), None)
        if self.data is None:
            self._found = []
            self.data = load(self._agree)
            return self.data.rows
        before, self._found = self._found, []
        try:
            agreed = [self._agree(keys) for keys, _ in before]
        except BaseException:
            self._found = before  # a peer began anew once more: all of it is aligned again
            raise
        if not all(_same(new, old) for new, (_, old) in zip(agreed, before, strict=True)):
            again, self.data = iter(agreed), None
            self.data = load(lambda keys: next(again))
        return self.data.rows

    def all(self, rows: int) -> Dataset:
        """The rows, now that their number is agreed."""
        if self.data is None or not self.bundle.parties:
            report: dict[str, Any] = {"parties": {}, "encoders": {}}
            self.data = Dataset(
                rows,
                {},
                pa.array([], pa.string()),
                report,
                {},
                at=self._at,
                once=self.bundle.manifest.once,
                present=present(self.bundle),
            )
        return self.data

    def _agree(self, keys: pa.Array) -> CommonRows:
        manifest = self.bundle.manifest
        if self._found and manifest.once:
            raise Failure(
                "VFL0732",
                "rows to validate with cannot come from tables of their own where rows are joined by key",
                "keep some of the rows for validation: --validation 0.1",
            )
        self._found.append((keys, self._joined(keys)))
        return self._found[-1][1]

    def _joined(self, keys: pa.Array) -> CommonRows:
        manifest, place = self.bundle.manifest, self.peers.network.place
        if place == manifest.missing:
            positions = self._align(keys, (manifest.first,))
            return CommonRows(positions, self._standing(len(positions)))
        others = [each for each in self.peers.receivers(ALIGN_HELLO.name) if each != manifest.missing]
        distinct, starts, counts = runs(keys)
        common = self._align(distinct, others)
        if manifest.missing is not None:
            common = common[np.argsort(~self._present(distinct, common), kind="stable")]
        if place == manifest.many:
            tell_counts(self.peers, counts[common])
        own = None if manifest.missing is None else self._lead
        at = self._standing(own, len(common), counts[common] if place == manifest.many else None)
        return CommonRows(rows_of(starts[common], counts[common]), at)

    def _align(self, keys: pa.Array, others: Sequence[str], alone: bool = False) -> Indices:
        """The keys that all of `others` have; with the party that may lack rows two align `alone`."""
        network, missing = self.peers.network, self.bundle.manifest.missing
        apart = alone or network.place == missing
        settings = replace(self.settings, hub=None, cache=None) if apart else self.settings
        return align(self.method, network.place, others, keys, network, settings, self.listen)

    def _present(self, distinct: pa.Array, common: Indices) -> NDArray[np.bool_]:
        """Which of the common keys the party has that may lack rows, as the first party finds and tells."""
        manifest = self.bundle.manifest
        if self.peers.network.place != manifest.first:
            found = hear_which(self.peers, manifest.first, len(common))
        else:
            assert manifest.missing is not None
            found = np.zeros(len(common), np.bool_)
            found[self._align(distinct.take(pa.array(common)), (manifest.missing,), alone=True)] = True
            tell_present(self.peers, found)
        self._lead = int(found.sum())
        return found

    def _standing(
        self, own: int | None, keys: int | None = None, counts: Indices | None = None
    ) -> dict[str, Indices]:
        """Of each joined row the row that a party has, from what this place knows and hears.

        Args:
            own: how many of the common keys the party has that may lack rows, where this place knows.
            keys: how many keys are common, where this place knows.
            counts: how many rows each has, where this is the party with many.
        """
        manifest, present = self.bundle.manifest, own
        if manifest.missing is not None:
            if self.peers.network.place != manifest.first:
                keys, present = hear_present(self.peers, manifest.first, keys, own, self.settings.rows)
            else:
                present = self._lead
        if manifest.many is not None and counts is None:
            counts = hear_counts(self.peers, manifest.many, keys, self.settings.rows)
        if manifest.missing is None and manifest.many is None:
            return {}
        parties = [party for party in manifest.keyed if party != manifest.many]
        return standing(parties, manifest.missing, keys or 0, counts, present)
