"""The loop of a population's training: rounds, measurements, checkpoints."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from vflc_runtime import events
from vflc_runtime.bundle.folder import Population
from vflc_runtime.bundle.population_settings import Settings
from vflc_runtime.events import Listener
from vflc_runtime.finite import check_kept
from vflc_runtime.interrupts import Interrupted, Interrupts
from vflc_runtime.population.privacy import spent
from vflc_runtime.population.rounds import Round, Rounds
from vflc_runtime.run.population_run import PopulationRun
from vflc_runtime.run.state import Checkpoint, Progress

SAVE_EVERY = 60.0
"""Seconds between two checkpoints where the spec says nothing."""


class Loop:
    """Rounds, measurements and checkpoints of one run, from where it stands to its end."""

    def __init__(
        self,
        run: PopulationRun,
        population: Population,
        settings: Settings,
        rounds: Rounds,
        listen: Listener,
        interrupts: Interrupts,
    ) -> None:
        self.folder, self.population, self.settings, self.rounds = run, population, settings, rounds
        self.listen, self.interrupts = listen, interrupts
        self.progress = Progress()
        self._carried, self._clock = 0.0, time.perf_counter()
        self._saved = time.perf_counter()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Takes up the run where the checkpoint left it."""
        self.progress = progress = checkpoint.progress
        hub = checkpoint.tensors[self.population.hub.place]
        self.rounds.hub.load(hub["model"], hub["slots"])
        for name, array in checkpoint.tensors.get(self.population.users.place, {}).get("model", {}).items():
            self.rounds.kept[name] = np.array(array)
        self._carried = progress.seconds
        self.folder.publish(progress.history)
        self.listen(events.Resumed(progress.step, progress.step + 1))

    def run(self) -> dict[str, Any]:
        """Trains to the end; what `metrics.json` holds."""
        progress, settings = self.progress, self.settings
        with self.folder.telling_what_is_kept():
            while progress.step < settings.rounds:
                self._round()
                every = settings.checkpoint_rounds
                if self.interrupts.asked and progress.step < settings.rounds:
                    raise Interrupted(progress.step, self._save())
                late = time.perf_counter() - self._saved > SAVE_EVERY
                if progress.step < settings.rounds and (progress.step % every == 0 if every else late):
                    self._save()
            return self._finish()

    def _round(self) -> None:
        progress, settings = self.progress, self.settings
        started = time.perf_counter()
        done = self.rounds.step(progress.step)
        seconds = time.perf_counter() - started
        progress.step += 1
        progress.rows += done.examples
        progress.train_seconds += seconds
        self._count(done)
        validation: events.Scores = {}
        every = settings.evaluate_every
        if every is not None and progress.step % every == 0 and len(self.rounds.split.validation):
            found = self.rounds.measure(self.rounds.split.validation)
            self._count(found)
            validation = found.scores
        progress.seconds = self._seconds()
        progress.history.append(
            {
                "round": progress.step,
                "seconds": round(progress.seconds, 3),
                "train": done.scores,
                "validation": dict(validation),
                "examples": done.examples,
                "too_few_examples": done.small,
                "not_finite": done.broken,
            }
        )
        rate = settings.cohort / seconds
        self.listen(
            events.RoundEnded(progress.step, settings.rounds, progress.seconds, done.scores, validation, rate)
        )

    def _count(self, found: Round) -> None:
        for edge, count in found.sent.items():
            self.progress.sent[edge] = self.progress.sent.get(edge, 0) + count

    def _seconds(self) -> float:
        return self._carried + time.perf_counter() - self._clock

    def _save(self) -> Path:
        progress, hub, places = self.progress, self.rounds.hub, self.population
        progress.seconds = self._seconds()
        tensors: dict[str, dict[str, Any]] = {}
        tensors[places.hub.place] = {"model": hub.weights, "slots": hub.slots()}
        if self.rounds.kept:
            tensors[places.users.place] = {"model": self.rounds.kept}
        for place, kinds in tensors.items():
            check_kept(place, kinds, progress.step)
        folder = self.folder.save(Checkpoint(progress, tensors))
        self._saved = time.perf_counter()
        self.listen(events.Saved(progress.step, folder))
        return folder

    def _finish(self) -> dict[str, Any]:
        progress, rounds = self.progress, self.rounds
        kept = {"validation": rounds.split.validation, "test": rounds.split.test}
        measured = {name: rounds.measure(users) for name, users in kept.items() if len(users)}
        for found in measured.values():
            self._count(found)
        self._save()
        last = progress.history[-1]
        users = len(rounds.split.train)
        metrics = {
            "rows": int(rounds.users.starts[-1]),
            "users": {"train": users, **{name: len(found) for name, found in kept.items()}},
            "steps": progress.step,
            "rounds": progress.step,
            "seconds": round(progress.seconds, 3),
            "rows_per_second": round(progress.rows / max(progress.train_seconds, 1e-9), 1),
            "seconds_per_round": progress.train_seconds / progress.step,
            "train": last["train"],
            **{name: measured[name].scores if name in measured else {} for name in kept},
            "too_few_examples": sum(entry["too_few_examples"] for entry in progress.history),
            "not_finite": sum(entry["not_finite"] for entry in progress.history),
            "bytes_sent": progress.sent,
            "privacy": spent(self.settings, users, progress.step),
            "ended": "all rounds are done",
        }
        self.folder.write_metrics(metrics)
        self.listen(events.Done(progress.step, "all rounds are done"))
        return metrics
