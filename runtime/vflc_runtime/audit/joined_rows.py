"""Runs whose parties send once a key, as attacks know them: row by row, of the rows that all parties have.

A place that receives once for several rows has it in each of them, and one that gets a sum over the rows
of a key has that sum: each knows which rows are a key's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.data.batches import Order
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.spread import ABSENT, KeySpread
from vflc_runtime.errors import Failure
from vflc_runtime.run.loop import dropped
from vflc_runtime.run.transcript import RecordedStep, Transcript
from vflc_runtime.run.work import order_of


@dataclass
class JoinedRows:
    """The joined rows of a run.

    Args:
        bundle: with the parts of all places.
        data: as the run had it.
        settings: of the run.
    """

    bundle: Bundle
    data: Dataset
    settings: Mapping[str, Any]
    _whole: Indices = field(init=False)
    _order: Order = field(init=False)
    _dropped: tuple[int, Mapping[str, NDArray[np.bool_]]] = (-1, {})

    def __post_init__(self) -> None:
        lacked = [at == ABSENT for at in self.data.at.values()]
        self._whole = np.flatnonzero(~np.logical_or.reduce(lacked)) if lacked else np.arange(self.data.rows)
        self._order = order_of(self.settings, self.data.rows, self.data.held_out)

    def flat(self) -> Dataset:
        """The rows that all parties have, [rows], each party's beside those of the others.

        VFL0680 where there is none.
        """
        data, whole = self.data, self._whole
        if not len(whole):
            raise Failure("VFL0680", "no row is at all parties: there is nothing to attack", "give more rows")
        at = {party: np.arange(len(whole)) for party in self.bundle.manifest.missing}
        inputs = {name: data.whole(name)[whole] for name in data.inputs}
        kept = data.held_out
        if kept is not None:
            kept = np.flatnonzero(np.isin(whole, kept))
        return replace(
            data, rows=len(whole), inputs=inputs, keys=data.keys.take(whole), held_out=kept, at=at, once=()
        )

    def step(self, step: RecordedStep, train: bool) -> RecordedStep:
        """A recorded step [batch] as one of such rows; VFL0621 where it has not what such a run records."""
        drop = self._drop(step.number) if train else {}
        own = {}
        for party in self.bundle.manifest.once:
            rows = self.data.at[party][step.rows]
            own[party] = np.where(drop[party][step.rows], ABSENT, rows) if party in drop else rows
        spreads = {party: KeySpread.of(rows) for party, rows in own.items()}
        number = np.full(self.data.rows, ABSENT)
        number[self._whole] = np.arange(len(self._whole))
        there = number[step.rows] != ABSENT
        for rows in own.values():
            there &= rows != ABSENT

        def of(tensors: Mapping[str, Array]) -> dict[str, Array]:
            return {edge: self._rows(edge, tensor, spreads, there) for edge, tensor in tensors.items()}

        return RecordedStep(step.number, number[step.rows][there], of(step.received), of(step.sent))

    def _rows(
        self, id: str, tensor: Array, spreads: Mapping[str, KeySpread], there: NDArray[np.bool_]
    ) -> Array:
        edge = self.bundle.manifest.edges.get(id)
        if edge is None or edge.shape[:1] != ("batch",):
            return tensor
        spread = spreads.get(edge.sender) or spreads.get(edge.receiver)
        if len(tensor) != (len(there) if spread is None else spread.rows):
            why = f"the transcript of {id!r} has other rows than the run"
            raise Failure("VFL0621", why, "record the run again")
        return (tensor if spread is None else tensor[np.maximum(spread.at, 0)])[there]

    def _drop(self, number: int) -> Mapping[str, NDArray[np.bool_]]:
        epoch = (number - 1) // self._order.steps
        if self._dropped[0] != epoch:
            training = next(iter(self.bundle.plans.values())).training
            found = dropped(training.drop, self._order.rows, self.settings["seed"], epoch)
            self._dropped = epoch, found
        return self._dropped[1]


class JoinedTranscript(Transcript):
    """The transcript of one place, of joined rows."""

    def __init__(self, transcript: Transcript, joined: JoinedRows) -> None:
        self._transcript, self._joined = transcript, joined

    def __len__(self) -> int:
        return len(self._transcript)

    def steps(self, most: int | None = None) -> Iterator[RecordedStep]:
        """See `Transcript`."""
        return self._of(self._transcript.steps(most), train=True)

    def evaluations(self, most: int | None = None) -> Iterator[RecordedStep]:
        """See `Transcript`."""
        return self._of(self._transcript.evaluations(most), train=False)

    def _of(self, steps: Iterator[RecordedStep], train: bool) -> Iterator[RecordedStep]:
        found = (self._joined.step(step, train) for step in steps)
        return (step for step in found if len(step.rows))
