"""What is computed from the bins of a prediction: curves, tables and areas. Sums alone, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct
from vflc_runtime.curves import CurveData, PredictionBin

from vflc.report.numbers import PlotPoint

GROUPS = 10
"""Groups of equal weight that calibration is told of."""
THRESHOLDS = [i / 20 for i in range(1, 20)]
TOP = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Shares of the rows with the highest predictions that the table of thresholds has."""
MOST_POINTS = 240


class Above(Struct, frozen=True):
    """The rows above an edge: their weight, and that of the positives among them."""

    edge: float
    weight: float
    positives: float


class CountedRows(Struct, frozen=True):
    """A binary prediction's bins from the highest to the lowest, added up from the top.

    Args:
        above: for each edge with rows right above it.
        weight: of all rows.
        positives: of all positive rows.
    """

    above: Sequence[Above]
    weight: float
    positives: float

    @property
    def both(self) -> bool:
        """Whether there are rows of both classes."""
        return 0 < self.positives < self.weight

    def roc(self) -> list[PlotPoint]:
        """False positive rate and recall."""
        negatives = self.weight - self.positives
        points = [((each.weight - each.positives) / negatives, each.positives / self.positives)
                  for each in self.above]  # fmt: skip
        return thinned([(0.0, 0.0), *points])

    def precision(self) -> list[PlotPoint]:
        """Recall and precision."""
        return thinned([(e.positives / self.positives, e.positives / e.weight) for e in self.above])

    def over(self, threshold: float) -> Above:
        """The rows above a threshold, which is an edge."""
        found = [each for each in self.above if each.edge >= threshold - 1e-12]
        return found[-1] if found else Above(threshold, 0.0, 0.0)

    def top(self, share: float) -> Above:
        """The rows above the lowest edge that has at most this share of the rows above it, or its nearest."""
        return min(self.above, key=lambda each: abs(each.weight - share * self.weight))


def counted(data: CurveData) -> CountedRows:
    """The bins of a binary prediction, added up."""
    above, weight, positives = [], 0.0, 0.0
    for edge, rows, labels, _ in reversed(data["bins"]):
        weight, positives = weight + rows, positives + labels
        if weight > 0:
            above.append(Above(-math.inf if edge is None else edge, weight, positives))
    return CountedRows(above, weight, positives)


def area(points: Sequence[PlotPoint]) -> float:
    """Under a curve, by trapezoids."""
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


def thinned(points: Sequence[PlotPoint]) -> list[PlotPoint]:
    """As many of the points as a picture needs, with both ends."""
    if len(points) <= MOST_POINTS:
        return list(points)
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(i * step)] for i in range(MOST_POINTS)]


class CalibrationGroup(Struct, frozen=True):
    """Rows with neighbouring predictions: weight, mean prediction and mean label."""

    weight: float
    predicted: float
    observed: float

    @property
    def interval(self) -> PlotPoint:
        """Wilson's 95 % interval of a share, the weights taken for counts."""
        z, n, p = 1.96, max(self.weight, 1e-9), min(max(self.observed, 0.0), 1.0)
        middle, scale = p + z * z / (2 * n), 1 + z * z / n
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (middle - half) / scale, (middle + half) / scale


def groups(bins: Sequence[PredictionBin], count: int = GROUPS) -> list[CalibrationGroup]:
    """Neighbouring bins together, so that each group has about as much weight."""
    whole = sum(each[1] for each in bins)
    found: list[CalibrationGroup] = []
    rows = labels = predicted = done = 0.0
    for _, weight, label, prediction in bins:
        rows, labels, predicted = rows + weight, labels + label, predicted + prediction
        done += weight
        if rows > 0 and done >= (len(found) + 1) * whole / count - 1e-9:
            found.append(CalibrationGroup(rows, predicted / rows, labels / rows))
            rows = labels = predicted = 0.0
    if rows > 0:
        found.append(CalibrationGroup(rows, predicted / rows, labels / rows))
    return found


def spread(data: CurveData, parts: int = 20) -> tuple[list[float], list[float], list[float]]:
    """How predictions are spread: the lower ends of `parts` equal parts of 0 to 1, and what each has of the
    positive rows and of the negative ones, as shares of these."""
    ends = [i / parts for i in range(parts)]
    positive, negative = [0.0] * parts, [0.0] * parts
    for edge, rows, labels, _ in data["bins"]:
        at = 0 if edge is None else min(max(int(edge * parts + 1e-9), 0), parts - 1)
        positive[at] += labels
        negative[at] += rows - labels
    whole = [max(sum(each), 1e-300) for each in (positive, negative)]
    return ends, [each / whole[0] for each in positive], [each / whole[1] for each in negative]


def quantiles(errors: Sequence[tuple[float | None, float]], at: Sequence[float]) -> list[float | None]:
    """The edges below which these shares of the weight lie."""
    found: list[float | None] = []
    whole = sum(weight for _, weight in errors)
    for share in at:
        done = 0.0
        for edge, weight in errors:
            done += weight
            if done >= share * whole:
                found.append(edge)
                break
        else:
            found.append(None)
    return found
