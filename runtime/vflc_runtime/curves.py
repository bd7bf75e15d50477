"""How predictions compare with labels, in bins: what calibration, ROC and precision curves are drawn from.

Sums over bins have the same size however many rows there are, add up over batches, and are exact at the edges
of the bins: a row counts as above an edge where its prediction is larger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, TypedDict

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from vflc_common.arrays import Array
from vflc_common.measure import ScoredClassRows, ScoredRows
from vflc_common.words import Predicted

RowWeight = Annotated[float, Meta(ge=0)]
PredictionBin = tuple[float | None, RowWeight, float, float]
"""The edge that a bin begins above (None: the lowest), its rows by weight, and the sums over them of labels
and of predictions."""
MOST_BINS = 1000
"""Of numbers, more bins than these are put together when they are kept."""
MOST_CLASSES = 20
"""Of more classes no rows are counted by class and prediction."""


class CurveData(TypedDict):
    """What is kept of a prediction: of bins those with rows, from the lowest to the highest.

    `bins` are of the prediction; of several classes, of the likeliest one's probability, with 1 as the label
    where it is right. `errors` are bins of prediction minus label, of numbers. `classes` are their names, and
    `confusion` has, of a class in each row, how much weight is predicted to be of each class.
    """

    kind: Predicted
    bins: list[PredictionBin]
    errors: list[tuple[float | None, RowWeight]]
    classes: list[str | int | float]
    confusion: list[list[RowWeight]]


def _probabilities() -> NDArray[np.float64]:
    """Edges [n]: hundredths, and between and beyond them evenly spaced log odds from -16 to 16."""
    odds = np.arange(-16 * 32, 16 * 32 + 1) / 32
    return np.unique(np.concatenate([np.arange(1, 100) / 100, 1 / (1 + np.exp(-odds))]))


def _numbers() -> NDArray[np.float64]:
    """Edges [n]: 0, and from 1e-6 to 1e9 a thousand for each power of ten, of both signs."""
    sizes = 10.0 ** (np.arange(-6 * 1000, 9 * 1000 + 1) / 1000)
    return np.concatenate([-sizes[::-1], [0.0], sizes])


EDGES: Mapping[Predicted, NDArray[np.float64]] = {
    "binary": _probabilities(),
    "multiclass": _probabilities(),
    "number": _numbers(),
}


class PredictionCurve:
    """Sums over the bins of a prediction, while rows come in.

    Args:
        kind: what the prediction is.
        classes: what the table calls them, if they have names.
    """

    def __init__(self, kind: Predicted, classes: tuple[str | int | float, ...] = ()) -> None:
        self.kind, self.classes = kind, classes
        self._sums = np.zeros((3, len(EDGES[kind]) + 1))
        self._errors = np.zeros(len(EDGES[kind]) + 1 if kind == "number" else 0)
        self._confusion: NDArray[np.float64] | None = None

    def add(self, block: ScoredRows | ScoredClassRows) -> None:
        """Takes rows; those that are not finite are left out."""
        label: Array
        if isinstance(block, ScoredClassRows):
            prediction, label = block.prediction.max(1), block.guess == block.truth
            self._confuse(block)
        else:
            prediction, label = block.prediction, block.truth if self.kind == "binary" else block.label
        where = self._bin(prediction)
        finite = np.isfinite(prediction) & np.isfinite(label)
        weight = np.where(finite, block.weight, 0.0)
        values = (np.where(finite, each, 0).astype(np.float64) for each in (label, prediction))
        parts = [weight, *(weight * each for each in values)]
        self._sums += np.stack([np.bincount(where, part, self._sums.shape[1]) for part in parts])
        if len(self._errors):
            error = prediction.astype(np.float64) - label
            self._errors += np.bincount(self._bin(error), weight, len(self._errors))

    def _bin(self, values: Array) -> NDArray[np.int64]:
        """How many edges each of some values [n] is above, the edges in the values' own precision."""
        edges = EDGES[self.kind].astype(values.dtype if values.dtype.kind == "f" else np.float64)
        return np.searchsorted(edges, values, side="left")

    def _confuse(self, block: ScoredClassRows) -> None:
        if block.classes > MOST_CLASSES:
            return
        cells = np.bincount(block.truth * block.classes + block.guess, block.weight, block.classes**2)
        found = cells.astype(np.float64).reshape(block.classes, block.classes)
        self._confusion = found if self._confusion is None else self._confusion + found

    def data(self) -> CurveData | None:
        """What is kept, as JSON; None where there were no rows."""
        if not self._sums[0].any():
            return None
        most = MOST_BINS if self.kind == "number" else None
        edges = [None, *EDGES[self.kind].tolist()]
        confusion = [] if self._confusion is None else self._confusion.tolist()
        bins, errors = _used(self._sums, most), _used(self._errors[None], most)
        return {
            "kind": self.kind,
            "bins": [(edges[i], float(rows), float(labels), float(sums)) for i, (rows, labels, sums) in bins],
            "errors": [(edges[i], float(rows)) for i, (rows,) in errors],
            "classes": [*(self.classes or range(len(confusion)))] if confusion else [],
            "confusion": confusion,
        }


def _used(sums: NDArray[np.float64], most: int | None) -> list[tuple[int, NDArray[np.float64]]]:
    """Of sums over bins, weights first [sums, bins], those with weight; neighbours together where there are
    more than `most`, each with about as much weight."""
    used = np.flatnonzero(sums[0]) if sums.size else np.arange(0)
    if most is None or len(used) <= most:
        return [(int(i), sums[:, i]) for i in used]
    before = np.cumsum(sums[0][used]) - sums[0][used]
    part = (before * most / sums[0].sum()).astype(np.int64)
    first = np.flatnonzero(np.diff(part, prepend=-1))
    whole = np.add.reduceat(sums[:, used], first, axis=1)
    return [(int(used[at]), whole[:, i]) for i, at in enumerate(first)]


def fits(found: Any) -> bool:
    """Whether what a file has of a prediction, a `CurveData` by its types, holds together."""
    bins, errors, size = found["bins"], found["errors"], len(found["classes"])
    edges = [[each[0] for each in part] for part in (bins, errors)]
    numbers = [value for each in (*bins, *errors, *found["confusion"]) for value in each if value is not None]
    known = [edge for edge in edges[0] if edge is not None]
    shares = found["kind"] == "number" or (
        all(0 <= edge <= 1 for edge in known)
        and all(0 <= labels <= rows * (1 + 1e-9) for _, rows, labels, _ in bins)
    )
    return (
        bool(bins)
        and all(map(_ascending, edges))
        and all(abs(value) < _LARGE for value in numbers)
        and shares
        and all(len(row) == size for row in found["confusion"])
        and len(found["confusion"]) in (0, size)
    )


_LARGE = 1e30
"""No sum over rows comes near; what is not a number is not below it either."""


def _ascending(edges: Sequence[float | None]) -> bool:
    """Whether edges increase, of which only the first may be None."""
    known = [edge for edge in edges[1:] if edge is not None]
    first = edges[0] if edges and edges[0] is not None else -math.inf
    return len(known) == len(edges[1:]) and all(a < b for a, b in pairwise([first, *known]))
