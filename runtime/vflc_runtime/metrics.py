"""What a run measures, at the place that holds the label.

Rows are collected in blocks, and sums are kept of each block; metrics of how rows are ranked keep
every score. Where the rows of a loss have weights, a row counts by its weight in every metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.measure import MetricSum, OfRanks, OfSums, ScoredClassRows, ScoredRows, joined
from vflc_common.metrics import METRICS
from vflc_common.words import Predicted

ClassNames = tuple[str | int | float, ...]

BLOCK = 1 << 16
"""Rows that are collected before they are summed."""
_PENDING = ("prediction", "label", "weight")
_KEPT = ("scores", "positive", "weights")


@dataclass(frozen=True, slots=True)
class MeasuredPrediction:
    """A prediction, and what is measured of it.

    Args:
        programs: by program, prediction and label and, where rows do not count alike, their weight.
        classes: what the table holds for each class, where classes have names.
    """

    name: str
    kind: Predicted
    metrics: tuple[str, ...]
    programs: dict[str, tuple[str, ...]]
    classes: ClassNames = ()


class MetricCollector:
    """The metrics of one prediction over an epoch or a data set."""

    def __init__(self, scored: MeasuredPrediction) -> None:
        self.scored = scored
        found = {name: METRICS[name].measures.get(scored.kind) for name in scored.metrics}
        self._measures = {name: measure for name, measure in found.items() if measure is not None}
        self._sums: dict[MetricSum, Any] = {
            each: 0.0
            for measure in self._measures.values()
            if isinstance(measure, OfSums)
            for each in measure.sums
        }
        self._ranked = any(isinstance(measure, OfRanks) for measure in self._measures.values())
        self._kept: list[tuple[Array, Array, Array]] = []
        self._pending: list[Array] = []
        self._filled = 0

    def add(self, prediction: Array, label: Array, weight: Array | None = None) -> None:
        """Takes a batch.

        Args:
            prediction: probabilities [n, 1] or [n, classes], or numbers [n, k].
            label: as many, or ids of classes [n].
            weight: how much each row counts [n, 1]; every row as much where None.
        """
        rows = len(prediction)
        given = [each.reshape(rows, math.prod(each.shape[1:])) for each in (prediction, label)]
        if weight is not None:
            given.append(weight.reshape(rows, 1))
        if not self._pending:
            self._pending = [np.empty((BLOCK, each.shape[1]), each.dtype) for each in given]
        start = 0
        while start < rows:
            count = min(rows - start, BLOCK - self._filled)
            for block, each in zip(self._pending, given, strict=True):
                block[self._filled : self._filled + count] = each[start : start + count]
            self._filled += count
            start += count
            if self._filled == BLOCK:
                self._absorb()

    def _absorb(self) -> None:
        if not self._filled:
            return
        prediction, label, *rest = (block[: self._filled] for block in self._pending)
        self._filled = 0
        weight = rest[0][:, 0].astype(np.float64) if rest else np.ones(len(prediction))
        block: ScoredRows | ScoredClassRows
        if self.scored.kind == "multiclass":
            block = ScoredClassRows(prediction, label, weight)
        else:
            if prediction.shape[1] > 1:  # several numbers a row count as rows of their own
                weight = np.repeat(weight, prediction.shape[1])
            block = ScoredRows(prediction.reshape(-1), label.reshape(-1), weight)
        if self._ranked:
            self._kept.append((block.prediction.copy(), block.truth, weight))
        for statistic, before in self._sums.items():
            self._sums[statistic] = joined(statistic, before, block)

    def results(self) -> dict[str, float | None]:
        """Each metric that measures such a prediction by name; None where it is not defined, as the
        AUC of one class.

        Precision and recall of several classes are the means over those that occur.
        """
        self._absorb()
        return {name: self._result(measure) for name, measure in self._measures.items()}

    def by_class(self) -> dict[str, float | None]:
        """What is defined of each class, where it is asked for: `recall.married`."""
        self._absorb()
        return {
            f"{metric}.{name}": None if np.isnan(value) else float(value)
            for metric, measure in self._measures.items()
            if measure.by_class is not None and self._rows
            for name, value in self._named(measure.by_class(*self._given(measure)))
        }

    def _named(self, values: Array) -> Iterable[tuple[Any, Any]]:
        return zip(self.scored.classes or range(len(values)), values, strict=False)

    @property
    def _rows(self) -> bool:
        """Whether a row has been absorbed."""
        return bool(self._kept) or any(np.ndim(value) for value in self._sums.values())

    def _given(self, measure: OfSums | OfRanks) -> Sequence[Any]:
        """What a metric is computed from: its sums, or all scores."""
        return self._scores() if isinstance(measure, OfRanks) else [self._sums[each] for each in measure.sums]

    def _result(self, measure: OfSums | OfRanks) -> float | None:
        if isinstance(measure, OfRanks) and not self._kept:
            return None
        return measure.result(*self._given(measure))

    def _scores(self) -> tuple[Array, Array, Array | None]:
        scores, positive, weights = (np.concatenate(each) for each in zip(*self._kept, strict=True))
        return scores, positive, weights if len(self._pending) > 2 else None

    def saved(self) -> dict[str, Array]:
        """All that was collected, [rows, …] and sums by name, for a checkpoint in the middle of an epoch."""
        if not self._pending:
            return {}
        several = self.scored.kind == "multiclass"
        empty = (
            self._pending[0][:0] if several else self._pending[0][:0, 0],
            np.empty(0, np.int64 if several else bool),
            np.empty(0),
        )
        kept = (np.concatenate(each) for each in zip(*self._kept, empty, strict=True))
        return {
            "sums": np.array([value for value in self._sums.values() if not np.ndim(value)]),
            **{f"sums.{i}": value for i, value in enumerate(self._sums.values()) if np.ndim(value)},
            **dict(zip(_PENDING, (block[: self._filled] for block in self._pending), strict=False)),
            **dict(zip(_KEPT, kept, strict=True)),
        }

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Goes on from what `saved` gave: arrays [rows, …] and sums by name."""
        if not saved:
            return
        self.add(*(saved[name] for name in _PENDING if name in saved))
        numbers = iter(saved["sums"].tolist())
        for i, statistic in enumerate(self._sums):
            name = f"sums.{i}"
            self._sums[statistic] = saved[name] if name in saved else next(numbers)
        self._kept = [(saved["scores"], saved["positive"], saved["weights"])]


