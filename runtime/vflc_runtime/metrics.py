"""What a run measures, at the place that holds the label.

Rows are collected in blocks, and sums are kept of each block; metrics of how rows are ranked keep
every score. Where the rows of a loss have weights, a row counts by its weight in every metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import numpy as np
from msgspec import Meta
from vflc_common.arrays import Array
from vflc_common.grouping import grouped
from vflc_common.measure import (
    MetricMeasure,
    MetricSum,
    OfGroups,
    OfRanks,
    OfSums,
    OfTable,
    ScoredClassRows,
    ScoredRows,
    joined,
)
from vflc_common.metrics import METRICS, metric_use
from vflc_common.words import Predicted

from vflc_runtime.curves import PredictionCurve

ClassNames = tuple[str | int | float, ...]

BLOCK = 1 << 16
"""Rows that are collected before they are summed."""
_PENDING = ("prediction", "label", "weight", "groups")
"""What is collected of each row, where there is such a thing."""


@dataclass(frozen=True, slots=True)
class MeasuredPrediction:
    """A prediction, and what is measured of it.

    Args:
        metrics: as the spec writes them.
        programs: by program, prediction and label and, where rows do not count alike, their weight; then a
            value for each of `groups`.
        classes: what the table holds for each class, where classes have names.
        groups: the columns that metrics group rows by.
    """

    name: str
    kind: Predicted
    metrics: tuple[str, ...]
    programs: dict[str, tuple[str, ...]]
    classes: ClassNames = ()
    groups: tuple[str, ...] = ()


class GrowingArray:
    """Rows that come block by block and stand in one piece, with little room beside: there may be many.

    Args:
        like: such a block, [n, …].
    """

    def __init__(self, like: Array) -> None:
        self._all, self._count = np.empty((0, *like.shape[1:]), like.dtype), 0

    def add(self, rows: Array) -> None:
        """Takes a block [n, …]."""
        end = self._count + len(rows)
        if end > len(self._all):  # the system moves pages, and copies none
            self._all.resize((end + end // 8, *self._all.shape[1:]), refcheck=False)
        self._all[self._count : end] = rows
        self._count = end

    @property
    def rows(self) -> Array:
        """All of them, [rows, …]; holds until more are added."""
        return self._all[: self._count]


class MetricCollector:
    """The metrics of one prediction over an epoch or a data set.

    Args:
        scored: what is measured.
        curve: whether to count rows by their predictions, too, in `curve`.
    """

    def __init__(self, scored: MeasuredPrediction, curve: bool = False) -> None:
        self.scored = scored
        self._curve = PredictionCurve(scored.kind, scored.classes) if curve else None
        self._uses = {written: metric_use(written) for written in scored.metrics}
        found = {written: METRICS[use.name].measures.get(scored.kind) for written, use in self._uses.items()}
        self._measures = {written: measure for written, measure in found.items() if measure is not None}
        self._sums: dict[MetricSum, Any] = {
            each: 0.0
            for measure in self._measures.values()
            if isinstance(measure, OfSums)
            for each in measure.sums
        }
        self._ranked = any(not isinstance(measure, OfSums) for measure in self._measures.values())
        self._grouped = any(isinstance(measure, OfGroups) for measure in self._measures.values())
        self._kept: dict[str, GrowingArray] = {}
        self._pending: dict[str, Array] = {}
        self._filled = 0

    def add(self, prediction: Array, label: Array, *rest: Array) -> None:
        """Takes a batch.

        Args:
            prediction: probabilities [n, 1] or [n, classes], or numbers [n, k].
            label: as many, or ids of classes [n].
            rest: how much each row counts [n, 1], or nothing, where every row counts as much; then, of each
                of the groups, a number that is alike for the rows of one [n].
        """
        weights = len(rest) - len(self.scored.groups)
        given = dict(zip(_PENDING, (prediction, label, *rest[:weights]), strict=False))
        if self._grouped:
            given["groups"] = np.stack([each.reshape(-1) for each in rest[weights:]], axis=1)
        self._take(given)

    def _take(self, given: Mapping[str, Array]) -> None:
        rows = len(given["prediction"])
        flat = {name: each.reshape(rows, math.prod(each.shape[1:])) for name, each in given.items()}
        if not self._pending:
            self._pending = {n: np.empty((BLOCK, each.shape[1]), each.dtype) for n, each in flat.items()}
        start = 0
        while start < rows:
            count = min(rows - start, BLOCK - self._filled)
            for name, each in flat.items():
                self._pending[name][self._filled : self._filled + count] = each[start : start + count]
            self._filled += count
            start += count
            if self._filled == BLOCK:
                self._absorb()

    def _absorb(self) -> None:
        if not self._filled:
            return
        collected = {name: block[: self._filled] for name, block in self._pending.items()}
        self._filled = 0
        prediction, label, weight = collected["prediction"], collected["label"], collected.get("weight")
        counts = np.ones(len(prediction)) if weight is None else weight[:, 0].astype(np.float64)
        block: ScoredRows | ScoredClassRows
        if self.scored.kind == "multiclass":
            block = ScoredClassRows(prediction, label, counts)
        else:
            width = prediction.shape[1]  # several numbers a row count as rows of their own
            block = ScoredRows(prediction.reshape(-1), label.reshape(-1), np.repeat(counts, width))
            if "groups" in collected:
                collected["groups"] = np.repeat(collected["groups"], width, axis=0)
        if self._ranked:
            for name, each in self._keep(block, collected.get("groups")).items():
                self._kept.setdefault(name, GrowingArray(each)).add(each)
        if self._curve is not None:
            self._curve.add(block)
        for statistic, before in self._sums.items():
            self._sums[statistic] = joined(statistic, before, block)

    def _keep(self, block: ScoredRows | ScoredClassRows, groups: Array | None) -> dict[str, Array]:
        """What metrics of ranks need of a block at the end, [n] or [n, classes] each; groups [n, groups]."""
        kept = {"scores": block.prediction, "positive": block.truth}
        if "weight" in self._pending:
            kept["weights"] = block.weight
        if groups is not None:
            binary = self.scored.kind == "binary"
            kept |= {"groups": groups, "gain": block.truth if binary else block.label}
        return kept

    @property
    def curve(self) -> PredictionCurve | None:
        """Counts of the rows so far by their predictions, where they are wanted."""
        self._absorb()
        return self._curve

    def results(self) -> dict[str, float | None]:
        """Each metric that measures such a prediction by name; None where it is not defined, as the
        AUC of one class.

        Precision and recall of several classes are the means over those that occur.
        """
        self._absorb()
        return {
            name: self._result(name, measure)
            for name, measure in self._measures.items()
            if not isinstance(measure, OfTable)
        }

    def details(self) -> dict[str, float | None]:
        """What an evaluation tells besides: tables, and what is defined of each class, `recall.married`."""
        self._absorb()
        if not self._rows:
            return {}
        return {
            f"{metric}.{name}": None if value is None or np.isnan(value) else float(value)
            for metric, measure in self._measures.items()
            for name, value in self._details(metric, measure)
        }

    def _details(self, metric: str, measure: MetricMeasure) -> Iterable[tuple[Any, Any]]:
        if isinstance(measure, OfTable):
            return measure.table(*self._given(metric, measure)).items()
        if isinstance(measure, OfGroups) or measure.by_class is None:
            return ()
        return self._named(measure.by_class(*self._given(metric, measure)))

    def _named(self, values: Array) -> Iterable[tuple[Any, Any]]:
        return zip(self.scored.classes or range(len(values)), values, strict=False)

    @property
    def _rows(self) -> bool:
        """Whether a row has been absorbed."""
        return bool(self._kept) or any(np.ndim(value) for value in self._sums.values())

    def _given(self, metric: str, measure: MetricMeasure) -> Sequence[Any]:
        """What a metric is computed from: its sums, or all scores; then its parameter, if it has one."""
        use = self._uses[metric]
        last = () if use.at is None else (use.at,)
        if isinstance(measure, OfSums):
            return [*(self._sums[each] for each in measure.sums), *last]
        kept = {name: each.rows for name, each in self._kept.items()}
        weights = kept.get("weights")
        if not isinstance(measure, OfGroups):
            return [kept["scores"], kept["positive"], weights, *last]
        group = kept["groups"][:, self.scored.groups.index(str(use.by))]
        return [grouped(kept["scores"], kept["gain"], weights, group), *last]

    def _result(self, metric: str, measure: OfSums | OfRanks | OfGroups) -> float | None:
        if not isinstance(measure, OfSums) and not self._kept:
            return None
        given = self._given(metric, measure)
        return None if given[0] is None else measure.result(*given)

    def saved(self) -> dict[str, Array]:
        """All that was collected, [rows, …] and sums by name, for a checkpoint in the middle of an epoch."""
        if not self._pending:
            return {}
        found = {f"pending.{name}": block[: self._filled] for name, block in self._pending.items()}
        found |= {f"kept.{name}": each.rows for name, each in self._kept.items()}
        return {
            "sums": np.array([value for value in self._sums.values() if not np.ndim(value)]),
            **{f"sums.{i}": value for i, value in enumerate(self._sums.values()) if np.ndim(value)},
            **found,
        }

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Goes on from what `saved` gave, arrays [rows, …] and sums by name; ValueError if it cannot have."""
        if not saved:
            return
        pending = {name: saved[f"pending.{name}"] for name in _PENDING if f"pending.{name}" in saved}
        shapes, plain = [each.shape for each in pending.values()], saved.get("sums", np.empty(()))
        if not {"prediction", "label"} <= pending.keys() or {len(shape) for shape in shapes} != {2}:
            raise ValueError("no predictions and labels of rows")
        if len({rows for rows, _ in shapes}) > 1 or plain.ndim != 1:
            raise ValueError("predictions and labels of different rows")
        if len(plain) != sum(f"sums.{i}" not in saved for i in range(len(self._sums))):
            raise ValueError("other sums")
        self._take(pending)
        numbers = iter(plain.tolist())
        for i, statistic in enumerate(self._sums):
            name = f"sums.{i}"
            self._sums[statistic] = saved[name] if name in saved else next(numbers)
        self._kept = {}
        for name, each in saved.items():
            if name.startswith("kept."):
                self._kept[name.removeprefix("kept.")] = growing = GrowingArray(each)
                growing.add(each)


