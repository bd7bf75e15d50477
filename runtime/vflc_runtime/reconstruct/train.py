"""Training a population's bundle on the table of all its users, into a run's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vflc_runtime import events, loading
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.source import Source
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.interrupts import Interrupted, Interrupts
from vflc_runtime.reading import Json
from vflc_runtime.reconstruct.crew import Crew, LocalCrew
from vflc_runtime.reconstruct.hub import spent
from vflc_runtime.reconstruct.plan import Plan, Settings, read_population
from vflc_runtime.reconstruct.rounds import Round, Rounds
from vflc_runtime.reconstruct.users import Users, split_users
from vflc_runtime.state import Checkpoint, Progress, RunFolder, Tensors, refuse_existing

SAVE_EVERY = 60.0
"""Seconds between two checkpoints where the spec says nothing."""
CHOSEN = ("rounds", "cohort", "batch", "seed", "checkpoint_rounds", "evaluate_every")
FIXED = ("cohort", "batch", "seed")


@dataclass(frozen=True, slots=True)
class RoundOptions:
    """How to train; what is None comes from the spec, or from the run that is resumed.

    Args:
        rounds: rounds in all, those before a resumption included.
        cohort: users a round.
        batch: examples a step.
        seed: of weights, users, cohorts and the order of examples.
        evaluate_every: rounds between measurements of the validation users.
        checkpoint_rounds: save every so many rounds.
        resume: go on with the run that is in the folder.
        overwrite: a run that is in the folder gives way.
        on: `ray` or `ray://HOST:PORT` to visit users on workers; in this process where None.
        workers: how many workers; one a processor where None.
    """

    rounds: int | None = None
    cohort: int | None = None
    batch: int | None = None
    seed: int | None = None
    evaluate_every: int | None = None
    checkpoint_rounds: int | None = None
    resume: bool = False
    overwrite: bool = False
    on: str | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A run that is over: its folder, what `metrics.json` holds, and the lines of the history."""

    folder: Path
    metrics: dict[str, Any]
    history: list[dict[str, Any]]


class PopulationRun(RunFolder):
    """A run's folder with the bundle of a population."""

    def plan(self) -> Plan:
        """The bundle that ran, checked to be the one."""
        plan = read_population(self.path / "bundle")
        if plan.fingerprint() != self.settings.get("fingerprint"):
            raise Failure("VFL0614", f"{self.path / 'bundle'} is not the bundle that this run was made from")
        return plan

    def trained(self, plan: Plan) -> Tensors:
        """The global weights of the last checkpoint."""
        checkpoint = self.latest()
        if checkpoint is None:
            raise Failure(
                "VFL0614", f"{self.path} has no trained model yet", "resume it: `vflc train --resume`"
            )
        return checkpoint.tensors[plan.hub]["model"]


def train(
    bundle_dir: Path | str | None,
    sources: Mapping[str, Source],
    out: Path | str,
    options: RoundOptions | None = None,
    listen: Listener = silent,
) -> Result:
    """Trains the bundle in `bundle_dir` on the users' table and saves the run in `out`.

    To resume, `bundle_dir` may be None: the run has a copy of its bundle.

    Raises:
        Failure: VFL0601 to 0620 as the data, bundle, disk or options give cause.
        Interrupted: Ctrl-C was pressed; a checkpoint was written.
    """
    options, out = options or RoundOptions(), Path(out)
    if options.resume:
        run = PopulationRun(out)
        with run.locked():
            return _resume(run, bundle_dir, sources, options, listen)
    if bundle_dir is None:
        raise Failure("VFL0614", "there is no bundle to train", "give a spec or a bundle, or --resume a run")
    refuse_existing(out, options.overwrite)
    plan = read_population(Path(bundle_dir))
    chosen = {n: getattr(options, n) for n in CHOSEN if getattr(options, n) is not None}
    settings = dataclasses.replace(plan.settings, **chosen)
    data = load(plan, sources, listen)
    users = Users.of(data)
    split_users(users, settings)  # refuses what cannot be trained before anything is written
    facts = {
        "model": plan.manifest.model,
        "digest": plan.manifest.digest,
        "fingerprint": plan.fingerprint(),
        "reconstruct": {name: getattr(settings, name) for name in CHOSEN},
        "data": fingerprint(data, users),
    }
    crew = _crew(plan, settings, users, options)
    run = PopulationRun.create(out, plan, facts, {}, options.overwrite)
    with run.locked():
        return _run(run, plan, settings, users, crew, None, listen)


