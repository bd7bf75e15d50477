"""The folder of a population's run, and the data that a run reads."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vflc_common.words import ENCODERS_FILE

from vflc_runtime import events
from vflc_runtime.bundle.folder import Population, open_population
from vflc_runtime.bundle.population_plan import UsersPlan
from vflc_runtime.bundle.population_settings import Settings
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.source import Source
from vflc_runtime.engines.engine import check_engine
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener
from vflc_runtime.population.users import Users
from vflc_runtime.run import loading
from vflc_runtime.run.state import RunFolder, Tensors


class PopulationRun(RunFolder):
    """A run's folder with the bundle of a population."""

    def population(self, engine: str = "onnx") -> Population:
        """The bundle that ran, checked to be the one, with the graphs of an engine."""
        found = open_population(self.path / "bundle", check_engine(engine))
        if found.manifest.digest != self.settings.get("digest"):
            raise Failure("VFL0625", f"{self.path / 'bundle'} is not the bundle that this run was made from")
        return found

    def chosen(self, population: Population) -> Settings:
        """The settings that the run was started with."""
        return replace(population.users.settings, **self.settings["reconstruct"])

    def trained(self, population: Population, listen: Listener) -> Tensors:
        """The global weights, as last saved."""
        hub = population.hub.place
        return self.models_at([hub], listen)[hub]

    def which(self) -> str:
        """After which round the model was saved that is evaluated and predicts, in words."""
        about = self._about()
        return f"the model after round {about['step']}" if about else "the last checkpoint"


def load(
    plan: UsersPlan,
    sources: Mapping[str, Source],
    listen: Listener,
    described: Mapping[str, Any] | None = None,
    more: Sequence[str] = (),
) -> Dataset:
    """The rows of all users in order of their keys; by other encoders, and with more inputs, on demand."""
    started = time.perf_counter()
    names = {*plan.inputs, *more}
    data = Dataset.load(described or encoders(plan), sources, {}, only=names, precision=plan.precision)
    listen(events.Loaded(data.rows, data.report, time.perf_counter() - started))
    return data


def encoders(plan: UsersPlan) -> dict[str, Any]:
    """How the users' columns become ids and numbers."""
    found: dict[str, Any] = plan.contents.json(ENCODERS_FILE).value
    return found


def fingerprint(data: Dataset, users: Users) -> str:
    """SHA-256 of the encoded rows and of whose they are."""
    seen = hashlib.sha256(loading.fingerprint(data).encode())
    seen.update(users.starts.tobytes())
    for part in users.keys.buffers():
        if part is not None:
            seen.update(part)
    return seen.hexdigest()
