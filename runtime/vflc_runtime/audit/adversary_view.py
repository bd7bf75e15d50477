"""All that one curious place knows of a run: what it received, what it sent, and its own table.

Attacks see nothing else, besides the few labels and rows that an attack of the literature assumes to be
known; those are handed out by `knowledge`, one file away from the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.words import MASKED, PROGRAMS

from vflc_runtime.audit.exact import flat
from vflc_runtime.audit.simulation import RecordedTraining
from vflc_runtime.bundle.manifest import Edge, Manifest
from vflc_runtime.errors import Failure
from vflc_runtime.protect.masks import Sums
from vflc_runtime.protect.wire import unpack
from vflc_runtime.run.transcript import RecordedStep, Transcript

BATCHES = 200
"""Batches that an attack looks at where each is attacked by itself; they lie evenly over the transcript."""


@dataclass(frozen=True, slots=True)
class ObservedEdges:
    """Edges whose values a place sees side by side, as one row: the joint row, or one edge.

    Args:
        name: the edge, or `all` edges of a phase.
        phase: `forward` or `backward`.
        edges: in the order of their columns.
        sent: whether the place sent them itself; otherwise it received them.
        program: in which they cross.
        rows: whether there is a value for each row; otherwise one for the whole batch.
        part: whether it is one edge of several, which are a channel together.
    """

    name: str
    phase: str
    edges: tuple[str, ...]
    sent: bool = False
    program: str = "train"
    rows: bool = True
    part: bool = False


class AdversaryView:
    """What `place` knows.

    Args:
        place: the curious place.
        manifest: of the run; it is the same everywhere.
        transcript: training steps as this place saw them.
        whole: by program, `evaluate` or `predict`, one batch with the trained model, as this place saw it.
        own: its table as encoded [rows, …], by input id; empty at a place without data.
        total: how many aligned rows there are.

    `learned` is what the manifest says that each place may learn at most; `start` what the place made of the
    initial weights by itself, where it did.
    """

    def __init__(
        self,
        place: str,
        manifest: Manifest,
        transcript: RecordedTraining | Transcript,
        whole: Mapping[str, RecordedStep],
        own: Mapping[str, Array],
        total: int,
    ) -> None:
        self.place, self.own, self.total, self._whole = place, own, total, whole
        self._edges, self._transcript, self._precision = manifest.edges, transcript, manifest.precision
        self.start: Any = None
        self.learned = manifest.document.get("learned", ())

    def channels(self, phase: str, program: str = "train", sent: bool = False) -> list[ObservedEdges]:
        """The joint row of all edges of a phase, and where there are several, each edge by itself."""
        edges = tuple(edge.id for edge in self._own_edges(program, sent) if edge.phase == phase)
        if len(edges) < 2:
            return [ObservedEdges(edge, phase, (edge,), sent, program) for edge in edges]
        alone = [ObservedEdges(edge, phase, (edge,), sent, program, part=True) for edge in edges]
        return [ObservedEdges("all", phase, edges, sent, program), *alone]

    def every_channel(self) -> Iterator[ObservedEdges]:
        """All that comes, of training, evaluation and prediction; and what the place sent in training."""
        yield from self.channels("backward")
        for program in PROGRAMS:
            yield from self.channels("forward", program)
        yield from self.channels("forward", sent=True)

    def answered(self, channel: ObservedEdges) -> ObservedEdges | None:
        """What the place sent itself that gradients are of, in their order; None where it did not.

        An edge's gradient is called `VALUE.gradient`, with more behind it where it is protected.
        """
        sent = {edge for each in self.channels("forward", channel.program, sent=True) for edge in each.edges}
        known = {edge.removesuffix(".protected"): edge for edge in sent}
        edges = tuple(known.get(edge.partition(".gradient")[0], "") for edge in channel.edges)
        if "" in edges or not edges:
            return None
        return ObservedEdges(channel.name, "forward", edges, True, channel.program)

    def senders(self) -> dict[str, ObservedEdges]:
        """What each other place sends of a row for a prediction, as one channel, and masked sums."""
        edges: dict[str, list[str]] = {}
        sums: dict[str, ObservedEdges] = {}
        for edge in self._own_edges("predict", False):
            edges.setdefault(edge.sender, []).append(edge.id)
            if edge.packing is not None and edge.packing.kind == MASKED:
                members = edge.packing.members
                sums[" + ".join(edge.packing.places)] = ObservedEdges(
                    f"sum of {len(members)}", "forward", members, program="predict"
                )
        alone = {
            sender: ObservedEdges("all", "forward", tuple(ids), program="predict")
            for sender, ids in edges.items()
        }
        return alone | sums

    @property
    def prediction(self) -> RecordedStep:
        """One batch of prediction."""
        return self._whole["predict"]

    def steps(self, most: int | None = BATCHES, program: str = "train") -> Iterator[RecordedStep]:
        """Training steps in order, evenly thinned to `most`, all where None.

        Of another program the batch with the trained model, and what was recorded of validation before.
        """
        if program == "train":
            yield from self._transcript.steps(most)
            return
        yield self._whole[program]
        if program == "evaluate":
            yield from self._transcript.evaluations(most)

    def rows(self, step: RecordedStep, channel: ObservedEdges) -> Array:
        """The values of a channel, float64 [n, w]; VFL0621 where the transcript lacks some of them."""
        tensors = step.sent if channel.sent else step.received
        for edge in channel.edges:
            if edge not in tensors or len(tensors[edge]) != len(step.rows):
                raise Failure(
                    "VFL0621",
                    f"the transcript of {self.place!r} has no {edge!r} for every row of step {step.number}",
                    "record the run again",
                )
        sums = self._masked(channel)
        parts = [flat(self._read(edge, tensors, sums)) for edge in channel.edges]
        return np.concatenate(parts, axis=1, dtype=np.float64)

    def whole(self, program: str = "train") -> list[ObservedEdges]:
        """Edges that come with one value for the whole batch, each by itself."""
        return [
            ObservedEdges(edge.id, edge.phase, (edge.id,), program=program, rows=False)
            for edge in self._edges.values()
            if edge.receiver == self.place and program in edge.programs and "batch" not in edge.shape
            and all(isinstance(size, int) for size in edge.shape) and edge.packing is None
        ]  # fmt: skip

    def sums(self, step: RecordedStep, channel: ObservedEdges) -> Array:
        """The values of such a channel [w], as float64."""
        (edge,) = channel.edges
        return step.received[edge].reshape(-1).astype(np.float64)

    def _masked(self, channel: ObservedEdges) -> tuple[Sums, set[str]]:
        """What adds up those masked sums of which a channel has every term, and these terms."""
        packed = {edge: self._edges[edge].packing for edge in channel.edges}
        whole = {
            edge: packing
            for edge, packing in packed.items()
            if packing is not None and packing.kind == MASKED and set(packing.members) <= set(packed)
        }
        return Sums(whole, self._precision), set(whole)

    def _read(self, edge: str, tensors: Mapping[str, Array], masked: tuple[Sums, set[str]]) -> Array:
        """A value as the receiver reads it; a masked term without the others is what it looks like."""
        packing, tensor, (sums, terms) = self._edges[edge].packing, tensors[edge], masked
        if packing is None:
            return tensor
        if packing.kind != MASKED:
            return unpack(edge, packing, tensor, self._precision, tensors.get(packing.by))
        return sums.add(edge, packing, tensor) if edge in terms else tensor

    def _own_edges(self, program: str, sent: bool) -> Iterator[Edge]:
        """Edges of this place that carry a value of fixed width for each row."""
        for edge in self._edges.values():
            end = edge.sender if sent else edge.receiver
            if end == self.place and program in edge.programs and by_row(edge):
                yield edge


def by_row(edge: Edge) -> bool:
    """Whether an edge carries one vector for each row, which is what attacks are made for."""
    return bool(edge.shape) and edge.shape[0] == "batch" and all(isinstance(d, int) for d in edge.shape[1:])
