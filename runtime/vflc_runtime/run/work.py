"""What there is to train: rows of parties in batches, or users of a population in cohorts.

`train` does with both the same. Each says here what its settings are, how its data is read, and which
loop it goes through.
"""

from __future__ import annotations

import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from vflc_common.arrays import Indices

from vflc_runtime.bundle.folder import Bundle, PopulationBundle
from vflc_runtime.data.batches import Order
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.source import TableSource
from vflc_runtime.events import Listener
from vflc_runtime.interrupts import Interrupts
from vflc_runtime.population.rounds import Rounds
from vflc_runtime.population.users import Users, split_users
from vflc_runtime.population.worker_pool import WorkerPool
from vflc_runtime.protect import spending
from vflc_runtime.run import loading, start_weights
from vflc_runtime.run.client_executor import ClientExecutor, local_pool
from vflc_runtime.run.inherited import Ancestors
from vflc_runtime.run.loop import EpochLoop, facts
from vflc_runtime.run.rounds import RoundLoop
from vflc_runtime.run.session import Session
from vflc_runtime.run.settings import (
    EPOCHS,
    ROUNDS,
    OptionRules,
    TrainOptions,
    chosen,
    ledger_beside,
    only_those_of,
)
from vflc_runtime.run.start_weights import StartingPoint
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.training import TrainingLoop
from vflc_runtime.run.transcript import Recorder


