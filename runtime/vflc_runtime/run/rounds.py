"""Training a population: rounds of cohorts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from vflc_runtime import events
from vflc_runtime.bundle.folder import PopulationBundle
from vflc_runtime.finite import check_kept
from vflc_runtime.interrupts import Interrupts
from vflc_runtime.population.privacy import spent
from vflc_runtime.population.rounds import Round, Rounds
from vflc_runtime.run.state import RunFolder, RunProgress, Tensors
from vflc_runtime.run.training import CheckpointState, TrainingLoop
from vflc_runtime.tensors import AnyTensors, arrays, whole

SAVE_EVERY = 60.0
"""Seconds between two checkpoints where the spec says nothing."""


class RoundLoop(TrainingLoop):
    """Trains a cohort a round, and measures the validation users now and then.

    Args:
        run, settings, listen, interrupts: see `TrainingLoop`.
        population: the bundle.
        rounds: before the first of them.
        report: of the data.
    """

    def __init__(
        self,
        run: RunFolder,
        population: PopulationBundle,
        rounds: Rounds,
        report: Mapping[str, Any],
        settings: Mapping[str, Any],
        listen: events.Listener,
        interrupts: Interrupts,
    ) -> None:
        super().__init__(run, settings, listen, interrupts)
        self.population, self.rounds, self.report = population, rounds, report
        self.progress = RunProgress(unit="round")
        self._saved = time.perf_counter()

    @property
    def over(self) -> str | None:
        """See `TrainingLoop`."""
        return "all rounds are done" if self.progress.step >= self.settings["rounds"] else None

    def advance(self) -> None:
        """See `TrainingLoop`."""
        self._round()
        if self.over is not None:
            self.save()
            return
        self.pause()
        every = self.settings["checkpoint_rounds"]
        late = time.perf_counter() - self._saved > SAVE_EVERY
        if self.progress.step % every == 0 if every else late:
            self.save()

    def _round(self) -> None:
        progress, settings = self.progress, self.rounds.settings
        started = time.perf_counter()
        done = self.rounds.step(progress.step)
        seconds = time.perf_counter() - started
        progress.step += 1
        progress.rows += done.examples
        progress.train_seconds += seconds
        self._count(done)
        validation: events.Scores = {}
        every, held_out = settings.evaluate_every, self.rounds.split.validation
        if every is not None and progress.step % every == 0 and len(held_out):
            validation = self._measured(held_out).scores
        now = self.seconds()
        progress.history.append({
            "round": progress.step, "seconds": round(now, 3), "train": done.scores,
            "validation": dict(validation), "examples": done.examples, "too_few_examples": done.small,
            "not_finite": done.broken,
        })  # fmt: skip
        rate = settings.cohort / seconds
        self.listen(events.RoundEnded(progress.step, settings.rounds, now, done.scores, validation, rate))

    def _measured(self, users: np.ndarray[Any, np.dtype[np.int64]]) -> Round:
        found = self.rounds.measure(users)
        self._count(found)
        return found

    def _count(self, found: Round) -> None:
        for edge, count in found.sent.items():
            self.progress.sent[edge] = self.progress.sent.get(edge, 0) + count

    def take(self, tensors: Mapping[str, Mapping[str, AnyTensors]]) -> None:
        """See `TrainingLoop`."""
        hub = tensors[self.population.hub.place]
        self.rounds.hub.load(arrays(hub["model"]), arrays(hub["slots"]))
        for name, tensor in tensors.get(self.population.users.place, {}).get("model", {}).items():
            self.rounds.kept[name] = np.array(whole(tensor))

    def state(self) -> CheckpointState:
        """See `TrainingLoop`."""
        hub, places = self.rounds.hub, self.population
        tensors: dict[str, dict[str, Tensors]] = {
            places.hub.place: {"model": hub.weights, "slots": hub.slots()}
        }
        if self.rounds.kept:
            tensors[places.users.place] = {"model": self.rounds.kept}
        for place, kinds in tensors.items():
            check_kept(place, kinds, self.progress.step)
        self._saved = time.perf_counter()
        return tensors

    def results(self) -> dict[str, Any]:
        """See `TrainingLoop`."""
        progress, split = self.progress, self.rounds.split
        kept = {"validation": split.validation, "test": split.test}
        measured = {name: self._measured(users).scores for name, users in kept.items() if len(users)}
        history, users = progress.history, len(split.train)
        return {
            "rows": int(self.rounds.users.starts[-1]),
            "users": {"train": users, **{name: len(found) for name, found in kept.items()}},
            "rounds": progress.step,
            "seconds_per_round": progress.train_seconds / progress.step,
            "train": history[-1]["train"],
            **{name: measured.get(name, {}) for name in kept},
            "too_few_examples": sum(entry["too_few_examples"] for entry in history),
            "not_finite": sum(entry["not_finite"] for entry in history),
            "bytes_sent": progress.sent,
            "privacy": spent(self.rounds.settings, users, progress.step),
            "data": self.report,
        }
