"""A short run in memory that keeps all that each place is sent: in training, evaluation and prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.manifest import Message
from vflc_runtime.data.batches import Order
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.protect import spending
from vflc_runtime.protect.account import Facts
from vflc_runtime.run import start, units
from vflc_runtime.run.loop import facts
from vflc_runtime.run.session import Session
from vflc_runtime.run.transcript import RecordedStep, evenly
from vflc_runtime.run.work import order_of
from vflc_runtime.scratch import scratch_folder
from vflc_runtime.transport.messages import Envelope

PREDICTED = 4000
"""Rows of the batches of evaluation and of prediction that are recorded; they lie evenly over all rows."""
PASSES = 2
"""Of evaluation and prediction, which are recorded after training."""
ROOM = 256 << 20
"""Bytes that are kept of training, over all places; it ends with the step that goes beyond."""


class MessageRecorder:
    """Keeps a copy of what crosses, for those that receive it and for those that send it."""

    def __init__(self, messages: Mapping[str, Message], places: tuple[str, ...]) -> None:
        self._messages, self._places = messages, places
        self.bytes = 0
        self._clear()

    def __call__(self, envelope: Envelope) -> None:
        receiver = self._messages[envelope.message].receiver
        for edge, tensor in envelope.tensors.items():
            kept = np.array(tensor, order="C")  # the engine's own array changes with the next update
            self._received[receiver][edge] = self._sent[envelope.sender][edge] = kept
            self.bytes += kept.nbytes

    def taken(self, number: int, rows: Indices) -> dict[str, RecordedStep]:
        """What was recorded since the last call, by place, as of the step `number` on `rows` [batch]."""
        received, sent = self._received, self._sent
        self._clear()
        return {place: RecordedStep(number, rows, received[place], sent[place]) for place in self._places}

    def _clear(self) -> None:
        self._received: dict[str, dict[str, Array]] = {place: {} for place in self._places}
        self._sent: dict[str, dict[str, Array]] = {place: {} for place in self._places}


@dataclass
class RecordedTraining:
    """What one place received and sent in training, step by step."""

    recorded: list[RecordedStep] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.recorded)

    def steps(self, most: int | None = None) -> Iterator[RecordedStep]:
        """Steps in order; not more than `most`, which then lie evenly over all of them."""
        yield from evenly(self.recorded, most)

    def evaluations(self, most: int | None = None) -> Iterator[RecordedStep]:
        """Nothing is validated in between."""
        yield from ()


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """What each place received and sent: in training step by step, and by program one batch afterwards."""

    train: Mapping[str, RecordedTraining]
    whole: Mapping[str, Mapping[str, RecordedStep]]


def chosen(rows: int) -> Indices:
    """Of so many rows those, in order [batch], that the batches of evaluation and of prediction have."""
    return np.unique(np.linspace(0, rows - 1, min(PREDICTED, rows)).astype(np.int64))


def records_all(
    session: Session, recorder: MessageRecorder, data: Dataset, program: str
) -> dict[str, RecordedStep]:
    """One batch of evaluation or prediction, as each place saw it."""
    rows = chosen(data.rows)
    inputs = data.batch(rows)
    session.predict(inputs) if program == "predict" else session.evaluate(inputs)
    return recorder.taken(0, rows)


def simulate(
    bundle: Bundle,
    data: Dataset,
    settings: Mapping[str, Any],
    steps: int,
    engine: str,
    threads: int | None = None,
    ledger: Mapping[str, Any] | None = None,
    room: int = ROOM,
) -> SimulatedRun:
    """Trains `steps` steps, or the epochs of the run, as it would, and evaluates and predicts once.

    Noise is calibrated for a pass of evaluation and one of prediction more than the run has, so that bounds
    cover all that is recorded. Labels that a ledger has drawn are taken from there, see `charged`. At most
    `room` bytes of training are kept, over all places.

    Raises:
        Failure: as training does.
    """
    order = order_of(settings, data.rows, data.held_out)
    places = tuple(bundle.plans)
    recorder = MessageRecorder(bundle.manifest.messages, places)
    session = Session(bundle, engine, settings["seed"], threads, listen=recorder)
    epochs = _epochs(settings, order, steps)
    session.prepare(_facts(settings, order, steps))
    draws = spending.drawn({"ledger": ledger}, bundle.plans, data)
    for place, guards in session.guards().items():
        guards.take(draws.get(place, {}))
    units.begin(session.engines, data.state)
    if next(iter(bundle.plans.values())).training.secret_start:
        with scratch_folder() as folder:
            for place in places:
                (folder / place).mkdir()
            start.begin(folder, session.engines)
    recorded = {place: RecordedTraining() for place in places}
    for epoch in range(epochs):
        for rows in order.batches(epoch):
            session.step(data.batch(rows), len(rows), rows)
            for place, step in recorder.taken(session.steps, rows).items():
                recorded[place].recorded.append(step)
            if session.steps == steps or recorder.bytes >= room:
                break
        if recorder.bytes >= room:
            break
    whole = {program: records_all(session, recorder, data, program) for program in ("evaluate", "predict")}
    return SimulatedRun(recorded, {place: {name: whole[name][place] for name in whole} for place in places})


def charged(
    bundle: Bundle, data: Dataset, settings: Mapping[str, Any], steps: int, folder: Path
) -> dict[str, Any] | None:
    """Charges one simulation to ledgers in a folder, whatever is granted: what it must keep of them."""
    facts = _facts(settings, order_of(settings, data.rows, data.held_out), steps)
    return spending.begin(folder, bundle.manifest, bundle.plans, data, facts, limited=False)


def _epochs(settings: Mapping[str, Any], order: Order, steps: int) -> int:
    return int(min(settings["epochs"], -(-steps // order.steps)))


def _facts(settings: Mapping[str, Any], order: Order, steps: int) -> Facts:
    return facts({**settings, "epochs": _epochs(settings, order, steps) + PASSES, "steps": None}, order)


MADE_UP = 1000
"""Rows that first steps are done with, in at most `FIRST` steps."""
FIRST = 60


def first_steps(
    bundle: Bundle,
    data: Dataset,
    settings: Mapping[str, Any],
    engine: str,
    threads: int | None = None,
) -> Mapping[str, tuple[RecordedStep, ...]]:
    """What each place sees of first steps, each from the initial weights, with rows of `data` in turn."""
    recorder = MessageRecorder(bundle.manifest.messages, tuple(bundle.plans))
    session = Session(bundle, engine, settings["seed"], threads, ("train",), recorder)
    order = Order(data.rows, settings["seed"], 0.0, settings["batch"])
    session.prepare(facts({**settings, "epochs": FIRST, "steps": FIRST}, order))
    units.begin(session.engines, data.state)
    weights = session.weights_by_place()
    recorded: list[Mapping[str, RecordedStep]] = []
    for rows in order.batches(0):
        for place, engine_ in session.engines.items():
            engine_.load(weights[place])
        session.step(data.batch(rows), len(rows), rows)
        recorded.append(recorder.taken(1, rows))
        if len(recorded) == FIRST or len(recorded) * order.batch >= MADE_UP:
            break
    return {place: tuple(each[place] for each in recorded) for place in bundle.plans}
