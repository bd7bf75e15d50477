"""How far apart two recordings lie, and how far they may.

Rounding errors are relative to the numbers that were added up, so a difference is judged by the
scale of the whole tensor: the largest magnitude that it has in any way of training, weights before
or after it, messages, predictions and losses at any step. By a single element's own magnitude
nothing could be said: where sums cancel, an element near zero is nothing but rounding. And by the
magnitude at its own step a gradient could not be judged, which is a difference of probabilities
that nearly agree once a model has learned its rows.

In float64 a difference may be 1e-9, or 1e-9 of the scale where that is above 1. In float32 it may
be 1e-4 of the scale, of tensors of whatever size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.verify.recording import Recording

Array = NDArray[Any]

KINDS = ("weight", "message", "prediction", "loss")
LIMITS = {"float64": 1e-9, "float32": 1e-4}
"""What `Difference.measure` may be at most."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of one tensor between two ways.

    Args:
        kind: of `KINDS`.
        name: the weight's, the prediction's or the loss's, or the edge's id.
        step: where it was largest, from 1; 0 is before training, None after.
        absolute: the largest |a - b| of any element; infinite where shapes differ.
        relative: `absolute` over the tensor's scale.
        measure: what is held against the limit of the precision.
    """

    kind: str
    name: str
    step: int | None
    absolute: float
    relative: float
    measure: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two ways in one precision: of each kind the worst difference, None where they share nothing."""

    ways: tuple[str, str]
    worst: dict[str, Difference | None]


def compare(recordings: Mapping[str, Recording], precision: str) -> list[Comparison]:
    """Every pair of recordings, by name of the way."""
    pairs = list(combinations(recordings, 2))
    largest: dict[tuple[str, str], dict[tuple[str, str], tuple[float, int | None]]] = {p: {} for p in pairs}
    scale: dict[tuple[str, str], float] = {}
    for key in dict.fromkeys(key for recording in recordings.values() for key in recording):
        found = {way: r.get(key) for way, r in recordings.items() if key in r}
        name = key.kind, key.name
        scale[name] = max(scale.get(name, 0.0), *(_magnitude(array) for array in found.values()))
        for pair in pairs:
            if pair[0] in found and pair[1] in found:
                distance = _distance(found[pair[0]], found[pair[1]])
                if name not in largest[pair] or distance > largest[pair][name][0]:
                    largest[pair][name] = distance, key.step
    return [Comparison(pair, _worst(largest[pair], scale, precision)) for pair in pairs]


def _magnitude(array: Array) -> float:
    return float(np.abs(array.astype(np.float64)).max(initial=0.0))


def _distance(a: Array, b: Array) -> float:
    if a.shape != b.shape:
        return float("inf")
    distance = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))
    return distance if np.isfinite(distance) else float("inf")


def _worst(
    largest: Mapping[tuple[str, str], tuple[float, int | None]],
    scale: Mapping[tuple[str, str], float],
    precision: str,
) -> dict[str, Difference | None]:
    worst: dict[str, Difference | None] = dict.fromkeys(KINDS)
    for (kind, name), (absolute, step) in largest.items():
        size = scale[kind, name]
        relative = absolute / size if absolute else 0.0
        measure = relative if precision == "float32" else absolute / max(1.0, size)
        found = worst[kind]
        if found is None or measure > found.measure:
            worst[kind] = Difference(kind, name, step, absolute, relative, measure)
    return worst


def idle(recording: Recording, precision: str) -> list[str]:
    """Weights that moved, but by no more than the ways may differ: by rounding, for all that is known."""
    found = []
    for key in recording:
        if key.kind == "weight" and key.step is None:
            moved = _distance(recording.get(key), recording.get(key._replace(step=0)))
            if 0 < moved <= LIMITS[precision]:
                found.append(key.name)
    return found