class Meter:
    """Losses and metrics over an epoch or a data set, of the places that are here.

    Each place's part of the loss is summed by itself, and the parts only at the end: so the loss
    is the same to the bit where each place sums its own and one of them gets the sums.

    Args:
        metrics: by the place and the name of what is measured.
        parts: the places that have a part of the loss, in the manifest's order.
    """

    def __init__(self, metrics: Mapping[tuple[str, str], MeasuredPrediction], parts: Iterable[str]) -> None:
        self.collectors = {key: MetricCollector(scored) for key, scored in metrics.items()}
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

    def results(self, by_class: bool = False) -> dict[str, float | None]:
        """`loss`, each term as `loss.NAME` where there are several, and the metrics.

        A metric is `NAME` where one prediction is measured and `PREDICTION.NAME` where several are;
        `by_class` adds those of each class, `NAME.CLASS`.
        """
        found: dict[str, float | None] = {} if self.loss is None else {"loss": self.loss}
        found.update({name: total / self.rows for name, total in self.losses.items()})
        for (_, prediction), collector in self.collectors.items():
            each = collector.results() | (collector.by_class() if by_class else {})
            for name, value in each.items():
                found[name if len(self.collectors) == 1 else f"{prediction}.{name}"] = value
        return found

    def sums(self) -> dict[str, Any]:
        """What `restore` needs besides `tensors`, as JSON."""
        return {"rows": self.rows, "parts": dict(self.parts), "losses": dict(self.losses)}

    def tensors(self) -> dict[str, dict[str, Array]]:
        """What `restore` needs besides `sums`, by place and name, [rows, …] each."""
        found: dict[str, dict[str, Array]] = {}
        for (place, name), collector in self.collectors.items():
            for part, tensor in collector.saved().items():
                found.setdefault(place, {})[f"{name}/{part}"] = tensor
        return found

    def restore(self, sums: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Array]]) -> None:
        """Goes on from what `sums` and `tensors` gave, [rows, …] each, in the middle of an epoch."""
        self.rows, self.parts, self.losses = sums["rows"], dict(sums["parts"]), dict(sums["losses"])
        for (place, name), collector in self.collectors.items():
            saved = tensors.get(place, {})
            prefix = f"{name}/"
            collector.restore(
                {key.removeprefix(prefix): t for key, t in saved.items() if key.startswith(prefix)}
            )
