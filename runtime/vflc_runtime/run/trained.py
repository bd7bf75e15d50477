"""A trained model and other rows: of parties by key, or of a population by user.

`evaluate` and `predict` do with both the same. Each says here how its rows are read, what they measure and
what is predicted of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.folder import is_population
from vflc_runtime.data.batches import EVALUATION_BATCH, in_order, sequential
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.encoded import BLOCK
from vflc_runtime.data.keys import restored_columns
from vflc_runtime.data.output import titled
from vflc_runtime.data.source import TableSource
from vflc_runtime.data.spread import ABSENT
from vflc_runtime.data.values import restored
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.population.new_users import NewUsers
from vflc_runtime.population.rounds import summed
from vflc_runtime.population.users import Users
from vflc_runtime.population.worker_pool import LocalPool, groups
from vflc_runtime.protect import record, spending
from vflc_runtime.run import insight, loading
from vflc_runtime.run.client_executor import ClientExecutor
from vflc_runtime.run.loop import batches_of, measure
from vflc_runtime.run.session import Session
from vflc_runtime.run.settings import chosen
from vflc_runtime.run.state import RunFolder
from vflc_runtime.transport.messages import Envelope


class TrainedModel(ABC):
    """The model of a run, for one program, and after `load` the rows that it is applied to.

    Attributes:
        takes: options that it has a use for, beside those that all have.
    """

    takes: ClassVar[frozenset[str]]
    data: Dataset

    def __init__(self, run: RunFolder, program: str) -> None:
        self.run, self.program = run, program

    @abstractmethod
    def load(self, sources: Mapping[str, TableSource], listen: Listener) -> None:
        """Reads the rows; to measure, with their labels."""

    @abstractmethod
    def measured(self, details: bool = False) -> dict[str, Any]:
        """`evaluation` (loss and each metric by name), `bytes_sent` by edge id, and what else there is.

        With `details`, of parties also `curves` by prediction and `drift` by column, as far as they are known
        here: see `insight`.
        """

    @abstractmethod
    def predicted(self, suffix: str) -> Iterator[pa.RecordBatch]:
        """The key and the columns of each prediction, in order of the keys, for a file of that suffix."""


class PartyModel(TrainedModel):
    """Of parties that are all in this process."""

    takes = frozenset({"threads"})

    def __init__(
        self, run: RunFolder, program: str, engine: str, listen: Listener, threads: int | None = None
    ) -> None:
        super().__init__(run, program)
        self.session = trained_session(run, program, engine, threads, listen=listen)

    def load(self, sources: Mapping[str, TableSource], listen: Listener) -> None:
        """See `TrainedModel`."""
        bundle, labels = self.session.bundle, self.program == "evaluate"
        self.data = loading.load_trained(bundle, sources, self.run.fitted(bundle), labels, listen)
        charge(self.session, self.run, self.program, self.data)

    def measured(self, details: bool = False) -> dict[str, Any]:
        """See `TrainedModel`."""
        return measured(self.session, self.data, self.run.path if details else None)

    def predicted(self, suffix: str) -> Iterator[pa.RecordBatch]:
        """See `TrainedModel`."""
        return predicted(self.session, self.data, suffix)


class PopulationModel(TrainedModel):
    """Of users that it has not seen; they run together on one thread."""

    takes = frozenset({"top"})

    def __init__(
        self, run: RunFolder, program: str, engine: str, listen: Listener, top: int | None = None
    ) -> None:
        super().__init__(run, program)
        self.population = population = run.population(engine)
        hub = population.hub.place
        self.weights = run.models_at([hub], listen)[hub]
        self.runner = ClientExecutor(population, chosen(population, run.settings), training=False)
        self.new = NewUsers(population.users, self.runner, self.weights, top)

    def load(self, sources: Mapping[str, TableSource], listen: Listener) -> None:
        """See `TrainedModel`."""
        if self.program == "evaluate":
            self.data = loading.load_users(self.population, sources, listen)
        else:
            self.data, self.given = loading.load_new_users(self.population, sources, listen)
        self.users = Users.of(self.data)

    def measured(self, details: bool = False) -> dict[str, Any]:
        """Rebuilds every user from one half of its examples and measures on the other."""
        pool, users = LocalPool(self.runner, self.users), groups(np.arange(len(self.users)))
        found = summed(self.population.users, pool.evaluate(users, self.weights))
        return {
            "users": len(self.users),
            "evaluation": found.scores,
            "too_few_examples": found.small,
            "bytes_sent": found.sent,
        }

    def predicted(self, suffix: str) -> Iterator[pa.RecordBatch]:
        """Of the rows that have no label, or of items: see `NewUsers`."""
        keys = restored(self.users.keys, self.data.key_types[self.population.users.place][0], suffix)
        return self.new.predicted(self.users, self.given, keys)


def trained_model(
    run: RunFolder, program: str, engine: str, listen: Listener, **options: Any
) -> TrainedModel:
    """The model of a run; TypeError where an option that is given, and so is not None, has no use."""
    kind = PopulationModel if is_population(run.path / "bundle") else PartyModel
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() - kind.takes:
        raise TypeError(f"`{name}` does not apply to this run")
    return kind(run, program, engine, listen, **given)


def trained_session(
    run: RunFolder,
    program: str,
    engine: str,
    threads: int | None,
    hear: Callable[[Envelope], None] | None = None,
    listen: Listener = silent,
) -> Session:
    """A session with the run's weights that runs one program.

    `hear` is told of every message, `listen` where something else than the run's models is taken.

    Raises:
        Failure: VFL0629, there are none; VFL0636, the run has only the part of some parties.
    """
    if run.places is not None:
        raise Failure(
            "VFL0636",
            f"{run.path} has only the part of {', '.join(run.places)}",
            f"run it at all parties: `vflc party NAME RUN --deploy deploy.toml --do {program}`",
        )
    bundle = run.bundle(engine)
    session = Session(bundle, engine, run.settings["seed"], threads, (program,), hear)
    for place, weights in run.models(bundle, listen).items():
        session.engines[place].load(weights)
    record.apply(run.path, session.guards(), program)
    return session


def charge(session: Session, run: RunFolder, program: str, data: Dataset) -> None:
    """Charges a pass over rows to the ledgers of the parties here; see `spending.go_over`."""
    bundle = session.bundle
    spending.go_over(run.settings, bundle.manifest, tuple(bundle.parties), program, data.keys)


def measured(session: Session, data: Dataset, run: Path | None = None) -> dict[str, Any]:
    """What is known here of how good the model is; `evaluation` is empty at a place without labels.

    With the folder of the `run`, `curves` and `drift` come along: see `insight`.
    """
    meter = measure(session, data, in_order(data.rows), curves=run is not None)
    found = {"evaluation": meter.results(details=True), "bytes_sent": session.sent()}
    if run is None:
        return found
    by_place = insight.curves(meter).values()
    found["curves"] = {name: each for place in by_place for name, each in place.items()}
    return {**found, "drift": insight.drift(run, session.bundle, data)}


def predicted(session: Session, data: Dataset, suffix: str) -> Iterator[pa.RecordBatch]:
    """Predicts all rows; what the places here have of it, for a file of that suffix."""
    plans = session.bundle.plans.values()
    classes = {each: found for plan in plans for each, found in plan.reports["predict"].classes.items()}
    for block in in_order(data.rows, BLOCK):
        columns = _keys(session, data, block, suffix)
        columns |= _status(session.bundle.manifest.missing, data, block)
        found: dict[str, list[Array]] = {}
        for rows, read in batches_of(session, data, sequential(block, EVALUATION_BATCH)):
            for prediction, values in session.predict(read(), len(rows)).items():
                found.setdefault(prediction, []).append(values.copy())
        for prediction, parts in found.items():
            columns |= titled(prediction, np.concatenate(parts), classes.get(prediction, ()))
        yield pa.record_batch(columns)


def _keys(session: Session, data: Dataset, rows: Indices, suffix: str) -> dict[str, pa.Array]:
    """The key columns of consecutive rows [n]; the numbers of rows at a place without a table."""
    if not session.bundle.parties:
        return {"row": pa.array(rows)}
    plans = session.bundle.plans.values()
    here = [p for plan in plans if plan.reports["predict"].predictions for p in plan.tables]
    party = (here or session.bundle.parties)[0]
    info = loading.encoders(session.bundle)["parties"][party]
    keys = data.keys.slice(int(rows[0]), len(rows)).cast(pa.string())
    return restored_columns(info, keys, data.key_types[party], suffix)


def _status(missing: Sequence[str], data: Dataset, rows: Indices) -> dict[str, pa.Array]:
    """The column `status` where parties may lack rows: without which of them a prediction is made."""
    known = [party for party in missing if party in data.at]
    if not known:
        return {}
    lacks = sum((data.at[party][rows] == ABSENT).astype(np.int64) << bit for bit, party in enumerate(known))
    words = [
        ", ".join(party for bit, party in enumerate(known) if pattern >> bit & 1)
        for pattern in range(1 << len(known))
    ]
    words = ["complete", *(f"without {parties}" for parties in words[1:])]
    return {"status": pa.array(words).take(pa.array(lacks))}
