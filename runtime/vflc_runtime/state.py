"""A run's folder and its checkpoints.

    RUN/bundle/            the bundle that runs
    RUN/run.json           what cannot change when the run is resumed
    RUN/PLACE/encoders.json  what encoders fitted (means, …), of this place's tables
    RUN/checkpoints/step-…/  checkpoint.json, and a folder a place: model, slots, best
    RUN/PLACE/model.safetensors  the place's model as last saved, best where asked for
    RUN/history.jsonl, RUN/metrics.json

Each place's weights and slots lie in that place's folders alone. A folder under `checkpoints`
whose name has no dot is whole: it was written under another name, synced and renamed.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from vflc_runtime import files
from vflc_runtime.bundle import Bundle, open_bundle
from vflc_runtime.errors import Failure

Tensors = Mapping[str, NDArray[Any]]
KEPT = 2
"""Checkpoints that are kept: the last, and one before it."""
FORMAT = 1


@dataclass
class Progress:
    """How far a run is: all that a checkpoint needs besides tensors.

    Attributes:
        step: steps done; also the number of updates.
        epoch: epochs done.
        position: steps done of the epoch at hand.
        rows: rows trained on so far.
        seconds: of the whole run so far.
        train_seconds: of that, spent in training steps.
        meter: sums of the epoch at hand, as `Meter.sums` gives them.
        history: one entry an epoch.
        best: the best value of the result that is watched, and its epoch.
        waited: epochs since then.
        sent: bytes by edge id.
        over: why the run ended, where it did.
        protections: by place and guard, the steps and rows it ran for.
        run: what the places of a run between machines call it; checkpoints of two runs do not mix.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    rows: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    meter: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    waited: int = 0
    sent: dict[str, int] = field(default_factory=dict)
    over: str | None = None
    protections: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    run: str = ""


@dataclass
class Checkpoint:
    """A run at one instant; `tensors[place][kind]`, kinds `model`, `slots`, `best`, `meter`."""

    progress: Progress
    tensors: dict[str, dict[str, Tensors]]


class Reader(Protocol):
    """A place, as far as a run's folder goes: the parties whose tables it reads."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of parties."""
        ...


class Placed(Protocol):
    """A bundle, as far as a run's folder goes."""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        ...

    @property
    def plans(self) -> Mapping[str, Reader]:
        """Its places by name."""
        ...


