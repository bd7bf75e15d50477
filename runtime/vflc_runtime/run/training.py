"""The loop of training: from where a run stands to its end, by epochs of batches or rounds of cohorts.

A checkpoint holds everything that is still to come depends on, so a run that was killed and resumed
does the same as one that was not.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from vflc_runtime import events
from vflc_runtime.environment import environment
from vflc_runtime.interrupts import Interrupted, Interrupts
from vflc_runtime.run.checkpoints import not_readable
from vflc_runtime.run.coordinator import Alone, Coordinator
from vflc_runtime.run.row_changes import ChangedRows, Kinds
from vflc_runtime.run.state import Checkpoint, CheckpointToWrite, MadeModels, RunFolder, RunProgress
from vflc_runtime.tensors import AnyTensors

CheckpointState = Mapping[str, Kinds]
"""What a checkpoint holds: by place and kind."""


class TrainingLoop(ABC):
    """What epochs and rounds have in common: the clock, checkpoints, interruptions and the end.

    Args:
        run: the folder, which holds what was saved of the run so far.
        settings: those in its run.json.
        listen: is told what happens.
        interrupts: know whether somebody wants to stop.
        coordinator: what places agree on; all are here where None.
    """

    def __init__(
        self,
        run: RunFolder,
        settings: Mapping[str, Any],
        listen: events.Listener,
        interrupts: Interrupts,
        coordinator: Coordinator | None = None,
    ) -> None:
        self.run_folder, self.settings = run, settings
        self.listen, self.interrupts = listen, interrupts
        self.coordinator: Coordinator = coordinator or Alone()
        self.progress = RunProgress(run=self.coordinator.run)
        run.checkpoints.before = None
        self._carried = 0.0
        self._clock = time.perf_counter()

    # --- what differs -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def over(self) -> str | None:
        """Why nothing is left to do; None where something is."""

    @abstractmethod
    def advance(self) -> None:
        """Does the rest of an epoch, or a round; saves, and pauses, as is due."""

    @abstractmethod
    def take(self, tensors: Mapping[str, Mapping[str, AnyTensors]]) -> None:
        """Takes up what a checkpoint holds; `progress` is the checkpoint's already."""

    @abstractmethod
    def state(self) -> CheckpointState:
        """What a checkpoint holds now; `progress` is brought up to date with it."""

    def changed(self) -> Mapping[str, ChangedRows]:
        """By place, where tables are large, the rows that have changed since the last checkpoint."""
        return {}

    def made(self, publish: bool) -> MadeModels:
        """By place, where tables are large, the model; None unless it is to be put where people look."""
        return {}

    def written(self, folder: Path) -> None:  # noqa: B027
        """Takes in that a checkpoint was written, or that the run goes on from it."""

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """What metrics.json says of a model of this kind when the run is over."""

    def at_work(self) -> AbstractContextManager[None]:
        """What holds while there is something left to do."""
        return nullcontext()

    # --- what is the same -------------------------------------------------------------------------

    def restore(self, checkpoint: Checkpoint) -> None:
        """Takes up the run where the checkpoint left it."""
        folder = self.run_folder.checkpoints.folder / checkpoint.progress.folder
        if checkpoint.progress.unit != self.progress.unit:
            raise not_readable(folder)
        self.progress = progress = checkpoint.progress
        due = not progress.position
        try:
            self.take(checkpoint.tensors)
        except (KeyError, ValueError):  # parts that there are not, or not in this shape
            raise not_readable(folder) from None
        self._carried = progress.seconds
        self.written(folder)
        # The process may have died just before it did, and tables may have been large to it alone.
        made = self.made(due)
        self.run_folder.publish(progress, {**self.run_folder.made_of(checkpoint, made, due), **made})
        self.listen(events.Resumed(progress.step, len(progress.history) + 1))

    def run(self) -> dict[str, Any]:
        """Trains to the end and returns what `metrics.json` holds."""
        self._clock = time.perf_counter()
        if self.over is not None:
            return self._finish()
        with self.at_work(), self.run_folder.telling_what_is_kept():
            while self.over is None:
                self.advance()
            return self._finish()

    def pause(self, saved: Path | None = None) -> None:
        """Ends the run for now where somebody wants it, with a checkpoint; `saved` is one of this instant."""
        if self.coordinator.stop_after(self.progress.step, self.interrupts.asked):
            raise Interrupted(self.progress.step, saved or self.save())

    def save(self, publish: bool = True) -> Path:
        """Writes a checkpoint; its folder. Models of large tables are put where people look if asked to."""
        progress = self.progress
        progress.seconds = self.seconds()
        state = CheckpointToWrite(progress, self.state(), self.changed())
        self.coordinator.before_saving()
        folder = self.run_folder.save(state, self.made(publish))
        self.written(folder)
        self.coordinator.saved(progress.step)
        self.listen(events.Saved(progress.step, folder))
        return folder

    def seconds(self) -> float:
        """Of the whole run so far."""
        return self._carried + time.perf_counter() - self._clock

    def _finish(self) -> dict[str, Any]:
        progress, reason, results = self.progress, str(self.over), self.results()
        self.coordinator.finish(progress.step)
        spent = progress.train_seconds
        metrics = {
            "model": self.settings["model"],
            "digest": self.settings["digest"],
            **results,
            "steps": progress.step,
            "seconds": self.seconds(),
            "train_seconds": spent,
            "rows_per_second": progress.rows / spent if spent else None,
            "ended": reason,
            "environment": environment(),
        }
        self.run_folder.write_metrics(metrics)
        self.listen(events.Done(progress.step, reason))
        return metrics
