"""A run that is there, of parties or of a population: what can be asked of it is the same."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from vflc_runtime.bundle.folder import is_population
from vflc_runtime.data.source import Source
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.run import evaluate, population_evaluate, population_predict, predict
from vflc_runtime.run.population_run import PopulationRun
from vflc_runtime.run.state import RunFolder, Tensors


class Opened(ABC):
    """A run; `open_run` gives it.

    Attributes:
        path: of its folder.
        takes: options that a run of this kind has a use for, beside those that all have.
    """

    takes: ClassVar[frozenset[str]]
    _evaluate: Callable[..., dict[str, Any]]
    _predict: Callable[..., int]

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def folder(self) -> RunFolder:
        """What is kept of it."""

    @abstractmethod
    def weights(self) -> dict[str, Tensors]:
        """The trained weights by place, those that are evaluated and predict."""

    @abstractmethod
    def crossing(self, program: str) -> tuple[str, ...]:
        """Edges by which values of single rows cross between parties in a program."""

    def evaluate(
        self, sources: Mapping[str, Source], engine: str = "onnx", listen: Listener = silent, **options: Any
    ) -> dict[str, Any]:
        """`rows`, `model`, `evaluation` (loss and each metric by name), `bytes_sent`, `data`.

        TypeError where an option that is given has no meaning here.
        """
        return self._evaluate(self.path, sources, engine, listen=listen, **self._given(options))

    def predict(
        self,
        sources: Mapping[str, Source],
        out: Path,
        engine: str = "onnx",
        listen: Listener = silent,
        **options: Any,
    ) -> int:
        """Writes predictions to a .csv or .parquet file; the number of its rows. As `evaluate`."""
        return self._predict(self.path, sources, out, engine, listen=listen, **self._given(options))

    def _given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in options.items() if value is not None}
        for name in given.keys() - self.takes:
            raise TypeError(f"`{name}` has no meaning for this run")
        return given

    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds; VFL0629 where the run has not ended once."""
        try:
            found: dict[str, Any] = json.loads((self.path / "metrics.json").read_bytes())
        except (OSError, ValueError):
            raise Failure("VFL0629", f"{self.path} has no results yet", "resume it") from None
        return found


class OfParties(Opened):
    """Of parties that train on rows which they have in common."""

    takes = frozenset({"threads"})
    _evaluate = staticmethod(evaluate.evaluate)
    _predict = staticmethod(predict.predict)

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.path)

    def weights(self) -> dict[str, Tensors]:
        run = self.folder
        return run.models(run.bundle())

    def crossing(self, program: str) -> tuple[str, ...]:
        edges = self.folder.bundle().manifest.edges.values()
        return tuple(edge.id for edge in edges if program in edge.programs)


class OfPopulation(Opened):
    """Of users with weights of their own; they run together on one thread."""

    takes = frozenset({"top"})
    _evaluate = staticmethod(population_evaluate.evaluate)
    _predict = staticmethod(population_predict.predict)

    @property
    def folder(self) -> PopulationRun:
        return PopulationRun(self.path)

    def weights(self) -> dict[str, Tensors]:
        run = self.folder
        population = run.population()
        return {population.hub.place: run.trained(population, silent)}

    def crossing(self, program: str) -> tuple[str, ...]:
        return ()


def open_run(path: Path | str) -> Opened:
    """The run in a folder; VFL0614 where there is none."""
    path = Path(path)
    RunFolder(path)
    return OfPopulation(path) if is_population(path / "bundle") else OfParties(path)
