"""A run at one instant, on disk: whole or not at all, and known to be so.

    step-…/checkpoint.json     how far the run is
    step-…/PLACE/….safetensors model, slots, best, and what else the place keeps
    step-…/SHA256SUMS          of all of these

A folder whose name has no dot was written whole: under another name, synced and renamed. What
happened to it since, the checksums tell. Of large tables it may have changes alone: see `row_changes`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.events import FellBack, Listener
from vflc_runtime.metrics import MeterSums
from vflc_runtime.run import row_changes
from vflc_runtime.run.row_changes import ChangedRows, Kinds
from vflc_runtime.run.shapes import BestEpoch, Natural, entries_fit

KEPT = 2
"""Checkpoints that are kept: the last, and one before it; and those that these continue."""
_PROGRESS = row_changes.PROGRESS


@dataclass
class RunProgress:
    """How far a run is: all that a checkpoint needs besides tensors.

    Attributes:
        step: steps done; also the number of updates.
        epoch: epochs done.
        position: steps done of the epoch at hand.
        rows: rows trained on so far.
        seconds: of the whole run so far.
        train_seconds: of that, spent in training steps.
        meter: sums of the epoch at hand, as `Meter.sums` gives them; None at its beginning.
        history: one entry an epoch.
        best: the best value of the result that is watched, and its epoch.
        waited: epochs since then.
        sent: bytes by edge id.
        over: why the run ended, where it did.
        protections: by place and guard, the steps and rows it ran for.
        run: what the places of a run between machines call it; checkpoints of two runs do not mix.
        unit: what an entry of the history is of: an "epoch", or a "round", which is one step.
    """

    step: Natural = 0
    epoch: Natural = 0
    position: Natural = 0
    rows: Natural = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    meter: MeterSums | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    best: BestEpoch | None = None
    waited: Natural = 0
    sent: dict[str, Natural] = field(default_factory=dict)
    over: str | None = None
    protections: dict[str, dict[str, dict[str, Natural]]] = field(default_factory=dict)
    run: str = ""
    unit: Literal["epoch", "round"] = "epoch"

    @property
    def folder(self) -> str:
        """What the folder of its checkpoint is called; in order of steps."""
        return f"step-{self.step:010}-epoch-{self.epoch:05}"

    @property
    def name(self) -> str:
        """What places of a run between machines call this instant of it."""
        return f"{self.folder}-{self.run}"

    def saved(self, best: bool) -> dict[str, Any]:
        """Which round a model is of; or which epoch, and `why`: it is the `best`, if kept, or the `last`."""
        if self.unit == "round":
            return {"round": self.step}
        if best and self.best is not None:
            return {"epoch": self.best["epoch"], "why": "best"}
        return {"epoch": self.epoch + bool(self.position), "why": "last"}


@dataclass
class Checkpoint:
    """A run at one instant, as it was read: `tensors[place][kind]`.

    Kinds are `model`, `stored`, `slots`, `best`, `meter` and `protections`.

    Weights of large tables are among those `stored` alone, as they lie: `made_models` makes the model of it.
    """

    progress: RunProgress
    tensors: row_changes.JoinedTensors


@dataclass
class CheckpointToWrite:
    """The same to be written: a path is a file that is there already, of the checkpoint before.

    Attributes:
        changed: by place, where its tables are large, the rows that are others than in that checkpoint.
    """

    progress: RunProgress
    tensors: Mapping[str, Kinds]
    changed: Mapping[str, ChangedRows] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before: Path | None = None
        """The checkpoint since which it is known what changed; None where it is not."""

    def all(self) -> list[Path]:
        """Those that were written, oldest first, damaged or not."""
        with suppress(OSError):
            return sorted(path for path in self.folder.iterdir() if not path.name.startswith("."))
        return []

    def whole(self, listen: Listener) -> list[Path]:
        """Those that are what was written, oldest first; `listen` is told where a later one is not.

        Raises:
            Failure: VFL0621, none is.
        """
        found: list[Path] = []
        damage: list[str] = []
        for path in self.all():
            why = _damage(path) or row_changes.broken(path, found)
            if why is None:
                found.append(path)
                damage.clear()
            else:
                damage.append(why)
        if found:
            for why in damage:
                listen(FellBack(why, found[-1]))
        elif damage:
            raise Failure(
                "VFL0621",
                f"{damage[-1]}, and there is no earlier checkpoint",
                "restore the run's folder from a copy, or train again",
            )
        return found

    def write(self, checkpoint: CheckpointToWrite, metadata: Mapping[str, str]) -> Path:
        """Writes a checkpoint whole or not at all; of large tables what changed, where that is much less."""
        progress = checkpoint.progress
        folder = self.folder / progress.folder
        new = folder.with_name(".new")
        with files.writing(folder):
            try:
                shutil.rmtree(new, ignore_errors=True)
                _write(new, checkpoint, metadata, self._continued(checkpoint))
                files.remove(folder)
                new.rename(folder)
                files.sync(self.folder)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
        self.before = folder if checkpoint.changed else None
        return folder

    def _continued(self, checkpoint: CheckpointToWrite) -> Path | None:
        """The checkpoint to which only changes are written; None where all is."""
        before = self.before
        if before is None or before.name >= checkpoint.progress.folder:
            return None
        return before if row_changes.worth(checkpoint.tensors, checkpoint.changed, before) else None

    def drop(self) -> None:
        """Removes all but the last that are kept, and those that they continue."""
        self._finish_removal()
        kept: set[Path] = set()
        for path in self.all()[-KEPT:]:
            with suppress(OSError, ValueError):
                kept |= {path, *row_changes.chain(path)}
        for old in self.all()[:-KEPT]:
            if old not in kept:
                files.remove(old)

    def go_back(self, path: Path | None) -> None:
        """Removes what is later than a checkpoint, or all: as if never reached."""
        self._finish_removal()
        for later in self.all():
            if path is None or later.name > path.name:
                files.remove(later)

    def _finish_removal(self) -> None:
        """Removes what a process that was killed had begun to."""
        for doomed in self.folder.glob(".*.old"):
            shutil.rmtree(doomed, ignore_errors=True)


def name_of(path: Path) -> str:
    """A checkpoint's name, which says of which run it is: as `RunProgress.name`."""
    return f"{path.name}-{read_progress(path).run}"


