"""Weights that a run starts from instead of the seed's: `vflc train --from weights.safetensors`.

    RUN/PLACE/start.safetensors  the place's own part of them, readable for its owner alone

They are kept, so that a run which is killed before its first checkpoint begins with the same weights, and an
audit knows them as the attacker does, who may have the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime import files
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.slices import cut
from vflc_runtime.engines.engine import Engine
from vflc_runtime.errors import Failure

FILE = "start.safetensors"
FITTING = (
    "give a file that `vflc import --weights` wrote for this spec, or leave it out and start from the seed"
)


def read(path: Path, bundle: Bundle) -> dict[str, dict[str, Array]]:
    """The weights of every place in a file, [rows, …] by place and by the name that they have there.

    Raises:
        Failure: VFL0706, the file cannot be read, or has other weights than the spec; each is named.
    """
    if any(plan.training.secret_start for plan in bundle.plans.values()):
        raise Failure(
            "VFL0706", "weights of a file are no secret, and the spec has `secret_start true`", FITTING
        )
    try:
        given, _ = files.read_tensors(path)
    except Failure as failure:
        raise Failure("VFL0706", failure.message, FITTING) from None
    wanted = {
        weight.whole: _whole_shape(weight.shape, None if weight.slice is None else weight.slice.rows)
        for plan in bundle.plans.values()
        for weight in plan.weights.values()
        if weight.fitted is None
    }
    wrong = [f"no `{name}`" for name in wanted if name not in given]
    wrong += [f"`{name}`, which the spec does not have" for name in given if name not in wanted]
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
    return {place: cut(plan, given) for place, plan in bundle.plans.items()}


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