def _resume(
    run: PopulationRun,
    bundle_dir: Path | str | None,
    sources: Mapping[str, Source],
    options: RoundOptions,
    listen: Listener,
) -> Result:
    plan = run.plan()
    if bundle_dir is not None and read_population(Path(bundle_dir)).fingerprint() != plan.fingerprint():
        raise Failure(
            "VFL0614",
            f"{run.path} is a run of another spec",
            "resume it with the spec it was started with, or start anew with another --out",
        )
    chosen = dict(run.settings["reconstruct"])
    for name in CHOSEN:
        given = getattr(options, name)
        if name in FIXED and given not in (None, chosen[name]):
            raise Failure(
                "VFL0614",
                f"{run.path} was started with {name} {chosen[name]}, it cannot go on with {given}",
                f"leave out --{name}, or start anew with another --out",
            )
        chosen[name] = chosen[name] if given is None else given
    data = load(plan, sources, listen)
    users = Users.of(data)
    if fingerprint(data, users) != run.settings["data"]:
        raise Failure(
            "VFL0614", f"{run.path} was trained on other rows", "resume it with the data it was started with"
        )
    settings = dataclasses.replace(plan.settings, **chosen)
    crew = _crew(plan, settings, users, options)
    return _run(run, plan, settings, users, crew, run.latest(), listen)


def _crew(plan: Plan, settings: Settings, users: Users, options: RoundOptions) -> Crew:
    if options.on is None:
        return LocalCrew(plan, settings, users)
    from vflc_runtime.reconstruct.crew_ray import RayCrew

    return RayCrew(plan, settings, users, options.on, options.workers)


def load(
    plan: Plan,
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


def encoders(plan: Plan) -> dict[str, Any]:
    """How the users' columns become ids and numbers."""
    found: dict[str, Any] = Json.read(plan.folder / plan.place / "encoders.json").value
    return found


def fingerprint(data: Dataset, users: Users) -> str:
    """SHA-256 of the encoded rows and of whose they are."""
    seen = hashlib.sha256(loading.fingerprint(data).encode())
    seen.update(users.starts.tobytes())
    for part in users.keys.buffers():
        if part is not None:
            seen.update(part)
    return seen.hexdigest()


def _run(
    run: PopulationRun,
    plan: Plan,
    settings: Settings,
    users: Users,
    crew: Crew,
    checkpoint: Checkpoint | None,
    listen: Listener,
) -> Result:
    split = split_users(users, settings)
    try:
        rounds = Rounds(plan, settings, users, split, crew)
        with Interrupts() as interrupts:
            loop = _Loop(run, plan, settings, rounds, listen, interrupts)
            if checkpoint is not None:
                loop.restore(checkpoint)
            return Result(run.path, loop.run(), loop.progress.history)
    finally:
        crew.close()


class _Loop:
    """Rounds, measurements and checkpoints of one run, from where it stands to its end."""

    def __init__(
        self,
        run: PopulationRun,
        plan: Plan,
        settings: Settings,
        rounds: Rounds,
        listen: Listener,
        interrupts: Interrupts,
    ) -> None:
        self.folder, self.plan, self.settings, self.rounds = run, plan, settings, rounds
        self.listen, self.interrupts = listen, interrupts
        self.progress = Progress()
        self._carried, self._clock = 0.0, time.perf_counter()
        self._saved = time.perf_counter()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Takes up the run where the checkpoint left it."""
        self.progress = progress = checkpoint.progress
        hub = checkpoint.tensors[self.plan.hub]
        self.rounds.hub.load(hub["model"], hub["slots"])
        for name, array in checkpoint.tensors.get(self.plan.place, {}).get("model", {}).items():
            self.rounds.kept[name] = np.array(array)
        self._carried = progress.seconds
        self.folder.publish(progress.history)
        self.listen(events.Resumed(progress.step, progress.step + 1))

    def run(self) -> dict[str, Any]:
        """Trains to the end; what `metrics.json` holds."""
        progress, settings = self.progress, self.settings
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
        progress, hub = self.progress, self.rounds.hub
        progress.seconds = self._seconds()
        tensors: dict[str, dict[str, Any]] = {self.plan.hub: {"model": hub.weights, "slots": hub.slots()}}
        if self.rounds.kept:
            tensors[self.plan.place] = {"model": self.rounds.kept}
        folder = self.folder.save(Checkpoint(progress, tensors))
        self._saved = time.perf_counter()
        self.listen(events.Saved(progress.step, folder))
        return folder

    def _finish(self) -> dict[str, Any]:
        progress, rounds, plan = self.progress, self.rounds, self.plan
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
            "privacy": spent(plan, self.settings, users, progress.step),
            "ended": "all rounds are done",
        }
        self.folder.write_metrics(metrics)
        self.listen(events.Done(progress.step, "all rounds are done"))
        return metrics
