"""Trains a model every way, step by step on the same rows, and compares what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, count, islice
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from vflc_common.arrays import Array, Indices
from vflc_common.words import FIT

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.manifest import Edge
from vflc_runtime.bundle.plugins import find_engine
from vflc_runtime.bundle.slices import joined
from vflc_runtime.data.batches import Order, in_order
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.spread import KeySpread
from vflc_runtime.errors import Failure
from vflc_runtime.run import fitting
from vflc_runtime.run.loading import present
from vflc_runtime.run.session import Outcome, Session
from vflc_runtime.scratch import scratch_folder
from vflc_runtime.transport.messages import Envelope
from vflc_runtime.verify.differences import Comparison, Pair, compare
from vflc_runtime.verify.idle import Shares, hold
from vflc_runtime.verify.non_smooth import Chooser, NonSmoothPoints
from vflc_runtime.verify.recording import Recording, RecordingKey
from vflc_runtime.verify.rules import ModelOptimizers

if TYPE_CHECKING:
    from vflc_runtime.engines.keras import KerasEngine

PREDICTED = 4096
"""Rows whose predictions are compared after training."""


@dataclass(frozen=True, slots=True)
class Way:
    """A bundle, opened for an engine, split or unsplit; with `rules` Keras's own optimizers make updates."""

    name: str
    bundle: Bundle
    rules: ModelOptimizers | None = None

    @property
    def engine(self) -> str:
        return self.bundle.engine


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """How long to train and on what.

    Args:
        steps: of every way.
        batch: rows a step.
        seed: of weights, of the order of rows and of random values.
        threads: threads an operator may use; a core each where None.
    """

    steps: int
    batch: int
    seed: int
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class WayResult:
    """How a way's training went.

    Args:
        losses: of the first and the last step.
        shares: by dense weight, its gradient as a share of the largest, where that was largest.
    """

    way: str
    seconds: float
    losses: tuple[float, float]
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of all ways in one precision.

    Args:
        comparisons: of every pair.
        trained: how each training went.
        exchanged: how many rows near a non-smooth point gave way to others.
        idle: weights that nothing but rounding moves, which were held, and the largest share that
            their gradients had in any way and step.
    """

    comparisons: list[Comparison]
    trained: list[WayResult]
    exchanged: int
    idle: Mapping[str, float] = field(default_factory=dict)


OnStep = Callable[[str, int], None]
"""Is told of the way at work and of the steps that it has done."""


def verify(
    ways: Sequence[Way],
    data: Dataset,
    settings: VerifySettings,
    non_smooth: NonSmoothPoints | None = None,
    listen: OnStep | None = None,
    idle: Sequence[str] = (),
) -> Verification:
    """Trains every way, one after another, and compares them; see `_pairs`.

    Args:
        ways: of one model and precision; the first one is unsplit.
        data: rows of all parties, in the precision of the ways.
        settings: how to train.
        non_smooth: where gradients jump, to keep clear of; for float32.
        listen: is told of every step.
        idle: weights that every way holds where they start; see `idle_weights`.

    Raises:
        Failure: VFL0611 where a loss is not finite, VFL0609 where the batch is too large.
    """
    batches = _batches(data, settings)
    precision = ways[0].bundle.manifest.precision
    choose = Chooser(non_smooth, data.batch, data.rows, settings.seed) if non_smooth is not None else None
    crossing = {
        edge.id: edge.value
        for way in ways
        for edge in way.bundle.manifest.edges.values()
        if "train" in edge.programs
    }
    once = {
        edge.id: edge
        for way in ways
        for edge in way.bundle.manifest.edges.values()
        if edge.shape[:1] == ("batch",) and {edge.sender, edge.receiver} & {*way.bundle.manifest.once}
    }
    trained: list[WayResult] = []
    planned = [rows.copy() for rows in batches]
    with scratch_folder() as folder, ExitStack() as files:
        recordings: dict[str, Recording] = {}
        for way in ways:
            recording = files.enter_context(Recording(folder / str(len(recordings))))
            recordings[way.name] = recording
            run = _Run(way, settings, recording, crossing, once, idle)
            trained.append(run.train(data, batches, choose, listen))
            choose = None  # the first way has chosen, the others train on the same rows
        exchanged = sum(int((a != b).sum()) for a, b in zip(planned, batches, strict=True))
        shares = {name: max(each.shares[name] for each in trained) for name in idle}
        pairs, close = _pairs(ways)
        return Verification(compare(recordings, precision, pairs, close), trained, exchanged, shares)


def _pairs(ways: Sequence[Way]) -> tuple[list[Pair], list[Pair]]:
    """What to compare, and of that what agrees but for an approximation.

    All ways with each other; one by Keras's optimizers with the one that differs in nothing else.
    """
    pairs = list(combinations((way.name for way in ways if way.rules is None), 2))
    close = []
    for way in ways:
        if way.rules is not None:
            like = next(each for each in ways if each.bundle is way.bundle and each.rules is None)
            pairs.append((like.name, way.name))
            close += [] if way.rules.exact else pairs[-1:]
    return pairs, close


def idle_weights(
    way: Way, data: Dataset, settings: VerifySettings, listen: OnStep | None = None
) -> list[str]:
    """Trains in float64 to see which weights the objective does not depend on.

    `way` is unsplit and in float64, as is `data`. Raises as `verify`.
    """
    session = Session(way.bundle, way.engine, settings.seed, settings.threads, ("train",))
    _fit(session, data)
    shares = Shares(session)
    for index, rows in enumerate(_batches(data, settings)):
        session.step(data.batch(rows))
        shares.add()
        if listen is not None:
            listen(f"{way.name} in float64", index + 1)
    return shares.idle()


def _fit(session: Session, data: Dataset) -> None:
    """Fits tables to all rows, as a run does before its first step."""
    if session.fits_tables:
        fitting.fit(session, fitting.batches(data, in_order(data.rows)), {})


def _batches(data: Dataset, settings: VerifySettings) -> list[Indices]:
    """The rows of every step."""
    order = Order(data.rows, settings.seed, 0.0, settings.batch)
    rows = (rows for epoch in count() for rows in order.batches(epoch))
    return list(islice(rows, settings.steps))


def _unrounded(bundle: Bundle) -> Bundle:
    """A bundle that multiplies in its own precision: rounded factors would make ways differ by more."""
    plans = {
        place: replace(plan, training=replace(plan.training, factors="float32"))
        for place, plan in bundle.plans.items()
    }
    return replace(bundle, plans=plans)


class _Run:
    """One way at work; everything it computes goes into the recording."""

    def __init__(
        self,
        way: Way,
        settings: VerifySettings,
        recording: Recording,
        crossing: Mapping[str, str],
        once: Mapping[str, Edge],
        idle: Sequence[str],
    ) -> None:
        self._way, self._recording, self._crossing, self._once = way, recording, crossing, once
        self._spreads: Mapping[str, KeySpread] = {}
        self._step: int | None = None
        self._session = Session(
            _unrounded(way.bundle),
            way.engine,
            settings.seed,
            settings.threads,
            ("train", "predict"),
            self._message,
        )
        if way.rules is not None:
            dense = find_engine(way.engine).dense
            assert dense is not None, "only an engine with optimizers of its own has rules"
            make = partial(dense, rules=way.rules.by_id)
            for engine in self._session.engines.values():
                cast("KerasEngine", engine).update_by(make)
        self._idle, self._shares = idle, Shares(self._session)

    def train(
        self, data: Dataset, batches: list[Indices], choose: Chooser | None, listen: OnStep | None
    ) -> WayResult:
        """Trains on the batches; where `choose` is given, the batches become what it chose."""
        started, losses = time.perf_counter(), []
        bundle = self._way.bundle
        data = replace(data, once=bundle.manifest.once, present=present(bundle))
        self._step = 0
        _fit(self._session, data)
        start = {name: value.copy() for name, value in self._weights().items() if name in self._idle}
        self._add_weights()
        for index, rows in enumerate(batches):
            self._step = index + 1
            if choose is not None:
                batches[index] = rows = choose(rows, self._step, self._weights())
            self._spreads = {party: KeySpread.of(at[rows]) for party, at in data.at.items()}
            losses.append(self._outcome(self._session.step(data.batch(rows))))
            if self._idle:
                self._shares.add()
                hold(self._session, start, self._idle)
            if listen is not None:
                listen(self._way.name, self._step)
        self._step = None
        predictions = self._session.predict(data.batch(np.arange(min(data.rows, PREDICTED))))
        for name, value in predictions.items():
            self._add("prediction", name, value)
        self._add_weights()
        seconds, ends = time.perf_counter() - started, (losses[0], losses[-1])
        return WayResult(self._way.name, seconds, ends, self._shares.largest)

    def _add_weights(self) -> None:
        for name, value in self._weights().items():
            self._add("weight", name, value)

    def _weights(self) -> dict[str, Array]:
        engines = self._session.engines.values()
        found = {name: array for engine in engines for name, array in engine.weights().items()}
        return joined((engine.plan for engine in engines), found)

    def _outcome(self, outcome: Outcome) -> float:
        if not math.isfinite(outcome.loss):
            raise Failure(
                "VFL0611",
                f"the loss is {outcome.loss} at step {self._step}, {self._way.name}",
                "lower the learning rate or clip gradients: there is nothing to compare",
            )
        for name, loss in outcome.losses.items():
            self._add("loss", name, np.asarray(loss))
        for name, value in outcome.predictions.items():
            self._add("prediction", name, value)
        if not self._session.bundle.manifest.edges:
            self._inside()
        return outcome.loss

    def _inside(self) -> None:
        """Of an unsplit model, those of the values that cross in the split one which it has at hand."""
        for engine in self._session.engines.values():
            there = set(engine.values())
            for edge, value in self._crossing.items():
                if value in there:
                    found = engine.get(value)
                    if spread := self._spread(edge, "sender"):
                        found = spread.masked(found)
                    elif spread := self._spread(edge, "receiver"):
                        found = spread.summed(found)
                    self._add("message", edge, found)

    def _message(self, envelope: Envelope) -> None:
        if envelope.program == FIT:
            return  # what comes of it is compared: the tables
        for edge, tensor in envelope.tensors.items():
            spread = self._spread(edge, "sender")
            self._add("message", edge, spread.expanded(tensor) if spread else tensor)

    def _spread(self, edge: str, end: Literal["sender", "receiver"]) -> KeySpread | None:
        """How rows of the place at that end, which computes once a key, stand beside those of the batch."""
        return self._spreads.get(getattr(self._once[edge], end)) if edge in self._once else None

    def _add(self, kind: str, name: str, value: Array) -> None:
        self._recording.add(RecordingKey(kind, name, self._step), value)