class RunFolder:
    """A run's folder; make one with `create` or `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.settings: dict[str, Any] = json.loads((path / "run.json").read_bytes())
            fits = self.settings["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            raise Failure(
                "VFL0614", f"{path} holds no run of this version", "train first: `vflc train SPEC --out RUN`"
            )

    @classmethod
    def create(
        cls,
        path: Path,
        bundle: Placed,
        settings: Mapping[str, Any],
        fitted: Mapping[str, Any],
        overwrite: bool,
    ) -> Self:
        """Makes the folder of a new run, in one instant.

        `settings` go to run.json; `fitted` is what encoders fitted, by input id. With
        `overwrite` a run that is there gives way in the same instant.
        """
        refuse_existing(path, overwrite)
        new, old = (path.with_name(f".{path.name}.{end}") for end in ("new", "old"))
        with files.writing(path):
            try:
                for left in (new, old):
                    shutil.rmtree(left, ignore_errors=True)
                _lay_out(new, bundle, settings, fitted)
                if path.exists():
                    path.rename(old)
                new.rename(path)
                files.sync(path.parent)
            finally:
                for left in (new, old):
                    shutil.rmtree(left, ignore_errors=True)
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run against a second process; VFL0614 where one is at work on it."""
        with files.writing(self.path):
            lock = (self.path / "lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Failure("VFL0614", f"another process is at work on {self.path}") from None
            yield

    @property
    def places(self) -> tuple[str, ...] | None:
        """The places that ran in this process, of a run between machines; None where all did."""
        places = self.settings.get("places")
        return None if places is None else tuple(places)

    def bundle(self, backend: str = "onnx") -> Bundle:
        """The bundle that ran, checked to be the one, with the plans of a backend."""
        bundle = open_bundle(self.path / "bundle", self.places, backend)
        if bundle.manifest.digest != self.settings.get("digest"):
            raise Failure("VFL0614", f"{self.path / 'bundle'} is not the bundle that this run was made from")
        return bundle

    def fitted(self, bundle: Bundle) -> dict[str, Any]:
        """What encoders fitted in training, by input id."""
        fitted: dict[str, Any] = {}
        for place in bundle.plans:
            try:
                fitted.update(json.loads((self.path / place / "encoders.json").read_bytes()))
            except (OSError, ValueError):
                raise Failure("VFL0614", f"{self.path / place / 'encoders.json'} cannot be read") from None
        return fitted

    def save(self, checkpoint: Checkpoint) -> Path:
        """Writes a checkpoint whole or not at all, then puts the models in their places."""
        progress = checkpoint.progress
        folder = self.path / "checkpoints" / f"step-{progress.step:010}-epoch-{progress.epoch:05}"
        new = folder.with_name(".new")
        with files.writing(folder):
            try:
                shutil.rmtree(new, ignore_errors=True)
                self._write(new, checkpoint)
                files.remove(folder)
                new.rename(folder)
                files.sync(folder.parent)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
        self.publish(progress.history)
        for old in self._checkpoints()[:-KEPT]:
            files.remove(old)
        return folder

    def publish(self, history: list[dict[str, Any]]) -> None:
        """Puts what the last checkpoint holds where people look: the models and the history."""
        folder = self._checkpoints()[-1]
        with files.writing(self.path):
            for place in (each for each in folder.iterdir() if each.is_dir()):
                best = place / "best.safetensors"
                source = best if best.exists() else place / "model.safetensors"
                files.link_or_copy(source, self.path / place.name / "model.safetensors")
        lines = "".join(json.dumps(entry) + "\n" for entry in history)
        files.replace_with(self.path / "history.jsonl", lines.encode())

    def _write(self, folder: Path, checkpoint: Checkpoint) -> None:
        metadata = {"step": str(checkpoint.progress.step), "digest": str(self.settings["digest"])}
        for place, kinds in checkpoint.tensors.items():
            (folder / place).mkdir(parents=True)
            for kind, tensors in kinds.items():
                files.write_tensors(folder / place / f"{kind}.safetensors", tensors, metadata)
            files.sync(folder / place)
        files.write_json(folder / "checkpoint.json", asdict(checkpoint.progress))
        files.sync(folder)

    def _checkpoints(self) -> list[Path]:
        with suppress(OSError):
            return sorted(p for p in (self.path / "checkpoints").iterdir() if not p.name.startswith("."))
        return []

    def latest(self) -> Checkpoint | None:
        """The last checkpoint, or None where there is none yet."""
        found = self._checkpoints()
        return _read_checkpoint(found[-1]) if found else None

    def held(self) -> dict[str, Path]:
        """The checkpoints that are here, oldest first, by a name that says of which run they are."""
        return {f"{path.name}-{_read_progress(path).run}": path for path in self._checkpoints()}

    def read(self, name: str) -> Checkpoint:
        """The checkpoint of that name, of those `held`."""
        return _read_checkpoint(self.held()[name])

    def go_back(self, name: str | None) -> Checkpoint | None:
        """That checkpoint, or the state before the first; later ones are gone, as if never reached."""
        held = self.held()
        names = list(held)
        for later in names if name is None else names[names.index(name) + 1 :]:
            files.remove(held[later])
        return None if name is None else _read_checkpoint(held[name])

    def history(self) -> list[dict[str, Any]]:
        """The lines of history.jsonl."""
        try:
            return [json.loads(line) for line in (self.path / "history.jsonl").read_text().splitlines()]
        except (OSError, ValueError):
            raise Failure("VFL0614", f"{self.path / 'history.jsonl'} cannot be read") from None

    def models(self, bundle: Bundle) -> dict[str, Tensors]:
        """The weights of every place, all of one step: the best where the run keeps them."""
        found = {}
        for place in bundle.plans:
            path = self.path / place / "model.safetensors"
            if path.exists():
                found[place] = files.read_tensors(path)
        marks = {(meta.get("step"), meta.get("digest")) for _, meta in found.values()}
        whole = len(found) == len(bundle.plans) and len(marks) == 1
        if whole and marks.pop()[1] == self.settings["digest"]:
            return {place: tensors for place, (tensors, _) in found.items()}
        checkpoint = self.latest()
        if checkpoint is None:
            raise Failure(
                "VFL0614", f"{self.path} has no trained model yet", "resume it: `vflc train --resume`"
            )
        return {place: kinds.get("best", kinds["model"]) for place, kinds in checkpoint.tensors.items()}

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """`metrics.json`: what ran and what came of it."""
        text = json.dumps(metrics, indent=1, ensure_ascii=False) + "\n"
        files.replace_with(self.path / "metrics.json", text.encode())


def _read_progress(folder: Path) -> Progress:
    try:
        return Progress(**json.loads((folder / "checkpoint.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        raise Failure("VFL0614", f"{folder} cannot be read") from None


def _read_checkpoint(folder: Path) -> Checkpoint:
    tensors: dict[str, dict[str, Tensors]] = {}
    for file in sorted(folder.glob("*/*.safetensors")):
        tensors.setdefault(file.parent.name, {})[file.stem] = files.read_tensors(file)[0]
    return Checkpoint(_read_progress(folder), tensors)


def _lay_out(new: Path, bundle: Placed, settings: Mapping[str, Any], fitted: Mapping[str, Any]) -> None:
    new.mkdir(parents=True)
    others = {item.name for item in bundle.folder.iterdir() if item.is_dir()} - set(bundle.plans)
    left_out = lambda folder, names: others if Path(folder) == bundle.folder else ()  # noqa: E731
    shutil.copytree(bundle.folder, new / "bundle", ignore=left_out)
    (new / "checkpoints").mkdir()
    for place, plan in bundle.plans.items():
        (new / place).mkdir()
        own = {name: state for name, state in fitted.items() if name.partition(".")[0] in plan.tables}
        files.write_json(new / place / "encoders.json", own)
    files.write_json(new / "run.json", {"format": FORMAT, **settings})


def refuse_existing(path: Path, overwrite: bool) -> None:
    """VFL0614 where `path` holds something that a new run may not replace."""
    if not path.exists():
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    if not (path.is_dir() and (path / "run.json").exists()):
        raise Failure("VFL0614", f"{path} is there and is no run", "choose another folder with --out")
    if not overwrite:
        raise Failure(
            "VFL0614",
            f"{path} holds a run already",
            "go on with it by --resume, replace it by --overwrite, or choose another folder with --out",
        )
