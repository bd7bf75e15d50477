"""Weights that a run starts from instead of the seed's: `vflc train --from weights.safetensors`, or of a run.

    RUN/PLACE/start.safetensors  the place's own part of them, readable for its owner alone

They are kept, so that a run which is killed before its first checkpoint begins with the same weights, and an
audit knows them as the attacker does, who may have the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from vflc_common.arrays import Array
from vflc_common.words import DEFAULT_ENGINE, ENCODERS_FILE

from vflc_runtime import files
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.plan import TableFit, Weight
from vflc_runtime.bundle.slices import cut, joined
from vflc_runtime.engines.engine import Engine
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, StartedFrom
from vflc_runtime.run.inherited import Ancestors, ancestors
from vflc_runtime.run.settings import TrainOptions
from vflc_runtime.run.state import RunFolder

FILE = "start.safetensors"
FITTING = (
    "give a file that `vflc import --weights` wrote for this spec, or leave it out and start from the seed"
)

RUN_FITTING = "name a run of the same spec, or of one from which this one was changed"


class StartingWeights(NamedTuple):
    """Weights of places to start from, and a name that parties compare: that of the same file or run.

    Of a run, `fresh` are weights of the spec that it lacks, or has in another shape, and `gone` those that it
    has alone, both by the names that users know.
    """

    weights: dict[str, dict[str, Array]]
    name: str
    fresh: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def taken(self) -> int:
        """How many weights, or slices of them, start as given."""
        return sum(map(len, self.weights.values()))


def read(path: Path, bundle: Bundle) -> StartingWeights:
    """The weights of the bundle's places in a file, or those that a run has trained, [rows, …] each.

    Args:
        path: a file with all weights of the spec by the names that users know; or the folder of a run.
        bundle: of all places, or of a party, which does not know what else the spec has.

    Raises:
        Failure: VFL0706, it cannot be read; a file has other weights than the spec, each is named; a run has
            none that the spec has.
    """
    if any(plan.training.secret_start for plan in bundle.plans.values()):
        raise Failure(
            "VFL0706",
            "weights that were there before are no secret, and the spec has `secret_start true`",
            FITTING,
        )
    try:
        return _of_run(path, bundle) if path.is_dir() else _of_file(path, bundle)
    except Failure as failure:
        raise Failure("VFL0706", failure.message, failure.help or FITTING) from None


def _of_file(path: Path, bundle: Bundle) -> StartingWeights:
    given, _ = files.read_tensors(path)
    wanted = {
        weight.whole: _whole_shape(weight)
        for plan in bundle.plans.values()
        for weight in plan.weights.values()
        if weight.fitted is None
    }
    _check(path, given, wanted, alone=set(bundle.plans) == set(bundle.manifest.places))
    return StartingWeights(
        {place: cut(plan, given) for place, plan in bundle.plans.items()}, f"file {_digest(given)}"
    )


def _of_run(path: Path, bundle: Bundle) -> StartingWeights:
    """By name and shape, wherever the run had them: it may be of another spec, or split in another way."""
    run = RunFolder(path)
    old = run.bundle(DEFAULT_ENGINE)
    models, state = run.trained(old.plans)
    trained = [weight for plan in old.plans.values() for weight in plan.weights.values() if not weight.fitted]
    values = {name: value for weights in models.values() for name, value in weights.items()}
    wholes = joined(old.plans.values(), {weight.name: values[weight.name] for weight in trained})
    slices = {_part(weight): values[weight.name] for weight in trained}
    found: dict[str, dict[str, Array]] = {place: {} for place in bundle.plans}
    wanted: dict[str, None] = {}
    fresh: dict[str, None] = {}
    for place, plan in bundle.plans.items():
        for weight in (each for each in plan.weights.values() if each.fitted is None):
            whole = wholes.get(weight.whole)
            wanted[weight.whole] = None
            if whole is not None and whole.shape == _whole_shape(weight):
                found[place] |= cut(plan, {weight.whole: whole})
            elif _part(weight) in slices:
                found[place][weight.name] = slices[_part(weight)]
            else:
                fresh[weight.whole] = None
    if wanted and len(fresh) == len(wanted):
        raise Failure("VFL0706", f"{path} has no weight that the spec has, by name and shape", RUN_FITTING)
    gone = dict.fromkeys(weight.whole for weight in trained if weight.whole not in wanted)
    return StartingWeights(found, f"run {state}", tuple(fresh), tuple(gone))


def _part(weight: Weight) -> tuple[object, ...]:
    """What tells a weight, or the slice of one, from all others."""
    part = weight.slice
    return (weight.whole, weight.shape, *(() if part is None else (part.start, part.rows)))


def fitted(path: Path, bundle: Bundle) -> dict[str, Any]:
    """What encoders of a run were fitted to, by input id: of those that are the same in the bundle.

    Nothing of a file, which has weights alone.
    """
    if not path.is_dir():
        return {}
    run = RunFolder(path)
    old = run.bundle(DEFAULT_ENGINE)
    chains, now = _chains(old), _chains(bundle)
    return {
        name: state
        for name, state in run.fitted(old).items()
        if name in now and chains.get(name) == now[name]
    }


def _without_tables(given: StartingWeights, path: Path, bundle: Bundle, refit: bool) -> StartingWeights:
    """What is left of them without tables that are fitted anew: all, or those whose bins or label changed."""
    old = RunFolder(path).bundle(DEFAULT_ENGINE) if path.is_dir() and not refit else None
    fitted = {
        place: {fit.weight for fit in plan.fits if refit or not _same_table(fit, place, old, bundle)}
        for place, plan in bundle.plans.items()
    }
    left = {
        place: {name: value for name, value in own.items() if name not in fitted[place]}
        for place, own in given.weights.items()
    }
    return given._replace(weights=left)


def _same_table(fit: TableFit, place: str, old: Bundle | None, bundle: Bundle) -> bool:
    """Whether a table is fitted as in a run, to columns encoded alike; a file is taken at its word."""
    if old is None:
        return True
    before = old.plans[place].fits if place in old.plans else ()
    parties = {name.partition(".")[0] for name in (fit.feature, fit.label)}
    chains = [[each.manifest.contents.get(p, {}) for p in parties] for each in (old, bundle)]
    alike = len({tuple(part.get(ENCODERS_FILE) for part in each) for each in chains}) == 1
    return alike and any(replace(each, counts=fit.counts) == fit for each in before)


def _before(path: Path, bundle: Bundle) -> Ancestors:
    """The specs that weights come from; a file is known to everybody, and so is what it tells."""
    if not path.is_dir():
        return []
    run = RunFolder(path)
    return ancestors(run.bundle(DEFAULT_ENGINE), run.settings.get("before", []), bundle)


def _chains(bundle: Bundle) -> dict[str, Any]:
    """Of every input what it is made of and how it is encoded."""
    return {
        f"{party}.{column['name']}": [column.get(part) for part in ("type", "value", "encoders")]
        for plan in bundle.plans.values()
        for party, about in plan.encoders.items()
        for column in about["columns"]
    }


def _check(
    path: Path, given: Mapping[str, Array], wanted: Mapping[str, tuple[int, ...]], alone: bool
) -> None:
    """VFL0706 where weights are not those wanted; `alone`: and where there are others."""
    wrong = [f"no `{name}`" for name in wanted if name not in given]
    wrong += [f"`{name}`, which the spec does not have" for name in given if alone and name not in wanted]
    wrong += [
        f"`{name}` of shape {list(given[name].shape)}, not {list(shape)}"
        for name, shape in wanted.items()
        if name in given and given[name].shape != shape
    ]
    wrong += [
        f"numbers that are not finite in `{name}`"
        for name, value in given.items()
        if name in wanted and (value.dtype.kind != "f" or not np.isfinite(value).all())
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise Failure("VFL0706", f"{path} has {', '.join(wrong[:5])}{more}", FITTING)


def _digest(weights: Mapping[str, Array]) -> str:
    """The SHA-256 of what a file holds, however it is laid out."""
    found = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name]
        found.update(f"{name} {value.dtype} {value.shape}\n".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


def _whole_shape(weight: Weight) -> tuple[int, ...]:
    return weight.shape if weight.slice is None else (weight.slice.rows, *weight.shape[1:])


def keep(run: Path, weights: Mapping[str, Mapping[str, Array]]) -> None:
    """Writes each place's part, [rows, …] by name, into its own folder; VFL0612 where the disk refuses."""
    with files.writing(run):
        for place, own in weights.items():
            files.make_folder(run / place)
            files.write_tensors(run / place / FILE, own, {})


