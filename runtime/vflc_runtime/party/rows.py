"""A party's own rows, brought into step with those that the others have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vflc_runtime.alignment.align import align
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.data.dataset import Agree, Dataset
from vflc_runtime.events import Listener
from vflc_runtime.party.peers import Peers

Load = Callable[[Agree | None], Dataset]
"""Reads this place's table; is given what finds the rows that are common."""


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
    _found: list[tuple[pa.Array, NDArray[np.int64]]] = field(default_factory=list)
    """Of each table that was read its keys, and which of its rows all have."""

    def load(self, load: Load) -> int | None:
        """Reads and aligns the table; the number of rows, or None where there is no table.

        Called again it aligns again with peers that began anew, and reads again where they have
        other rows now.
        """
        if not self.bundle.parties:
            return None
        if self.data is None:
            self._found = []
            self.data = load(self._agree)
            return self.data.rows
        before, self._found = self._found, []
        positions = [self._agree(keys) for keys, _ in before]
        if not all(np.array_equal(new, old) for new, (_, old) in zip(positions, before, strict=True)):
            again = iter(positions)
            self.data = load(lambda keys: next(again))
        return self.data.rows

    def all(self, rows: int) -> Dataset:
        """The rows, now that their number is agreed."""
        if self.data is None or not self.bundle.parties:
            report: dict[str, Any] = {"parties": {}, "encoders": {}}
            self.data = Dataset(rows, {}, pa.array([], pa.string()), report, {})
        return self.data

    def _agree(self, keys: pa.Array) -> NDArray[np.int64]:
        network, others = self.peers.network, self.peers.receivers("align.hello")
        positions = align(self.method, network.place, others, keys, network, self.settings, self.listen)
        self._found.append((keys, positions))
        return positions
