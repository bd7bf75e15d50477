"""How far apart two recordings lie, and how far they may.

In float64 every single number counts: it may differ by 1e-9, or by 1e-9 of the largest number of its
tensor where that is above 1.

Where rows of tables catch up with Adam, an approximation is compared with what it stands for: weights may
differ by 1e-6 of the farthest that any weight moved, all else by 1e-6 in place of 1e-9.

In float32 a difference is relative, tensor by tensor in the Euclidean norm: |a - b| over the largest
|a| that the tensor has in any way of training, weights before or after it, messages, predictions and
losses at any step; at most 1e-4. It cannot be by the single number. Where sums cancel, a number near
zero is nothing but rounding; Adam divides a gradient by its own size, so where a gradient is as
small as its rounding, one weight of thousands moves by another amount; and a gradient that comes
back is a difference of probabilities that nearly agree once a model has learned its rows. One wrong
number would still show: in a tensor of 16 million it is 2.5e-4 of the norm. See Higham, "Accuracy and
Stability of Numerical Algorithms", 2002, chapter 6, for errors in norms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.verify.recording import Recording

RecordName = tuple[str, str]
"""Kind and name of a tensor."""
Pair = tuple[str, str]
"""Names of two ways."""

KINDS = ("weight", "message", "prediction", "loss")
LIMITS = {"float64": 1e-9, "float32": 1e-4}
"""What `Difference.measure` may be at most."""
CLOSE = 1e-6
"""The same in float64, against an optimizer that rows of tables follow with an approximation."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of one tensor between two ways.

    Args:
        kind: of `KINDS`.
        name: the weight's, the prediction's or the loss's, or the edge's id.
        step: where it was largest, from 1; 0 is before training, None after.
        absolute: the largest difference of any number; infinite where shapes differ.
        relative: the norm of the difference over the tensor's largest norm.
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
    """Two ways in one precision.

    Args:
        worst: of each kind the worst difference, None where they share nothing.
        limit: the largest number that any measure may have.
    """

    ways: tuple[str, str]
    worst: dict[str, Difference | None]
    limit: float

    @property
    def within(self) -> bool:
        return all(worst is None or worst.measure <= self.limit for worst in self.worst.values())


def compare(
    recordings: Mapping[str, Recording],
    precision: str,
    pairs: Collection[Pair] | None = None,
    close: Collection[Pair] = (),
) -> list[Comparison]:
    """Recordings by name of the way: those pairs, or all of them.

    In float64 pairs in `close` need only be as near to each other as rows of tables catch up with Adam.
    """
    pairs = list(combinations(recordings, 2)) if pairs is None else pairs
    sizes: dict[RecordName, _Size] = defaultdict(_Size)
    gaps: dict[Pair, dict[RecordName, _Gap]] = {pair: defaultdict(_Gap) for pair in pairs}
    for key in dict.fromkeys(key for recording in recordings.values() for key in recording):
        found = {way: r.get(key).astype(np.float64) for way, r in recordings.items() if key in r}
        for array in found.values():
            sizes[key.kind, key.name].grow(array)
        for one, other in pairs:
            if one in found and other in found:
                gaps[one, other][key.kind, key.name].grow(found[one], found[other], key.step)
    moved = _moved(next(iter(recordings.values()))) if close else 0.0
    comparisons = []
    for one, other in pairs:
        near = precision == "float64" and (one, other) in close
        worst = _worst(gaps[one, other], sizes, precision, moved if near else None)
        comparisons.append(Comparison((one, other), worst, CLOSE if near else LIMITS[precision]))
    return comparisons


def _moved(recording: Recording) -> float:
    """The farthest that any number of any weight went."""
    after = [key for key in recording if key.kind == "weight" and key.step is None]
    moves = (np.abs(recording.get(key) - recording.get(key._replace(step=0))) for key in after)
    return max((float(move.max(initial=0.0)) for move in moves), default=0.0)


@dataclass(slots=True)
class _Size:
    """The largest number and the largest norm that a tensor had."""

    number: float = 0.0
    norm: float = 0.0

    def grow(self, array: Array) -> None:
        self.number = max(self.number, float(np.abs(array).max(initial=0.0)))
        self.norm = max(self.norm, _norm(array))


@dataclass(slots=True)
class _Gap:
    """The largest difference of a tensor between two ways, by number and by norm, and its step."""

    absolute: float = -1.0
    norm: float = 0.0
    step: int | None = None

    def grow(self, a: Array, b: Array, step: int | None) -> None:
        gap = np.abs(a - b) if a.shape == b.shape else np.array(np.inf)
        largest = float(gap.max(initial=0.0))
        largest, norm = (largest, _norm(gap)) if np.isfinite(largest) else (np.inf, np.inf)
        if largest > self.absolute:
            self.absolute, self.step = largest, step
        self.norm = max(self.norm, norm)


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array.reshape(-1)))


def _worst(
    gaps: Mapping[RecordName, _Gap], sizes: Mapping[RecordName, _Size], precision: str, moved: float | None
) -> dict[str, Difference | None]:
    """Of each kind the worst; weights are measured by how far weights `moved`, where that is given."""
    worst: dict[str, Difference | None] = dict.fromkeys(KINDS)
    for (kind, name), gap in gaps.items():
        size = sizes[kind, name]
        relative = gap.norm / size.norm if gap.norm else 0.0
        measure = relative if precision == "float32" else gap.absolute / max(1.0, size.number)
        if kind == "weight" and moved and gap.absolute:
            measure = gap.absolute / moved
        found = worst[kind]
        if found is None or measure > found.measure:
            worst[kind] = Difference(kind, name, gap.step, gap.absolute, relative, measure)
    return worst