def take(run: Path, engines: Mapping[str, Engine]) -> None:
    """Gives weights the values that were kept; VFL0621 where they are not there any more."""
    for place, engine in engines.items():
        kept, _ = files.read_tensors(run / place / FILE)
        now = engine.weights()
        engine.load({name: kept.get(name, value).astype(value.dtype) for name, value in now.items()})


def given(run: Path, places: Iterable[str]) -> dict[str, frozenset[str]]:
    """The names of the weights that were kept, by place."""
    paths = {place: run / place / FILE for place in places}
    return {p: frozenset(files.read_tensors(path)[0]) for p, path in paths.items() if path.is_file()}


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """What a new run starts from: weights, what encoders were fitted to where kept, and of which specs."""

    path: Path
    given: StartingWeights
    fitted: dict[str, Any]
    before: Ancestors

    @classmethod
    def of(cls, options: TrainOptions, bundle: Bundle) -> StartingPoint | None:
        """What the options name, read; None where they name nothing.

        Raises:
            Failure: as `read`; VFL0752, the weights tell more than the spec's bounds say.
        """
        if options.start is None:
            return None
        path = Path(options.start)
        given = read(path, bundle)
        given = _without_tables(given, path, bundle, options.refit)
        return cls(path, given, {} if options.refit else fitted(path, bundle), _before(path, bundle))

    def tell(self, state: Mapping[str, Any], listen: Listener) -> None:
        """Tells what was taken, when all encoders have their `state`; a file fits whole."""
        if self.path.is_dir():
            anew = tuple(name for name in state if name not in self.fitted)
            kept = tuple(name for name in state if name in self.fitted)
            given = self.given
            listen(StartedFrom(self.path, given.taken, given.fresh, given.gone, kept, anew))
