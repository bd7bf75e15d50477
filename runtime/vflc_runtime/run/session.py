"""The places of a bundle that are in this process: batches in, losses and predictions out. No files."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array
from vflc_common.words import DEFAULT_ENGINE, EVERY_PROGRAM, FIT, PROGRAMS

from vflc_runtime.bundle.folder import Bundle, opened
from vflc_runtime.bundle.slices import joined
from vflc_runtime.data.batches import trimmed
from vflc_runtime.data.spread import Batch
from vflc_runtime.engines.engine import Engine
from vflc_runtime.engines.ungathered import Rows
from vflc_runtime.engines.watched import engine_maker
from vflc_runtime.metrics import Meter
from vflc_runtime.protect.account import Facts
from vflc_runtime.protect.guards import Guards
from vflc_runtime.run.executor import NO_SPREADS, Executor
from vflc_runtime.run.thread_choice import thread_choice
from vflc_runtime.transport.channel import Channel
from vflc_runtime.transport.local import LocalNetwork, Routine
from vflc_runtime.transport.messages import Envelope


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program left behind for one batch.

    Arrays may share memory with the engine: they hold until the next batch.

    Args:
        losses: each term's value by name, without its coefficient.
        parts: by place, the sum of coefficient times value over the terms there.
        predictions: by the name they have in the spec.
        measured: prediction, label and perhaps weight, by the place and the name of what is measured.
    """

    losses: dict[str, float]
    parts: dict[str, float]
    predictions: dict[str, Array]
    measured: dict[tuple[str, str], tuple[Array, ...]]

    @property
    def loss(self) -> float:
        """The objective, as far as it is known here."""
        return sum(self.parts.values())


class Transport(Protocol):
    """What joins the places that are here, and these to all others."""

    def channel(self, place: str) -> Channel:
        """The end of `place`."""
        ...

    def run(self, routines: Mapping[str, Routine]) -> None:
        """Lets the places that are here run to the end of their programs."""
        ...

    def clear(self) -> None:
        """Forgets what is under way, after a run that failed."""
        ...


