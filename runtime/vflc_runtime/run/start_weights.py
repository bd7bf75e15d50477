"""Weights that a run starts from instead of the seed's: `vflc train --from weights.safetensors`, or of a run.

    RUN/PLACE/start.safetensors  the place's own part of them, readable for its owner alone

They are kept, so that a run which is killed before its first checkpoint begins with the same weights, and an
audit knows them as the attacker does, who may have the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime import files
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.slices import cut
from vflc_runtime.engines.engine import Engine
from vflc_runtime.errors import Failure
from vflc_runtime.run.state import RunFolder

FILE = "start.safetensors"
FITTING = (
    "give a file that `vflc import --weights` wrote for this spec, or leave it out and start from the seed"
)


class StartingWeights(NamedTuple):
    """Weights of places to start from, and a name that parties compare: that of the same file or run."""

    weights: dict[str, dict[str, Array]]
    name: str


def read(path: Path, bundle: Bundle) -> StartingWeights:
    """The weights of the bundle's places in a file, or those that a run has trained, [rows, …] each.

    Args:
        path: a file with all weights of the spec by the names that users know; or the folder of a run.
        bundle: of all places, or of a party, which does not know what else the spec has.

    Raises:
        Failure: VFL0706, it cannot be read, or has other weights than the spec; each is named.
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
        weight.whole: _whole_shape(weight.shape, None if weight.slice is None else weight.slice.rows)
        for plan in bundle.plans.values()
        for weight in plan.weights.values()
        if weight.fitted is None
    }
    _check(path, given, wanted, alone=set(bundle.plans) == set(bundle.manifest.places))
    return StartingWeights(
        {place: cut(plan, given) for place, plan in bundle.plans.items()}, f"file {_digest(given)}"
    )


def _of_run(path: Path, bundle: Bundle) -> StartingWeights:
    models, state = RunFolder(path).trained(bundle.plans)
    found = {}
    for place, weights in models.items():
        own = bundle.plans[place].weights.values()
        wanted = {weight.name: weight.shape for weight in own if weight.fitted is None}
        fitted = {weight.name for weight in own if weight.fitted is not None}
        found[place] = {name: value for name, value in weights.items() if name not in fitted}
        _check(path / place, found[place], wanted, alone=True)
    return StartingWeights(found, f"run {state}")


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


def _whole_shape(shape: tuple[int, ...], rows: int | None) -> tuple[int, ...]:
    return shape if rows is None else (rows, *shape[1:])


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
