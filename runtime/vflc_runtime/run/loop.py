"""Training a model over parties: epochs of batches, validation, early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Indices
from vflc_common.metrics import smaller_is_better

from vflc_runtime import events
from vflc_runtime.data.batches import EVALUATION_BATCH, Inputs, Order, ahead, drawn, sequential
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.staged import from_files
from vflc_runtime.engines import kernels
from vflc_runtime.engines.ungathered import Rows
from vflc_runtime.events import Scores
from vflc_runtime.finite import NotFinite, check_kept
from vflc_runtime.interrupts import Interrupts
from vflc_runtime.metrics import Meter
from vflc_runtime.protect import record, spending
from vflc_runtime.protect.account import Facts
from vflc_runtime.run import fitting, insight, start, start_weights, units
from vflc_runtime.run.coordinator import Coordinator
from vflc_runtime.run.large_tables import large_tables
from vflc_runtime.run.row_changes import ChangedRows
from vflc_runtime.run.session import Outcome, Session
from vflc_runtime.run.settings import bits
from vflc_runtime.run.state import MadeModels, RunFolder, Tensors
from vflc_runtime.run.training import CheckpointState, TrainingLoop
from vflc_runtime.tensors import AnyTensor, AnyTensors, arrays

_REPORT_SECONDS = 0.2
T = TypeVar("T")


class EpochLoop(TrainingLoop):
    """Trains by batches, and validates and saves at the end of each epoch; see `TrainingLoop`."""

    def __init__(
        self,
        run: RunFolder,
        session: Session,
        data: Dataset,
        order: Order,
        settings: Mapping[str, Any],
        listen: events.Listener,
        interrupts: Interrupts,
        coordinator: Coordinator | None = None,
    ) -> None:
        super().__init__(run, settings, listen, interrupts, coordinator)
        self.session, self.data, self.order = session, data, order
        training = next(iter(session.bundle.plans.values())).training
        self.monitor, self.patience, self.keep_best = training.monitor, training.patience, training.best
        self.best_weights: dict[str, Mapping[str, AnyTensor] | Path] = {}
        self.large = large_tables(session.engines)
        self.meter = session.meter("train")
        self._measured: Meter | None = None
        self._undefined: str | None = None
        self._reported = 0.0
        drawn = spending.drawn(settings, session.bundle.plans, data)
        known = facts(settings, order)
        keys = start.begin(run.path, session.engines) if training.secret_start else {}
        terms = bits(settings, session.engine, session.threads)
        record.begin(
            run.path, session.guards(), settings, known, drawn,
            {place: {**terms, "start": keys.get(place)} for place in session.engines},
        )  # fmt: skip
        units.begin(session.engines, data.state)
        self.factors, unlike = kernels.factors(next(iter(session.bundle.plans.values())), session.engine)
        for warned in (kernels.warning() if session.engine == "onnx" else None, unlike):
            if warned is not None:
                listen(warned)

    def take(self, tensors: Mapping[str, Mapping[str, AnyTensors]]) -> None:
        """See `TrainingLoop`."""
        progress = self.progress
        for place, kinds in tensors.items():
            if place in self.session.engines:
                weights, slots = {**kinds["model"], **kinds.get("stored", {})}, kinds["slots"]
                if place in self.large:
                    self.large[place].load(weights, slots, progress.step)
                else:
                    self.session.engines[place].load(arrays(weights), arrays(slots), progress.step)
                counts = progress.protections.get(place, {})
                self.session.guards()[place].resume(counts, arrays(kinds.get("protections", {})))
            if "best" in kinds:
                self.best_weights[place] = kinds["best"]
        lie = {place: tensors[place].get("stored", {}).keys() for place in self.large}
        if lie and all(large.tables.names <= lie[place] for place, large in self.large.items()):
            self.run_folder.checkpoints.before = self.run_folder.checkpoints.folder / progress.folder
        self.session.steps = progress.step
        self.session.count_sent(progress.sent)
        if progress.meter:
            meters = {place: arrays(kinds.get("meter", {})) for place, kinds in tensors.items()}
            self.meter.restore(progress.meter, meters)

    @property
    def over(self) -> str | None:
        """See `TrainingLoop`."""
        progress, last = self.progress, self.settings["steps"]
        if progress.over == "early stopping" or progress.epoch >= self.settings["epochs"]:
            return progress.over or "all epochs are done"
        return "all steps are done" if last is not None and progress.step >= last else None

    def advance(self) -> None:
        """See `TrainingLoop`."""
        if not self.progress.step:
            insight.keep_columns(self.run_folder.path, self.session.bundle, self.data, self.order)
            self._fit()
        if self._epoch():
            self._close_epoch()
        elif self.progress.position:
            self.save()

    def at_work(self) -> AbstractContextManager[None]:
        """Charges the rows that are still to be trained on."""
        bundle, known = self.session.bundle, facts(self.settings, self.order)
        spending.go_on(self.settings, bundle.manifest, tuple(bundle.parties), known)
        return self._watching(known)

    def _watching(self, known: Facts) -> AbstractContextManager[None]:
        """Keeps account of messages with noise, and charges those that are sent otherwise than before."""
        settings, manifest = self.settings, self.session.bundle.manifest

        def charge(place: str, guard: str) -> None:
            spending.go_on_otherwise(settings, manifest, place, guard, known)

        return record.watching(self.run_folder.path, self.session.guards(), settings, charge)

    def _fit(self) -> None:
        """Fits tables, before the first step; those that the run was given to start from stay as they are."""
        if self.session.fits_tables:
            kept = start_weights.given(self.run_folder.path, self.session.engines)
            found = fitting.fit(
                self.session, fitting.batches(self.data, self.order.in_order(EVALUATION_BATCH)), kept
            )
            for place, tables in found.items():
                fitting.write(self.run_folder.path / place, tables)
            self.listen(events.TablesFitted([each for tables in found.values() for each in tables]))

    def _epoch(self) -> bool:
        """The rest of an epoch; False where the run must end before the epoch does."""
        progress, order, settings = self.progress, self.order, self.settings
        every, epochs = settings["checkpoint_steps"], settings["epochs"]
        self.listen(events.EpochStarted(progress.epoch + 1, epochs, order.steps))
        for rows, read in self._waited(self._batches(order.batches(progress.epoch, progress.position))):
            self._step(rows, read)
            if progress.position == order.steps:
                break  # the end of the epoch saves, too
            self.pause()
            if self.over is not None:
                return False
            if every is not None and progress.step % every == 0:
                self.save(publish=False)
        return True

    def _batches(self, indices: Iterator[Indices]) -> Iterator[tuple[Indices, Callable[[], Inputs]]]:
        drop, data = self._dropped(), self.data
        if self.session.gathers and not (drop or data.at or data.present):
            return ((rows, partial(Rows, data.inputs, rows)) for rows in indices)
        if data.in_files:
            return from_files(data, indices, drop)
        read = partial(data.batch, drop=drop)
        if self.coordinator.waits:
            return ahead(indices, read)
        return ((rows, partial(read, rows)) for rows in indices)

    def _waited(self, batches: Iterator[T]) -> Iterator[T]:
        """The same; waiting for a batch is a part of training."""
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.progress.train_seconds += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def _dropped(self) -> dict[str, NDArray[np.bool_]]:
        """Of parties that are dropped, in which rows they are in this epoch."""
        training = next(iter(self.session.bundle.plans.values())).training
        return dropped(training.drop, self.order.rows, self.settings["seed"], self.progress.epoch)

    def _step(self, rows: Indices, read: Callable[[], Inputs]) -> None:
        progress = self.progress
        started = time.perf_counter()
        try:
            outcome = self.session.step(read(), len(rows), rows)
        except NotFinite as found:
            raise self._not_finite(found.what) from None
        if not math.isfinite(outcome.loss):
            raise self._not_finite(_loss(outcome))
        self.meter.add(len(rows), outcome.parts, outcome.losses, outcome.measured)
        progress.step += 1
        progress.position += 1
        progress.rows += len(rows)
        now = time.perf_counter()
        progress.train_seconds += now - started
        if now - self._reported > _REPORT_SECONDS:
            self._reported = now
            rate = progress.rows / progress.train_seconds
            done, steps = progress.position, self.order.steps
            self.listen(events.Progress(progress.epoch + 1, done, steps, self.meter.loss, rate))

    def _close_epoch(self) -> None:
        """Validates and saves at the end of an epoch."""
        progress = self.progress
        train, validation = self._scores(self.meter)
        progress.epoch += 1
        progress.position = 0
        progress.seconds = self.seconds()
        better = self.coordinator.better(lambda: self._watch(validation or train))
        self._mark(better)
        if self._measured is not None and (better or not self.best_weights):
            insight.keep_curves(self.run_folder.path, self._measured, progress.epoch)
        progress.history.append({
            "epoch": progress.epoch, "step": progress.step, "seconds": round(progress.seconds, 3),
            "train": train, "validation": validation,
        })  # fmt: skip
        self.meter = self.session.meter("train")
        stop = self.patience is not None and progress.waited >= self.patience
        progress.over = "early stopping" if stop else None
        folder = self.save()
        self.listen(events.EpochEnded(progress.epoch, progress.seconds, train, validation, bool(better)))
        if self.over is None:
            self.pause(folder)

    def _watch(self, scores: Scores) -> bool | None:
        """Whether this epoch is the best so far; None where the result that is watched is undefined."""
        progress = self.progress
        name = next(
            (key for key in scores if key == self.monitor or key.endswith(f".{self.monitor}")), "loss"
        )
        value, best = scores.get(name), progress.best
        if value is None or not math.isfinite(value):
            if scores:  # a place that is told no results has nothing to say
                self._undefined = name
                self.listen(events.Undefined(progress.epoch, name, bool(len(self.order.held_out))))
            return None
        sign = -1.0 if smaller_is_better(name) else 1.0
        before = None if best is None else best.get("value")
        better = before is None or sign * value > sign * before
        if better:
            progress.best = {"metric": name, "value": value, "epoch": progress.epoch}
        return better

    def _mark(self, better: bool | None) -> None:
        """Remembers which epoch is the best, and its weights where asked to."""
        progress = self.progress
        if better is None:  # an epoch of which nothing is known is neither better nor worse
            return
        if not better:
            progress.waited += 1
            return
        if progress.best is None:  # a place that is told no results
            progress.best = {"epoch": progress.epoch}
        progress.best["epoch"] = progress.epoch
        progress.waited = 0
        if self.keep_best:
            step = progress.step
            self.best_weights = {**self.session.weights_by_place(without=self.large)}
            self.best_weights |= {place: large.model(step) for place, large in self.large.items()}

    def _scores(self, train: Meter) -> tuple[Scores, Scores]:
        """What is known here of the training rows and, where there are any, of the validation rows."""
        if not len(self.order.held_out):
            self.coordinator.complete(train)
            self._measured = None
            return train.results(), {}
        for place in self.session.engines:
            self._state(place)  # that the model diverged is to be said before it is measured
        kept = sequential(self.order.held_out, EVALUATION_BATCH)
        self._measured = validation = measure(self.session, self.data, kept, curves=True)
        self.coordinator.complete(train, validation)
        return train.results(), validation.results()

    def _state(self, place: str) -> dict[str, Tensors]:
        """Weights and slots of a place; VFL0611 where training diverged."""
        engine = self.session.engines[place]
        if place in self.large:
            return self.large[place].state(self.progress.step)
        state: dict[str, Tensors] = {"model": engine.weights(), "slots": engine.slots()}
        if stored := engine.stored():
            state["stored"] = stored
        check_kept(place, state, self.progress.step)
        return state

    def state(self) -> CheckpointState:
        """See `TrainingLoop`."""
        progress = self.progress
        progress.sent = self.session.sent()
        progress.meter = self.meter.sums() if progress.position else None
        meters = self.meter.tensors() if progress.position else {}
        tensors: dict[str, dict[str, Mapping[str, AnyTensor] | Path]] = {}
        for place in self.session.engines:
            tensors[place] = {**self._state(place)}
            if place in meters:
                tensors[place]["meter"] = meters[place]
            if place in self.best_weights:
                tensors[place]["best"] = self.best_weights[place]
        for place, guards in self.session.guards().items():
            progress.protections[place] = guards.counts()
            if memories := guards.memories():
                check_kept(place, {"protections": memories}, progress.step)
                tensors[place]["protections"] = memories
        return tensors

    def changed(self) -> Mapping[str, ChangedRows]:
        """See `TrainingLoop`."""
        return {place: large.tables.changed() for place, large in self.large.items()}

    def made(self, publish: bool) -> MadeModels:
        """See `TrainingLoop`."""
        step = self.progress.step
        return {place: large.model(step) if publish else None for place, large in self.large.items()}

    def written(self, folder: Path) -> None:
        """See `TrainingLoop`."""
        for place, large in self.large.items():
            large.tables.saved()
            if place in self.best_weights:
                self.best_weights[place] = folder / place / "best.safetensors"

    def results(self) -> dict[str, Any]:
        """See `TrainingLoop`."""
        progress, history = self.progress, self.progress.history
        saved = progress.saved(bool(self.best_weights))
        if progress.position and saved["why"] == "last":
            train, validation = self._scores(self.meter)
            if self._measured is not None:
                insight.keep_curves(self.run_folder.path, self._measured, saved["epoch"])
        else:
            entry = next(each for each in history if each["epoch"] == saved["epoch"])
            train, validation = entry["train"], entry["validation"]
        return {
            "rows": self.data.rows,
            "train_rows": self.order.train_rows,
            "validation_rows": len(self.order.held_out),
            "epochs": progress.epoch,
            "train": train,
            "validation": validation,
            "best": progress.best or self._unknown_best(),
            "saved": saved,
            **({"kernels": kernels.state()} if self.session.engine == "onnx" else {}),
            "factors": self.factors,
            "bytes_sent": self.session.sent(),
            "protections": self.session.protections(),
            "data": self.data.report,
        }

    def _unknown_best(self) -> dict[str, Any] | None:
        """Where the result that is watched was undefined in each epoch, the last one stands for the best."""
        if self._undefined is None:
            return None
        return {"metric": self._undefined, "value": None, "epoch": self.progress.epoch}

    def _not_finite(self, what: str) -> NotFinite:
        first = self.session.first_not_finite()
        cause = f"; the first value that is not finite is {first}" if first else ""
        return NotFinite(what, f" at step {self.progress.step + 1}{cause}")


def _loss(outcome: Outcome) -> str:
    """What the loss is that is not finite, with the terms that make it so."""
    terms = {name: value for name, value in outcome.losses.items() if not math.isfinite(value)}
    shown = ", ".join(f"{name} = {value}" for name, value in (terms or outcome.losses).items())
    return f"the loss is {outcome.loss} ({shown})"


def facts(settings: Mapping[str, Any], order: Order) -> Facts:
    """What protections must know of a run."""
    return Facts(order.rows, order.train_rows, order.batch, settings["epochs"], settings["steps"])


def measure(session: Session, data: Dataset, batches: Iterable[Indices], curves: bool = False) -> Meter:
    """Losses and metrics of the trained model over batches of rows, [rows] each; see `Session.meter`."""
    meter = session.meter("evaluate", curves)
    for part, read in batches_of(session, data, batches):
        outcome = session.evaluate(read(), len(part))
        meter.add(len(part), outcome.parts, outcome.losses, outcome.measured)
    return meter


def batches_of(
    session: Session, data: Dataset, batches: Iterable[Indices]
) -> Iterator[tuple[Indices, Callable[[], Inputs]]]:
    """Batches [rows], with what gets the rows of each: read ahead where the session waits meanwhile."""
    if session.waits or data.in_files:
        return ahead(batches, data.batch)
    return ((rows, partial(data.batch, rows)) for rows in batches)


def dropped(shares: Mapping[str, float], rows: int, seed: int, epoch: int) -> dict[str, NDArray[np.bool_]]:
    """Of parties that are dropped, in which of all rows, bool [rows], they are so in an epoch."""
    return {party: drawn(rows, share, seed, f"drop {party} {epoch}") for party, share in shares.items()}