class Work(ABC):
    """A bundle, and after `load` its data, before a run begins or goes on.

    Attributes:
        terms: which settings it has.
        fitted: what encoders were fitted to, by input id.
        recorder: keeps a transcript, where one was asked for.
    """

    terms: ClassVar[OptionRules]
    fitted: Mapping[str, Any] = {}
    recorder: Recorder | None = None

    @abstractmethod
    def load(
        self,
        sources: Mapping[str, TableSource],
        settings: Mapping[str, Any],
        run: RunFolder | None,
        listen: Listener,
    ) -> None:
        """Reads the rows; those of a new run, where `run` is None, are checked to be worth training on."""

    @abstractmethod
    def marks(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """By what a resumed run knows its rows again, to be kept in its settings."""

    @abstractmethod
    def begin(self, out: Path, settings: dict[str, Any]) -> None:
        """The last words before there is a folder of a new run: what cannot be done leaves none behind."""

    def at_work(self, out: Path, settings: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """Holds what training needs besides."""
        return nullcontext()

    @abstractmethod
    def loop(
        self, run: RunFolder, settings: Mapping[str, Any], listen: Listener, interrupts: Interrupts
    ) -> TrainingLoop:
        """The loop at its start; within `at_work`."""


class PartyWork(Work):
    """All parties of a model in this process."""

    terms = EPOCHS

    def __init__(self, bundle: Bundle, options: TrainOptions) -> None:
        self.bundle, self.options = bundle, options
        self.start: dict[str, dict[str, NDArray[Any]]] = {}
        self.given: str | None = None
        self.before: Ancestors = []

    def load(
        self,
        sources: Mapping[str, TableSource],
        settings: Mapping[str, Any],
        run: RunFolder | None,
        listen: Listener,
    ) -> None:
        """See `Work`."""
        fitted = None if run is None else run.fitted(self.bundle)
        apart = self.options.validation_data
        start = StartingPoint.of(self.options, self.bundle) if run is None else None
        if start is not None:
            fitted, self.start, self.given = start.fitted, start.given.weights, start.given.name
            self.before = start.before
        self.data = data = loading.load_training(
            self.bundle, sources, settings, fitted, listen, apart=apart, fit_rest=run is None
        )
        self.apart = apart is not None
        if start is not None:
            start.tell(data.state, listen)
        if run is None:
            loading.check_labels(self.bundle, data)
        self.fitted, self.order = data.state, order_of(settings, data.rows, data.held_out)

    def marks(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """See `Work`."""
        return loading.marks(self.bundle, settings, self.data, self.apart)

    @contextmanager
    def at_work(self, out: Path, settings: Mapping[str, Any]) -> Iterator[None]:
        """See `Work`."""
        record, order = self.options.record, self.order
        if record is not None:
            self.recorder = Recorder(out, self.bundle.manifest, order, record.steps(order))
        options = self.options
        with self.recorder or nullcontext():
            self.session = Session(
                self.bundle,
                options.engine,
                settings["seed"],
                options.threads,
                ("train", "evaluate"),
                self.recorder,
            )
            yield

    def begin(self, out: Path, settings: dict[str, Any]) -> None:
        """See `Work`."""
        if self.given is not None:
            settings["given"] = self.given
            settings |= {"before": self.before} if self.before else {}
        self.session.prepare(facts(settings, self.order))
        account(out, self.options.ledger, settings, self.bundle, self.data, self.order)

    def loop(
        self, run: RunFolder, settings: Mapping[str, Any], listen: Listener, interrupts: Interrupts
    ) -> TrainingLoop:
        """See `Work`."""
        if self.start:
            start_weights.keep(run.path, self.start)
        if settings.get("given"):
            start_weights.take(run.path, self.session.engines)
        return EpochLoop(run, self.session, self.data, self.order, settings, listen, interrupts)


class UsersWork(Work):
    """The users of a population, in this process or on workers."""

    terms = ROUNDS

    def __init__(self, bundle: PopulationBundle, options: TrainOptions) -> None:
        self.bundle, self.options = bundle, options

    def load(
        self,
        sources: Mapping[str, TableSource],
        settings: Mapping[str, Any],
        run: RunFolder | None,
        listen: Listener,
    ) -> None:
        """See `Work`."""
        self.data = loading.load_users(self.bundle, sources, listen)
        self.users = Users.of(self.data)
        self.settings = chosen(self.bundle, settings)
        self.split = split_users(self.users, self.settings)

    def marks(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """See `Work`: of the rows, and of whose they are."""
        seen = hashlib.sha256(loading.fingerprint(self.data).encode())
        seen.update(self.users.starts.tobytes())
        for part in self.users.keys.buffers():
            if part is not None:
                seen.update(part)
        return {"data": seen.hexdigest()}

    def begin(self, out: Path, settings: dict[str, Any]) -> None:
        """Noise is drawn from a secret of the run's own."""
        settings["secret"] = secrets.token_hex(32) if self.settings.noise else ""

    def at_work(self, out: Path, settings: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """See `Work`."""
        self._pool = self._employed()
        return closing(self._pool)

    def _employed(self) -> WorkerPool:
        options = self.options
        if options.on is None:
            return local_pool(self.bundle, self.settings, self.users)
        from vflc_runtime.population.ray_pool import RayPool

        make = partial(ClientExecutor, threads=1)  # each worker has one processor
        return RayPool(make, self.bundle, self.settings, self.users, options.on, options.workers)

    def loop(
        self, run: RunFolder, settings: Mapping[str, Any], listen: Listener, interrupts: Interrupts
    ) -> TrainingLoop:
        """See `Work`."""
        secret = str(settings["secret"])
        rounds = Rounds(self.bundle, self.settings, self.users, self.split, self._pool, secret)
        return RoundLoop(run, self.bundle, rounds, self.data.report, settings, listen, interrupts)


def work_of(bundle: Bundle | PopulationBundle, options: TrainOptions) -> PartyWork | UsersWork:
    """What there is to do; VFL0691 where an option is given that it has no use for."""
    work = PartyWork(bundle, options) if isinstance(bundle, Bundle) else UsersWork(bundle, options)
    only_those_of(work.terms, options)
    return work


def order_of(settings: Mapping[str, Any], rows: int, held_out: Indices | None) -> Order:
    """The order of the rows of a run; `held_out` [kept] are those for validation, where it is known."""
    names = ("seed", "validation", "fold", "batch", "shuffle")
    return Order(rows, **{name: settings[name] for name in names}, kept=held_out)


def account(
    out: Path, ledger: Path | None, settings: dict[str, Any], bundle: Bundle, data: Dataset, order: Order
) -> None:
    """Charges a run that is about to begin in `out` to the ledgers of the parties here: `spending.begin`."""
    folder = ledger or ledger_beside(out)
    kept = spending.begin(folder, bundle.manifest, bundle.plans, data, facts(settings, order))
    if kept is not None:
        settings["ledger"] = kept
