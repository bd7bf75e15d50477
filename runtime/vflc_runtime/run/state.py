"""A run's folder and its checkpoints.

    RUN/bundle/            the bundle that runs
    RUN/run.json           what cannot change when the run is resumed
    RUN/PLACE/encoders.json  what encoders fitted (means, …), of this place's tables
    RUN/checkpoints/step-…/  checkpoint.json, and a folder a place: model, stored, slots, best
    RUN/PLACE/model.safetensors  the place's model as last saved, best where asked for
    RUN/SHA256SUMS         of run.json and of the files of places
    RUN/history.jsonl, RUN/metrics.json

Each place's weights and slots lie in that place's folders alone, and all is for its owner alone.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime import files
from vflc_runtime.bundle.folder import Bundle, PopulationBundle, of_parties, of_population, open_any
from vflc_runtime.data.encoders import may_be_fitted
from vflc_runtime.errors import Failure
from vflc_runtime.events import FellBack, Listener, silent
from vflc_runtime.finite import NotFinite
from vflc_runtime.run.checkpoints import (
    KEPT,
    Checkpoint,
    Checkpoints,
    CheckpointToWrite,
    RunProgress,
    in_words,
    name_of,
    read_checkpoint,
)
from vflc_runtime.run.made_models import made, whole
from vflc_runtime.run.shapes import settings_fit
from vflc_runtime.tensors import AnyTensor, Tensors

__all__ = ["FORMAT", "KEPT", "Checkpoint", "CheckpointToWrite", "RunFolder", "RunProgress", "Tensors"]

FORMAT = 1
MODEL = "model.safetensors"
MadeModels = Mapping[str, Mapping[str, AnyTensor] | None]
"""By place the model to publish where no checkpoint has it; None where the one that is there is left."""


class RunFolder:
    """A run's folder that is there; `new_run.create` makes one."""

    def __init__(self, path: Path) -> None:
        """Reads run.json; VFL0614 where there is none, or it is not of this version."""
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints")
        file = path / "run.json"
        help = "train one first: `vflc train SPEC --out RUN`, in Python `model.fit(data, out=RUN)`"
        if not file.exists():
            if folds := sorted(path.glob("fold-*/run.json")):
                help = f"it holds the runs of folds: name one of them, {folds[0].parent}"
            raise Failure("VFL0614", f"there is no run in {path}", help)
        try:
            self.settings: dict[str, Any] = files.read_json(file)
            fits = self.settings["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            raise Failure("VFL0614", f"{path} is not a run of this version", help)
        self._check("run.json")

    def _check(self, *names: str) -> None:
        """VFL0621 where a file is not what was written."""
        damage = files.differing(self.path, files.read_sums(self.path), names)
        if damage is not None:
            raise Failure("VFL0621", damage, "restore the run's folder from a copy, or train again")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run against a second process; VFL0628 where one is at work on it."""
        with files.writing(self.path):
            lock = open(self.path / "lock", "w", opener=files.private)  # noqa: SIM115
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Failure("VFL0628", f"another process is using {self.path}") from None
            yield

    @property
    def places(self) -> tuple[str, ...] | None:
        """The places that ran in this process, of a run between machines; None where all did."""
        places = self.settings.get("places")
        if not isinstance(places, list | None) or not all(isinstance(each, str) for each in places or ()):
            raise self._no_settings()
        return None if places is None else tuple(places)

    def _no_settings(self) -> Failure:
        why = f"{self.path / 'run.json'} does not hold the settings of a run"
        return Failure("VFL0621", why, "restore the run's folder from a copy, or train again")

    def opened(self, engine: str) -> Bundle | PopulationBundle:
        """The bundle that ran, with the plans that an engine runs; VFL0625 where it is another."""
        found = open_any(self.path / "bundle", self.places, engine)
        if found.manifest.digest != self.settings.get("digest"):
            raise Failure("VFL0625", f"{self.path / 'bundle'} is not the bundle that this run was made from")
        if not settings_fit(self.settings, isinstance(found, PopulationBundle)):
            raise self._no_settings()
        return found

    def bundle(self, engine: str) -> Bundle:
        """The same of a model over parties; VFL0502 where it is over a population."""
        return of_parties(self.opened(engine))

    def population(self, engine: str) -> PopulationBundle:
        """The same of a model over a population; VFL0502 where it is over parties."""
        return of_population(self.opened(engine))

    def fitted(self, bundle: Bundle) -> dict[str, Any]:
        """What encoders fitted in training, by input id; VFL0621 where it cannot be read."""
        fitted: dict[str, Any] = {}
        for place in bundle.plans:
            self._check(f"{place}/encoders.json")
            file = self.path / place / "encoders.json"
            try:
                found = files.read_json(file)
                fits = isinstance(found, dict) and all(
                    may_be_fitted(column, found[id])
                    for party, info in bundle.plans[place].encoders.items()
                    for column in info["columns"]
                    if (id := f"{party}.{column['name']}") in found
                )
            except (OSError, ValueError):
                fits = False
            if not fits:
                help = "restore the run's folder from a copy, or train again"
                raise Failure("VFL0621", f"{file} does not hold what encoders were fitted to", help)
            fitted.update(found)
        return fitted

    def save(self, checkpoint: CheckpointToWrite, made: MadeModels) -> Path:
        """Writes a checkpoint whole or not at all, then puts the models in their places."""
        folder = self.checkpoints.write(checkpoint, self._mark(checkpoint.progress))
        self.publish(checkpoint.progress, made)
        self.checkpoints.drop()
        return folder

    def _mark(self, progress: RunProgress) -> dict[str, str]:
        """What a file says of which state of which run it is."""
        digest = str(self.settings["digest"])
        return {"step": str(progress.step), "digest": digest, "state": progress.name}

    def publish(self, progress: RunProgress, made: MadeModels) -> None:
        """Puts what the last checkpoint holds where people look: the models and the history.

        The checksums come last: until they are written, models do not fit them, and whoever reads
        takes those of the checkpoint, which are all of one step.
        """
        folder = self.checkpoints.all()[-1]
        places = [each for each in folder.iterdir() if each.is_dir()]
        best = {place.name for place in places if (place / "best.safetensors").exists()}
        if all(place in best or given is not None for place, given in made.items()):
            self._publish(folder, [each.name for each in places], best, progress, made)
        lines = "".join(json.dumps(entry) + "\n" for entry in progress.history)
        files.replace_with(self.path / "history.jsonl", lines.encode())

    def _publish(
        self, folder: Path, places: Iterable[str], best: set[str], progress: RunProgress, made: MadeModels
    ) -> None:
        written, sums = files.read_sums(folder), files.read_sums(self.path)
        saved = {key: str(value) for key, value in progress.saved(False).items()}
        with files.writing(self.path):
            for place in places:
                target, given = self.path / place / MODEL, made.get(place)
                if given is not None and place not in best:
                    sums[f"{place}/{MODEL}"] = files.replace_tensors(
                        target, given, {**self._mark(progress), **saved}
                    )
                else:
                    source = "best.safetensors" if place in best else "model.safetensors"
                    files.link_or_copy(folder / place / source, target)
                    sums[f"{place}/{MODEL}"] = written[f"{place}/{source}"]
        files.replace_with(self.path / files.SUMS, files.sums_content(sums))

    @contextmanager
    def telling_what_is_kept(self) -> Iterator[None]:
        """Adds to a failure for numbers that are not finite whether there is a state from before them."""
        try:
            yield
        except NotFinite as failure:
            kept = "the last checkpoint is kept" if self.checkpoints.all() else "nothing was saved yet"
            failure.help = f"{failure.help}; {kept}"
            raise

    @property
    def saved(self) -> bool:
        """Whether the run was ever saved, also where its checkpoints are gone."""
        return any(Path(name).name == MODEL for name in files.read_sums(self.path))

    def latest(self, listen: Listener = silent) -> Checkpoint | None:
        """The last checkpoint that is whole, or None where there is none; `listen` is told of damage."""
        found = self.checkpoints.whole(listen)
        return read_checkpoint(found[-1]) if found else None

    def go_on(self, listen: Listener = silent) -> Checkpoint | None:
        """The checkpoint to resume from, None for the state before the first; damaged later ones are gone.

        VFL0622 where the run was saved and its checkpoints are gone: to begin anew would replace the
        trained model.
        """
        found = self.checkpoints.whole(listen)
        if not found and self.saved:
            raise Failure(
                "VFL0622",
                f"{self.path} has a trained model but no checkpoints to continue from",
                "evaluate or predict with it, or train again, over it or in another folder",
            )
        self.checkpoints.go_back(found[-1] if found else None)
        return read_checkpoint(found[-1]) if found else None

    def held(self, listen: Listener = silent) -> dict[str, Path]:
        """The whole checkpoints, oldest first, by a name that says of which run they are."""
        return {name_of(path): path for path in self.checkpoints.whole(listen)}

    def states(self, bundle: Bundle, listen: Listener = silent) -> dict[str, Path | None]:
        """States whose models are here, as `held` names them, the last one last: also where only the
        models are left of it, which None stands for. Models may be of an earlier one than checkpoints."""
        state = self._about().get("state") if self._damage(bundle.plans) is None else None
        if state is None:
            return dict(self.held(listen))
        found: dict[str, Path | None] = {}
        with suppress(Failure):  # checkpoints that are damaged are not needed
            found |= self.held(listen)
        return dict(sorted({**found, state: None}.items()))

    def model_of(self, bundle: Bundle, path: Path | None) -> tuple[dict[str, Tensors], str]:
        """The weights of every place in one of its `states`, and in words which epoch's they are."""
        if path is None:
            return self.models(bundle), self.which()
        checkpoint = read_checkpoint(path)
        kept = self._models_of(checkpoint, checkpoint.tensors)
        best = any("best" in kinds for kinds in checkpoint.tensors.values())
        return kept, in_words(checkpoint.progress.saved(best))

    def go_back(self, name: str | None) -> Checkpoint | None:
        """That checkpoint, or the state before the first; later ones are gone, as if never reached."""
        path = None if name is None else self.held()[name]
        if path is None:
            self._withdraw()
        self.checkpoints.go_back(path)
        return None if path is None else read_checkpoint(path)

    def _withdraw(self) -> None:
        """Takes models and history away that are later than the state before the first step.

        A run that begins anew and dies before it saves has nothing that `saved` could mean. The checksums go
        first: without them models count for nothing, and the checkpoints are still there.
        """
        sums = files.read_sums(self.path)
        models = [name for name in sums if Path(name).name == MODEL]
        if models:
            kept = {name: digest for name, digest in sums.items() if name not in models}
            files.replace_with(self.path / files.SUMS, files.sums_content(kept))
        for name in (*models, "history.jsonl"):
            (self.path / name).unlink(missing_ok=True)

    def history(self) -> list[dict[str, Any]]:
        """The lines of history.jsonl; VFL0621 where it cannot be read."""
        try:
            return [json.loads(line) for line in (self.path / "history.jsonl").read_text().splitlines()]
        except (OSError, ValueError, RecursionError):
            raise Failure("VFL0621", f"{self.path / 'history.jsonl'} cannot be read") from None

    def models(self, bundle: Bundle, listen: Listener = silent) -> dict[str, Tensors]:
        """The weights of every place, all of one step: the best where the run keeps them.

        Where models do not fit their checksums, those of the last checkpoint that is whole are taken,
        and `listen` is told.
        """
        return self.models_at(bundle.plans, listen)

    def models_at(self, places: Iterable[str], listen: Listener = silent) -> dict[str, Tensors]:
        """The weights of some places, by place and name; a checkpoint's where the model is damaged.

        Raises:
            Failure: VFL0621, it is damaged and there is no checkpoint; VFL0629, there is no model yet.
        """
        places = [*places]
        damage = self._damage(places)
        if damage is None:
            return {place: files.read_tensors(self.path / place / MODEL)[0] for place in places}
        found = self.checkpoints.whole(listen)
        if found:
            listen(FellBack(damage, found[-1]))
            return self._models_of(read_checkpoint(found[-1]), places)
        if self.saved:
            raise Failure("VFL0621", damage, "restore the run's folder from a copy, or train again")
        help = "continue it: `vflc train --resume`, in Python `vflc.load(RUN).fit(data)`"
        raise Failure("VFL0629", f"{self.path} has no trained model yet", help)

    def _models_of(self, checkpoint: Checkpoint, places: Iterable[str]) -> dict[str, Tensors]:
        """The weights of places in a checkpoint; of large tables they are made."""
        kinds = {place: checkpoint.tensors[place] for place in places}
        found = {place: whole(each) for place, each in kinds.items()}
        there = {place: model for place, model in found.items() if model is not None}
        if len(there) == len(kinds):
            return there
        plans, step = self.bundle(DEFAULT_ENGINE).plans, checkpoint.progress.step
        return {
            place: there[place] if place in there else made(plans[place], kinds[place], step)
            for place in kinds
        }

    def made_of(self, checkpoint: Checkpoint, without: Container[str], publish: bool) -> MadeModels:
        """As `publish` takes them, models of a checkpoint whose rows of tables lie by themselves.

        Args:
            checkpoint: as it was read.
            without: places whose models are made elsewhere.
            publish: whether they are wanted.
        """
        apart = {
            place for place, kinds in checkpoint.tensors.items() if "stored" in kinds and not whole(kinds)
        }
        places = [place for place in apart if place not in without]
        return self._models_of(checkpoint, places) if publish else dict.fromkeys(places)

    def trained(self, places: Iterable[str]) -> tuple[dict[str, Tensors], str]:
        """The saved models of places, and the name of their state, the same at all parties of the run.

        Before its first epoch has ended, a run of large tables has a checkpoint at most: they are made of it.

        Raises:
            Failure: VFL0621, they are damaged; VFL0629, there are none.
        """
        places = [*places]
        if not self.saved:
            if (last := self.latest()) is None:
                raise Failure("VFL0629", f"{self.path} has no trained model yet", "name a run that has one")
            return self._models_of(last, places), last.progress.name
        damage = self._damage(places)
        if damage is not None:
            raise Failure("VFL0621", damage, "restore the run's folder from a copy, or name another run")
        found = {place: files.read_tensors(self.path / place / MODEL) for place in places}
        return {p: tensors for p, (tensors, _) in found.items()}, str(self._about().get("state"))

    def which(self) -> str:
        """Which epoch the model is of that is evaluated and predicts, in words."""
        about = self._about()
        return in_words(about) if about else "the last checkpoint"

    def _about(self) -> dict[str, str]:
        """What the saved models say of themselves; nothing where they are damaged, and not taken."""
        found = sorted(self.path.glob(f"*/{MODEL}"))
        with suppress(Failure):
            return dict(files.read_tensors(found[0])[1]) if found else {}
        return {}

    def _damage(self, places: Iterable[str]) -> str | None:
        """What is wrong with the saved models of places, in words; None where nothing is."""
        names = [f"{place}/{MODEL}" for place in places]
        return files.differing(self.path, files.read_sums(self.path), names)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """`metrics.json`: what ran and what came of it."""
        text = json.dumps(metrics, indent=1, ensure_ascii=False) + "\n"
        files.replace_with(self.path / "metrics.json", text.encode())