class Session:
    """A bundle at work: all its places, or some where `transport` reaches the others.

    Args:
        bundle: as opened, or its folder.
        engine: of those that there are, by name.
        seed: of initial weights and random values; the spec's where None.
        threads: threads an operator may use; a core each where None, or fewer where steps take less time so.
        programs: those that will be run.
        listen: is told of every message as it is sent; its tensors hold until the next update.
        transport: in place of the local one, on which `listen` listens.
    """

    def __init__(
        self,
        bundle: Bundle | Path | str,
        engine: str = DEFAULT_ENGINE,
        seed: int | None = None,
        threads: int | None = None,
        programs: tuple[str, ...] = PROGRAMS,
        listen: Callable[[Envelope], None] | None = None,
        transport: Transport | None = None,
    ) -> None:
        make = engine_maker(engine)
        self.bundle, self.engine, self.threads = opened(bundle, engine), engine, threads
        plans = self.bundle.plans
        self.seed = seed if seed is not None else next(iter(plans.values())).training.seed
        self._transport = transport or LocalNetwork(listen)
        self.engines: dict[str, Engine] = {}
        self.executors: dict[str, Executor] = {}
        programs = (*programs, FIT) if "train" in programs and self.fits_tables else programs
        for place, plan in plans.items():
            self.engines[place] = made = make(plan, programs, self.seed, threads)
            self.executors[place] = Executor(plan, self.bundle.manifest, made, self._transport.channel(place))
        if not self.waits:
            self._exchange_keys()
        self.steps = 0
        self._threads_chosen = thread_choice(engine, threads)
        self._inputs: dict[str, dict[str, tuple[str, ...]]] = {
            program: {
                place: tuple(i.id for i in plan.inputs.values() if not (i.label and program == "predict"))
                for place, plan in plans.items()
            }
            for program in EVERY_PROGRAM
        }
        self._trimmed = {i.id for plan in plans.values() for i in plan.inputs.values() if i.trimmed}

    @property
    def waits(self) -> bool:
        """Whether some places are elsewhere, for whose messages those here wait."""
        return set(self.executors) != set(self.bundle.manifest.places)

    def _exchange_keys(self) -> None:
        """Masked sums need the public keys of all that add to them, and here they all are."""
        masks = {place: executor.masks for place, executor in self.executors.items()}
        publics = {place: own.public() for place, own in masks.items() if own.peers}
        for own in masks.values():
            if own.peers:
                own.agree(publics)

    def prepare(self, facts: Facts) -> None:
        """Tells protections what they must know of a run before its first step; see `Guards.prepare`."""
        for executor in self.executors.values():
            executor.guards.prepare(facts)

    def guards(self) -> dict[str, Guards]:
        """The protections of every place here."""
        return {place: executor.guards for place, executor in self.executors.items()}

    def protections(self) -> list[dict[str, Any]]:
        """What protections were applied in the steps so far; VFL0670 where one did not run in each."""
        edges = self.bundle.manifest.edges.values()
        return [
            entry
            for place, guards in self.guards().items()
            for entry in guards.report({e.id: e.protections for e in edges if e.sender == place}, self.steps)
        ]

    def step(
        self,
        inputs: Mapping[str, Array],
        rows: int | None = None,
        indices: NDArray[np.int64] | None = None,
    ) -> Outcome:
        """Trains on one batch; `inputs` has an array [rows, …] for every input id of every place here.

        `rows` is the size of the batch, where no place here has inputs that tell; `indices` [rows] says
        which rows of the data they are, to protections that keep something for each.
        """
        with self._threads_chosen:
            outcome = self._run("train", inputs, self.steps + 1, rows, indices)
        self.steps += 1
        return outcome

    def evaluate(self, inputs: Mapping[str, Array], rows: int | None = None) -> Outcome:
        """Losses, predictions and what metrics measure of `inputs` [rows, …]; no weight changes."""
        return self._run("evaluate", inputs, 0, rows)

    @property
    def fits_tables(self) -> bool:
        """Whether some place fits tables to the training rows, for which all run a program of their own."""
        return any(FIT in plan.programs for plan in self.bundle.plans.values())

    def fit(self, inputs: Mapping[str, Array], rows: int | None = None) -> None:
        """Leaves in the engines what tables are fitted to of `inputs` [rows, …]; no weight changes."""
        self._run(FIT, inputs, 0, rows)

    def predict(self, inputs: Mapping[str, Array], rows: int | None = None) -> dict[str, Array]:
        """Predictions by name, [rows, …]; labels need not be among the inputs."""
        return self._run("predict", inputs, 0, rows).predictions

    def weights(self) -> dict[str, Array]:
        """A copy of every weight of every place, in its shape [rows, …], by the name users know."""
        found = {name: w.copy() for engine in self.engines.values() for name, w in engine.weights().items()}
        return joined((engine.plan for engine in self.engines.values()), found)

    def weights_by_place(self, without: Container[str] = ()) -> dict[str, dict[str, Array]]:
        """A copy of every weight, in its shape [rows, …], by place and by the name that it has there."""
        return {
            place: {name: w.copy() for name, w in engine.weights().items()}
            for place, engine in self.engines.items()
            if place not in without
        }

    def meter(self, program: str, curves: bool = False) -> Meter:
        """An empty meter for all that a program measures; with `curves` see `curves.PredictionCurve`."""
        return Meter(
            {
                (place, metric.name): metric
                for place, plan in self.bundle.plans.items()
                for metric in plan.metrics
                if program in metric.programs
            },
            [place for place, plan in self.bundle.plans.items() if plan.reports[program].losses],
            curves,
        )

    def first_not_finite(self) -> str | None:
        """The first value of the last batch that is not finite, in the order of the programs.

        Values computed after a gradient came from another place, and weights, which the batch
        has updated already, are consequences and left out.
        """
        for place, engine in self.engines.items():
            edges = self.bundle.manifest.edges.values()
            returned = {e.value for e in edges if e.receiver == place and e.phase == "backward"}
            for name in engine.values():
                if name in returned:
                    break
                value = engine.get(name)
                if value.dtype.kind == "f" and not np.isfinite(value).all():
                    return f"{name!r} at {place!r}"
        return None

    def count_sent(self, sent: Mapping[str, int]) -> None:
        """Goes on counting from what a run had sent before."""
        for executor in self.executors.values():
            for edge in executor.sent:
                executor.sent[edge] = sent.get(edge, 0)

    def sent(self) -> dict[str, int]:
        """Bytes that crossed so far, by edge id."""
        return {edge: count for each in self.executors.values() for edge, count in each.sent.items()}

    def _run(
        self,
        program: str,
        inputs: Mapping[str, Array],
        step: int,
        rows: int | None,
        indices: NDArray[np.int64] | None = None,
    ) -> Outcome:
        names = self._inputs[program]
        spreads = inputs.spreads if isinstance(inputs, Batch) else NO_SPREADS
        if rows is None:
            rows = next((len(each.at) for each in spreads.values()), None) or len(
                next(inputs[name] for each in names.values() for name in each)
            )
        try:
            routines = {
                place: executor.run(
                    program, self._fed(place, names[place], inputs), rows, step, indices, spreads
                )
                for place, executor in self.executors.items()
            }
            self._transport.run(routines)
        except BaseException:
            self._transport.clear()
            raise
        return self._outcome(program)

    def _fed(self, place: str, names: Sequence[str], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a place gets of the inputs: where its engine gathers rows itself, these as they are."""
        if isinstance(inputs, Rows) and getattr(self.engines[place], "gathers", False):
            return inputs.only(names)
        return {name: trimmed(inputs[name]) if name in self._trimmed else inputs[name] for name in names}

    @property
    def gathers(self) -> bool:
        """Whether an engine here gathers the rows of a batch itself."""
        return any(getattr(engine, "gathers", False) for engine in self.engines.values())

    def _outcome(self, program: str) -> Outcome:
        losses: dict[str, float] = {}
        parts: dict[str, float] = {}
        predictions: dict[str, Array] = {}
        measured: dict[tuple[str, str], tuple[Array, ...]] = {}
        for place, plan in self.bundle.plans.items():
            get = self.engines[place].get
            report = plan.reports[program]
            for loss in report.losses:
                value = float(get(loss.value).item())
                losses[loss.name] = losses.get(loss.name, 0.0) + value
                parts[place] = parts.get(place, 0.0) + loss.coefficient * value
            for name, value_id in report.predictions:
                predictions[name] = get(value_id)
            for metric in plan.metrics:
                values = metric.programs.get(program)
                if values is not None:
                    measured[place, metric.name] = tuple(map(get, values))
        return Outcome(losses, parts, predictions, measured)
