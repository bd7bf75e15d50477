"""A party's own rows, brought into step with those that the others have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from vflc_common.arrays import Indices
from vflc_common.control import ALIGN_AT, ALIGN_HELLO, ALIGN_PRESENT, ALIGN_WHICH

from vflc_runtime.alignment.align import align
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.data.dataset import Agree, CommonRows, Dataset
from vflc_runtime.data.keys import key_parts
from vflc_runtime.data.spread import ABSENT, standing
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener
from vflc_runtime.party.counts import (
    hear_at,
    hear_counts,
    hear_patterns,
    hear_which,
    tell_at,
    tell_counts,
    tell_patterns,
    tell_which,
)
from vflc_runtime.party.peers import Peers, wrong
from vflc_runtime.run.loading import present

GONE = 255
"""Stands for who lacks a key that is not joined, since a party with a part of it has none such."""
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
    _at: dict[str, Indices] = field(default_factory=dict)
    _keyed: dict[str, Indices] = field(default_factory=dict)
    """At the first party, of parties whose key is a part of the others', the row of each common key."""
    _told: dict[str, Indices] = field(default_factory=dict)
    """The same of each joined row."""
    _used: Indices = field(default_factory=lambda: np.zeros(0, np.int64))
    """Which of a party's common keys are in joined rows, where its key is a part of the others'."""

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
        self._found.append((keys, self.joined(keys)))
        return self._found[-1][1]

    def joined(self, keys: pa.Array) -> CommonRows:
        """The rows of this party's table that take part, by the keys of its rows, [rows]."""
        manifest, place = self.bundle.manifest, self.peers.network.place
        distinct, starts, counts = runs(keys)
        common, own = self.common(distinct)
        times = counts[common] if place == manifest.many else None
        if times is not None:
            tell_counts(self.peers, times)
        if place == manifest.first:
            for party, keyed in self._keyed.items():
                self._told[party] = keyed if times is None else np.repeat(keyed, times)
                tell_at(self.peers, party, self._told[party])
        at = self._standing(None if place in manifest.parts else own, times)
        if place in manifest.parts:
            if self._used[-1] >= len(common):
                raise wrong(manifest.first, ALIGN_AT.name, f"has a key {self._used[-1]} of {len(common)}")
            common = common[self._used]
        return CommonRows(rows_of(starts[common], counts[common]), at)

    def common(self, distinct: pa.Array) -> tuple[Indices, Indices]:
        """Which of a party's keys take part, in the order that all have, and who lacks each; both [keys].

        Of a party whose key is a part of the others', those that the first party has.
        """
        manifest, place = self.bundle.manifest, self.peers.network.place
        if self._alone(place):
            common = self._align(distinct, (manifest.first,))
        else:
            readers = self.peers.receivers(ALIGN_HELLO.name)
            common = self._align(distinct, [each for each in readers if not self._alone(each)])
        if place in manifest.parts:
            return common, np.zeros(len(common), np.int64)
        own = np.zeros(len(common), np.int64)
        if manifest.missing or manifest.parts:
            own = self._lacks(distinct, common)
        order = np.argsort(own, kind="stable")[: np.count_nonzero(own != GONE)]
        self._keyed = {party: at[order] for party, at in self._keyed.items()}
        return common[order], own[order]

    def _alone(self, party: str) -> bool:
        """Whether a party aligns with the first one alone."""
        manifest = self.bundle.manifest
        return party in manifest.missing or party in manifest.parts

    def _align(self, keys: pa.Array, others: Sequence[str], alone: bool = False) -> Indices:
        """The keys that all of `others` have; two align `alone` where not all rows or keys are everywhere."""
        network = self.peers.network
        apart = alone or self._alone(network.place)
        settings = replace(self.settings, hub=None, cache=None) if apart else self.settings
        return align(self.method, network.place, others, keys, network, settings, self.listen)

    def _lacks(self, distinct: pa.Array, common: Indices) -> Indices:
        """Of each common key of this party who lacks it, or `GONE`, [common], as the first party finds."""
        peers, manifest = self.peers, self.bundle.manifest
        if peers.network.place != manifest.first:
            told = manifest.first in peers.senders(ALIGN_WHICH.name)
            return hear_which(peers, manifest.first, len(common)) if told else np.zeros(len(common), np.int64)
        keys, lacks, has = distinct.take(pa.array(common)), np.zeros(len(common), np.int64), {}
        for party in dict.fromkeys((*manifest.parts, *manifest.missing)):
            bit = 1 << manifest.missing.index(party) if party in manifest.missing else GONE
            there = np.zeros(len(common), np.bool_)
            if party in manifest.parts:
                self._keyed[party] = at = self._of_part(keys, party)
                there = at != ABSENT
            else:
                has[party] = self._align(keys, (party,), alone=True)
                there[has[party]] = True
            lacks[~there] |= bit
        if (lacks == GONE).all():
            parts = " and ".join(manifest.parts)
            why = f"no row of {manifest.first} has keys that are at {parts}"
            raise Failure("VFL0606", why, "use the same keys for the same rows at every party")
        if manifest.missing:
            tell_patterns(peers, lacks[lacks != GONE])
        for party in manifest.keyed:
            if party not in manifest.parts:
                tell_which(peers, party, lacks[has[party]] if party in has else lacks)
        return lacks

    def _of_part(self, keys: pa.Array, party: str) -> Indices:
        """Of each of these keys which key a party has whose key is a part of them, [keys], or `ABSENT`."""
        found = pc.dictionary_encode(key_parts(keys, self.bundle.manifest.parts[party]))
        different = found.dictionary
        order = pc.sort_indices(different).to_numpy()
        shared = self._align(different.take(pa.array(order)), (party,), alone=True)
        number = np.full(len(different), ABSENT)
        number[order[shared]] = np.arange(len(shared))
        rows: Indices = number[found.indices.to_numpy()]
        return rows

    def _standing(self, own: Indices | None, counts: Indices | None = None) -> dict[str, Indices]:
        """Of each joined row the row that a party has, from what this place knows and hears.

        Args:
            own: who lacks the keys that this party has, in their order, [own keys]; None without a table,
                and where its key is a part of the others'.
            counts: how many rows each key has, where this is the party with many.
        """
        manifest, lacks, place = self.bundle.manifest, own, self.peers.network.place
        if manifest.missing:
            lacks = self.all_lacks(own)
        if manifest.many is not None and counts is None:
            keys = None if lacks is None else len(lacks)
            counts = hear_counts(self.peers, manifest.many, keys, self.settings.rows)
        if not manifest.missing and manifest.many is None and not manifest.parts:
            return {}
        rows = len(lacks) if lacks is not None else None
        rows = rows if counts is None else int(counts.sum())
        parts = self._at_parts(place, rows)
        if lacks is None:
            known = next((len(at) for at in parts.values()), 0) if counts is None else len(counts)
            lacks = np.zeros(known, np.int64)
        parties = [p for p in manifest.keyed if p != manifest.many and p not in manifest.parts]
        return standing(parties, manifest.missing, lacks, counts) | parts

    def _at_parts(self, place: str, rows: int | None) -> dict[str, Indices]:
        """Of parties whose key is a part of the others', if it matters here, the row of each row [rows]."""
        manifest, found = self.bundle.manifest, {}
        for party in manifest.parts:
            if not manifest.knows(place, party) and place != manifest.first:
                continue
            if place == manifest.first:
                at = self._told[party]
            else:
                lacking = party in manifest.missing
                at = hear_at(self.peers, manifest.first, party, rows, self.settings.rows, lacking)
            used = np.unique(at[at != ABSENT])
            found[party] = np.where(at == ABSENT, ABSENT, np.searchsorted(used, at))
            if place == party:
                self._used = used
        return found

    def all_lacks(self, own: Indices | None) -> Indices:
        """Who lacks each key, [keys]; VFL0655 where this party's own keys, `own`, are not among them."""
        manifest, place = self.bundle.manifest, self.peers.network.place
        if place == manifest.first:
            assert own is not None
            return own
        lacks = hear_patterns(self.peers, manifest.first, self.settings.rows)
        if own is not None:
            mine = lacks
            if place in manifest.missing:
                mine = lacks[lacks >> manifest.missing.index(place) & 1 == 0]
            if not np.array_equal(mine, own):
                what = f"says that there are {len(lacks)} keys, which are not those that this party knows"
                raise wrong(manifest.first, ALIGN_PRESENT.name, what)
        return lacks
