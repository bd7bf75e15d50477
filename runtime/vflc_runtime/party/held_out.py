"""Which rows are kept for validation, where one party's column decides it: that party tells all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from vflc_common.arrays import Indices
from vflc_common.control import HELD_OUT

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.held_out import check, held_out, packed, unpacked
from vflc_runtime.party.peers import Peers, wrong
from vflc_runtime.run import loading


class HeldOutRows:
    """The rows that are kept, for one start of a run: each place is told of them once.

    Args:
        peers: the others.
        bundle: of this place.
        settings: of the run.
    """

    def __init__(self, peers: Peers, bundle: Bundle, settings: Mapping[str, Any]) -> None:
        self._peers, self._bundle, self._settings = peers, bundle, settings
        self._rule = loading.rule_of(bundle, settings)
        self._known = self._rule is None

    def keep(self, rows: int, values: pa.Array | None) -> Indices:
        """See `dataset.Keep`, of `values` [rows]: where this place decides it tells the others."""
        rule, settings = self._rule, self._settings
        if rule is None:
            return loading.kept(self._bundle, settings, rows, values)
        if rule.party in self._bundle.parties:
            assert values is not None, "the table of the party that decides is here"
            fraction, fold = settings["validation"], settings["fold"]
            return self._tell(held_out(rule.by, values, settings["seed"], fraction, fold), rows)
        return self._hear(rows)

    def again(self, data: Dataset | None) -> None:
        """Tells of the rows of a table that was read before a peer began anew: it reads its own only then."""
        rule = self._rule
        if data is None or self._known or rule is None or rule.party not in self._bundle.parties:
            return
        assert data.held_out is not None
        self._tell(data.held_out, data.rows)

    def agreed(self, rows: int, data: Dataset) -> Indices | None:
        """The rows that are kept, [kept], after the table was read, perhaps before a peer began anew.

        None where they follow from the seed, at a place that has no table.
        """
        if not self._known:
            data.held_out = self._hear(rows)
        return data.held_out

    def _tell(self, kept: Indices, rows: int) -> Indices:
        bits = packed(kept, rows)
        for start in range(0, len(bits), HELD_OUT.bytes):
            self._peers.tell(HELD_OUT.name, bits[start : start + HELD_OUT.bytes])
        return self._checked(kept, rows)

    def _hear(self, rows: int) -> Indices:
        assert self._rule is not None
        sender, size, bits = self._rule.party, -(-rows // 8), b""
        while len(bits) < size:
            part = self._peers.hear(sender, HELD_OUT.name)
            bits += part
            if len(part) != min(HELD_OUT.bytes, size - (len(bits) - len(part))):
                raise wrong(sender, HELD_OUT.name, f"does not have a bit for each of {rows:,} rows")
        return self._checked(unpacked(bits, rows), rows)

    def _checked(self, kept: Indices, rows: int) -> Indices:
        """All have the same rows, and all find the same wrong with them."""
        assert self._rule is not None
        self._known = True
        check(self._rule.by, kept, rows, loading.where_of(self._bundle, self._rule))
        return np.asarray(kept, np.int64)
