"""Trains a population several ways from the same start and compares what came of each.

Users that run together as arrays against one user at a time, ONNX against Keras: all weights after
every round, losses, and predictions should be the same to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from vflc_runtime.bundle.folder import PopulationBundle
from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.errors import Failure
from vflc_runtime.population.rounds import Rounds
from vflc_runtime.population.users import Users, split_users
from vflc_runtime.population.worker_pool import groups
from vflc_runtime.run.client_executor import ClientExecutor, local_pool
from vflc_runtime.scratch import scratch_folder
from vflc_runtime.verify import Verification, WayResult
from vflc_runtime.verify.differences import compare
from vflc_runtime.verify.recording import Recording, RecordingKey
from vflc_runtime.verify.ways import OnStep


@dataclass(frozen=True, slots=True)
class PopulationWay:
    """A bundle, opened for an engine, and how many users run together."""

    name: str
    population: PopulationBundle
    together: int


def verify(
    ways: Sequence[PopulationWay], users: Users, settings: ReconstructSettings, listen: OnStep | None = None
) -> Verification:
    """Trains every way for the settings' rounds, one after another, and compares all pairs.

    Args:
        ways: of one model and precision.
        users: their examples, in the precision of the ways.
        settings: how to train.
        listen: is told of every round.

    Raises:
        Failure: VFL0611 where a loss is not finite or nobody has one, VFL0608 and VFL0619 for too few users.
    """
    precision = ways[0].population.users.precision
    with scratch_folder() as folder, ExitStack() as files:
        recordings: dict[str, Recording] = {}
        trained = []
        for way in ways:
            recordings[way.name] = files.enter_context(Recording(folder / str(len(recordings))))
            trained.append(_train(way, users, settings, recordings[way.name], listen))
        return Verification(compare(recordings, precision), trained, 0)


def _train(
    way: PopulationWay,
    users: Users,
    settings: ReconstructSettings,
    recording: Recording,
    listen: OnStep | None,
) -> WayResult:
    started, losses = time.perf_counter(), []
    pool, split = local_pool(way.population, settings, users), split_users(users, settings)
    rounds = Rounds(way.population, settings, users, split, pool, together=way.together)

    def weights(step: int | None) -> None:
        for name, value in {**rounds.hub.weights, **rounds.kept}.items():
            recording.add(RecordingKey("weight", name, step), value)

    weights(0)
    for number in range(settings.rounds):
        loss = rounds.step(number).scores["loss"]
        if loss is None or not math.isfinite(loss):
            raise Failure(
                "VFL0611",
                f"the loss is {loss} in round {number + 1}, {way.name}",
                "lower the learning rates or clip changes: there is nothing to compare",
            )
        losses.append(loss)
        recording.add(RecordingKey("loss", "loss", number + 1), np.asarray(loss))
        weights(number + 1)
        if listen is not None:
            listen(way.name, number + 1)
    weights(None)
    for name, value in _predictions(way, users, rounds).items():
        recording.add(RecordingKey("prediction", name, None), value)
    return WayResult(way.name, time.perf_counter() - started, (losses[0], losses[-1]))


def _predictions(way: PopulationWay, users: Users, rounds: Rounds) -> dict[str, np.ndarray]:
    """Of every other row, by users rebuilt from the rest, in order of the rows."""
    given = np.arange(int(users.starts[-1])) % 2 == 0
    found: dict[str, list[np.ndarray]] = {p.name: [] for p in rounds.plan.predictions}
    executor = ClientExecutor(way.population, rounds.settings, training=False)
    for group in groups(np.arange(len(users)), way.together):
        rows, made = executor.predict(users, group, rounds.hub.weights, given)
        for name, values in made.items():
            found[name].append(values[np.argsort(rows)])
    return {name: np.concatenate(parts) for name, parts in found.items()}