class MeterSums(TypedDict):
    """What a `Meter` goes on from, besides tensors."""

    rows: Annotated[int, Meta(ge=1)]
    parts: dict[str, float]
    losses: dict[str, float]


class Meter:
    """Losses and metrics over an epoch or a data set, of the places that are here.

    Each place's part of the loss is summed by itself, and the parts only at the end: so the loss
    is the same to the bit where each place sums its own and one of them gets the sums.

    Args:
        metrics: by the place and the name of what is measured.
        parts: the places that have a part of the loss, in the manifest's order.
        curves: whether to count rows by their predictions, too.
    """

    def __init__(
        self,
        metrics: Mapping[tuple[str, str], MeasuredPrediction],
        parts: Iterable[str],
        curves: bool = False,
    ) -> None:
        self.collectors = {key: MetricCollector(scored, curves) for key, scored in metrics.items()}
        self.rows = 0
        self.parts = dict.fromkeys(parts, 0.0)
        self.losses: dict[str, float] = {}

    @property
    def loss(self) -> float | None:
        """The loss so far; None where no place here has a part of it."""
        return sum(self.parts.values()) / self.rows if self.parts and self.rows else None

    def add(
        self,
        rows: int,
        parts: Mapping[str, float],
        terms: Mapping[str, float],
        measured: Mapping[tuple[str, str], tuple[Array, ...]],
    ) -> None:
        """Takes what one batch left behind.

        Args:
            rows: of the batch.
            parts: the loss by place, a mean over the rows.
            terms: its terms by name, the same.
            measured: by place and prediction what `MetricCollector.add` takes, [rows, …] each.
        """
        self.rows += rows
        losses = self.losses
        for place, value in parts.items():
            self.parts[place] += value * rows
        if len(terms) > 1:
            for name, value in terms.items():
                key = f"loss.{name}"
                losses[key] = losses.get(key, 0.0) + value * rows
        for place_and_name, arrays in measured.items():
            self.collectors[place_and_name].add(*arrays)

    def results(self, details: bool = False) -> dict[str, float | None]:
        """`loss`, each term as `loss.NAME` where there are several, and the metrics.

        A metric is `NAME` where one prediction is measured and `PREDICTION.NAME` where several are;
        `details` adds those of each class, `NAME.CLASS`.
        """
        found: dict[str, float | None] = {} if self.loss is None else {"loss": self.loss}
        found.update({name: total / self.rows for name, total in self.losses.items()})
        for (_, prediction), collector in self.collectors.items():
            each = collector.results() | (collector.details() if details else {})
            for name, value in each.items():
                found[name if len(self.collectors) == 1 else f"{prediction}.{name}"] = value
        return found

    def sums(self) -> MeterSums:
        """What `restore` needs besides `tensors`, as JSON."""
        return {"rows": self.rows, "parts": dict(self.parts), "losses": dict(self.losses)}

    def tensors(self) -> dict[str, dict[str, Array]]:
        """What `restore` needs besides `sums`, by place and name, [rows, …] each."""
        found: dict[str, dict[str, Array]] = {}
        for (place, name), collector in self.collectors.items():
            for part, tensor in collector.saved().items():
                found.setdefault(place, {})[f"{name}/{part}"] = tensor
        return found

    def restore(self, sums: MeterSums, tensors: Mapping[str, Mapping[str, Array]]) -> None:
        """Goes on from what `sums` and `tensors` gave, [rows, …] each, in the middle of an epoch.

        ValueError where they are of other places.
        """
        if sums["parts"].keys() != self.parts.keys():
            raise ValueError("sums of other places")
        self.rows, self.parts, self.losses = sums["rows"], dict(sums["parts"]), dict(sums["losses"])
        for (place, name), collector in self.collectors.items():
            saved = tensors.get(place, {})
            prefix = f"{name}/"
            collector.restore(
                {key.removeprefix(prefix): t for key, t in saved.items() if key.startswith(prefix)}
            )