def in_words(saved: Mapping[str, Any]) -> str:
    """Which epoch or round a model is of, of what `RunProgress.saved` says of it."""
    if "round" in saved:
        return f"the model after round {saved['round']}"
    return f"the model of epoch {saved.get('epoch')}, the {saved.get('why')}"


def read_progress(folder: Path) -> RunProgress:
    """How far the run was; VFL0621 where the file is of another version."""
    try:
        said = files.read_json(folder / _PROGRESS, dict[str, Any])
        found = RunProgress(**{name: part for name, part in said.items() if name != row_changes.AFTER})
        progress = msgspec.convert(vars(found) | {"meter": found.meter or None}, RunProgress)
    except (OSError, ValueError, TypeError, msgspec.MsgspecError):
        raise not_readable(folder) from None
    if not entries_fit(progress.history, progress.unit):
        raise not_readable(folder)
    if progress.best and progress.best["epoch"] not in {entry.get("epoch") for entry in progress.history}:
        raise not_readable(folder)
    return progress


def not_readable(folder: Path) -> Failure:
    """VFL0621: what a checkpoint says is nothing that a run can go on from."""
    help = "restore the run's folder from a copy, or train again"
    return Failure("VFL0621", f"{folder} cannot be read", help)


def read_checkpoint(folder: Path) -> Checkpoint:
    """A checkpoint that is whole, and so are those that it continues."""
    try:
        links = [_tensors(path) for path in reversed(row_changes.chain(folder))]
        return Checkpoint(read_progress(folder), row_changes.joined(links))
    except (OSError, KeyError, ValueError):
        raise not_readable(folder) from None


def _tensors(folder: Path) -> row_changes.FoundTensors:
    """What is in the files of a checkpoint alone."""
    tensors: row_changes.FoundTensors = {}
    for file in sorted(folder.glob("*/*.safetensors")):
        tensors.setdefault(file.parent.name, {})[file.stem] = files.read_tensors(file)[0]
    return tensors


def _damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, in words; None where nothing is."""
    sums = files.read_sums(folder)
    if _PROGRESS not in sums:
        return f"{folder / files.SUMS} is {'damaged' if (folder / files.SUMS).exists() else 'missing'}"
    there = [str(file.relative_to(folder)) for file in folder.glob("*/*.safetensors")]
    return files.differing(folder, sums, {*sums, *there})


def _write(
    folder: Path, checkpoint: CheckpointToWrite, metadata: Mapping[str, str], before: Path | None
) -> None:
    """Writes it into a new folder; of large tables what changed since the one `before`, if there is one."""
    files.make_folder(folder)
    progress, sums = checkpoint.progress, dict[str, str]()
    for place, every in checkpoint.tensors.items():
        files.make_folder(folder / place)
        changed = checkpoint.changed.get(place) if before is not None else None
        kinds = every if changed is None else row_changes.divided(every, changed)
        for kind, tensors in kinds.items():
            name = f"{place}/{kind}.safetensors"
            if isinstance(tensors, Path):
                files.link_or_copy(tensors, folder / name)
                sums[name] = files.read_sums(tensors.parents[1])[name]
            else:
                saved = {key: str(value) for key, value in progress.saved(kind == "best").items()}
                sums[name] = files.write_tensors(folder / name, tensors, {**metadata, **saved})
        files.sync(folder / place)
    said = asdict(progress)
    if before is not None:
        said[row_changes.AFTER] = msgspec.to_builtins(row_changes.link_to(before))
    files.write_json(folder / _PROGRESS, said)
    sums |= files.checksums(folder, [_PROGRESS])
    files.write_bytes(folder / files.SUMS, files.sums_content(sums))
    files.sync(folder)
