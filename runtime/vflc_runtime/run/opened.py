"""A run that is there, of parties or of a population: what can be asked of it is the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime.bundle.folder import is_population
from vflc_runtime.bundle.slices import joined
from vflc_runtime.data.source import TableSource
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.results import read_results
from vflc_runtime.run.settings import EPOCHS, ROUNDS, OptionRules
from vflc_runtime.run.state import RunFolder, Tensors
from vflc_runtime.run.train import TrainOptions, TrainResult, train
from vflc_runtime.run.trained import PartyModel, PopulationModel


class OpenedRun(ABC):
    """A run; `open_run` gives it.

    Attributes:
        path: of its folder.
        takes: options of evaluation and prediction that a run of this kind has a use for, beside those
            that all have.
        terms: options of training.
    """

    takes: ClassVar[frozenset[str]]
    terms: ClassVar[OptionRules]

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def folder(self) -> RunFolder:
        """What is kept of it."""
        return RunFolder(self.path)

    @abstractmethod
    def weights(self) -> Tensors:
        """The trained weights by name, those that are evaluated and predict."""

    @abstractmethod
    def crossing(self, program: str) -> tuple[str, ...]:
        """Edges by which values of single rows cross between parties in a program."""

    def train(
        self,
        sources: Mapping[str, TableSource],
        options: TrainOptions | None = None,
        listen: Listener = silent,
    ) -> TrainResult:
        """Goes on with it on the rows that it was started with; see `train`."""
        return train(None, sources, self.path, replace(options or TrainOptions(), resume=True), listen)

    def evaluate(
        self,
        sources: Mapping[str, TableSource],
        engine: str = DEFAULT_ENGINE,
        threads: int | None = None,
        listen: Listener = silent,
        details: bool = False,
    ) -> dict[str, Any]:
        """`rows`, `model`, `evaluation`, `bytes_sent`, `data`: see `evaluate`."""
        return evaluate(self.path, sources, engine, threads, listen, details)

    def predict(
        self,
        sources: Mapping[str, TableSource],
        out: Path,
        engine: str = DEFAULT_ENGINE,
        threads: int | None = None,
        top: int | None = None,
        listen: Listener = silent,
    ) -> int:
        """Writes predictions to a .csv or .parquet file; the number of its rows: see `predict`."""
        return predict(self.path, sources, out, engine, threads, top, listen)

    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds; VFL0629 where there is none yet, VFL0621 where it is damaged."""
        found = read_results(self.path)
        if found is None:
            raise Failure("VFL0629", f"{self.path} has no results yet", "resume the run")
        return found


class PartyRun(OpenedRun):
    """Of parties that train on rows which they have in common."""

    takes, terms = PartyModel.takes, EPOCHS

    def weights(self) -> Tensors:
        run, bundle = self.folder, self.folder.bundle(DEFAULT_ENGINE)
        found = {name: array for each in run.models(bundle).values() for name, array in each.items()}
        return joined(bundle.plans.values(), found)

    def crossing(self, program: str) -> tuple[str, ...]:
        edges = self.folder.bundle(DEFAULT_ENGINE).manifest.edges.values()
        return tuple(edge.id for edge in edges if program in edge.programs)


class PopulationRun(OpenedRun):
    """Of users with weights of their own."""

    takes, terms = PopulationModel.takes, ROUNDS

    def weights(self) -> Tensors:
        run, hub = self.folder, self.folder.population(DEFAULT_ENGINE).hub.place
        return run.models_at([hub])[hub]

    def crossing(self, program: str) -> tuple[str, ...]:
        return ()


def open_run(path: Path | str) -> OpenedRun:
    """The run in a folder; VFL0614 where there is none."""
    path = Path(path)
    RunFolder(path)
    return PopulationRun(path) if is_population(path / "bundle") else PartyRun(path)
