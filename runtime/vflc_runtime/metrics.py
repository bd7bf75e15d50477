"""What a run measures, at the place that holds the label.

Rows are collected in blocks, and sums are kept of each block; metrics of how rows are ranked keep
every score. Where the rows of a loss have weights, a row counts by its weight in every metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.ranking import auc, ks, pr_auc

Array = NDArray[Any]
Classes = tuple[str | int | float, ...]

BLOCK = 1 << 16
"""Rows that are collected before they are summed."""
SMALLER_IS_BETTER = ("loss", "log_loss", "rmse", "mae")
RANKING = {"auc": auc, "pr_auc": pr_auc, "ks": ks}
"""Metrics that no sum can give exactly: they keep every score."""
DEFINED = {
    "binary": (*RANKING, "accuracy", "precision", "recall", "log_loss", "rmse", "mae"),
    "multiclass": ("accuracy", "precision", "recall", "log_loss"),
    "number": ("rmse", "mae", "rating_accuracy"),
}
METRICS = tuple(dict.fromkeys(name for names in DEFINED.values() for name in names))
NEAR = 0.5
"""How far a rating may be off and still be told from its neighbours."""
_EPSILON = 1e-7
_BY_CLASS = ("right", "predicted", "positive")
_OF_CLASSES = {"precision": 1, "recall": 2}
"""Metrics of each class, with the row of what they are a share of."""
_PENDING = ("prediction", "label", "weight")
_KEPT = ("scores", "positive", "weights")
_SUMS = ("rows", "right", "hits", "predicted", "positive", "log_loss", "squared", "absolute", "near")


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured of a prediction.

    Args:
        programs: by program, prediction and label and, where rows do not count alike, their weight.
        classes: what the table holds for each class, where classes have names.
    """

    name: str
    kind: str
    metrics: tuple[str, ...]
    programs: dict[str, tuple[str, ...]]
    classes: Classes = ()


class Collector:
    """The metrics of one prediction over an epoch or a data set."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._sums = dict.fromkeys(_SUMS, 0.0)
        self._by_class: Array = np.zeros((len(_BY_CLASS), 0))
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
        if self.metric.kind == "multiclass":
            self._multiclass(prediction, label, weight)
            return
        if prediction.shape[1] > 1:  # several numbers a row count as rows of their own
            weight = np.repeat(weight, prediction.shape[1])
        self._sums["rows"] += float(weight.sum())
        if self.metric.kind == "binary":
            self._binary(prediction.reshape(-1), label.reshape(-1) > 0.5, weight)
        self._number(prediction.reshape(-1), label.reshape(-1), weight)

    def _binary(self, score: Array, truth: Array, weight: Array) -> None:
        guess, sums = score > 0.5, self._sums
        sums["right"] += float(weight[guess == truth].sum())
        sums["hits"] += float(weight[guess & truth].sum())
        sums["predicted"] += float(weight[guess].sum())
        sums["positive"] += float(weight[truth].sum())
        if any(name in RANKING for name in self.metric.metrics):
            self._kept.append((score.copy(), truth, weight))
        if "log_loss" in self.metric.metrics:
            likely = np.where(truth, score, 1 - score)
            sums["log_loss"] -= float((weight * np.log(np.maximum(likely, _EPSILON))).sum())

    def _multiclass(self, prediction: Array, label: Array, weight: Array) -> None:
        truth = label.argmax(1) if label.shape[1] > 1 else label[:, 0].astype(np.int64)
        guess, classes = prediction.argmax(1), prediction.shape[1]
        self._sums["rows"] += float(weight.sum())
        self._sums["right"] += float(weight[guess == truth].sum())
        likely = prediction[np.arange(len(truth)), truth]
        self._sums["log_loss"] -= float((weight * np.log(np.maximum(likely, _EPSILON))).sum())
        right = guess == truth
        counts = ((truth[right], weight[right]), (guess, weight), (truth, weight))
        found = np.stack([np.bincount(at, count, classes) for at, count in counts])
        self._by_class = found if not self._by_class.size else self._by_class + found

    def _number(self, prediction: Array, label: Array, weight: Array) -> None:
        error = prediction.astype(np.float64) - label
        self._sums["squared"] += float((weight * np.square(error)).sum())
        self._sums["absolute"] += float((weight * np.abs(error)).sum())
        self._sums["near"] += float(weight[np.abs(error) <= NEAR].sum())

    def results(self) -> dict[str, float | None]:
        """Each metric that measures such a prediction by name; None where it is not defined, as the
        AUC of one class.

        Precision and recall of several classes are the means over those that occur.
        """
        self._absorb()
        defined = DEFINED[self.metric.kind]
        return {name: self._result(name) for name in self.metric.metrics if name in defined}

    def by_class(self) -> dict[str, float | None]:
        """Precision and recall of each class, where they are asked for: `recall.married`."""
        self._absorb()
        if self.metric.kind != "multiclass":
            return {}
        names = self.metric.classes or tuple(range(self._by_class.shape[1]))
        return {
            f"{metric}.{name}": None if np.isnan(value) else float(value)
            for metric in self.metric.metrics
            if metric in _OF_CLASSES
            for name, value in zip(names, self._each(metric), strict=False)
        }

    def _each(self, metric: str) -> Array:
        """A metric of each class; NaN where it is not defined."""
        right, whole = self._by_class[0], self._by_class[_OF_CLASSES[metric]]
        shares: Array = np.divide(right, whole, out=np.full(len(right), np.nan), where=whole > 0)
        return shares

    def _result(self, name: str) -> float | None:
        sums = self._sums
        if name in RANKING:
            return RANKING[name](*self._scores()) if self._kept else None
        if self.metric.kind == "multiclass" and name in _OF_CLASSES:
            occurs = self._by_class[_OF_CLASSES["recall"]] > 0
            found = np.nan_to_num(self._each(name)[occurs]) if self._by_class.size else np.empty(0)
            return float(found.mean()) if len(found) else None
        part, whole = {
            "accuracy": ("right", "rows"),
            "precision": ("hits", "predicted"),
            "recall": ("hits", "positive"),
            "log_loss": ("log_loss", "rows"),
            "rmse": ("squared", "rows"),
            "mae": ("absolute", "rows"),
            "rating_accuracy": ("near", "rows"),
        }[name]
        if not sums[whole]:
            return None
        mean = sums[part] / sums[whole]
        return math.sqrt(mean) if name == "rmse" else mean

    def _scores(self) -> tuple[Array, Array, Array | None]:
        scores, positive, weights = (np.concatenate(each) for each in zip(*self._kept, strict=True))
        return scores, positive, weights if len(self._pending) > 2 else None

    def saved(self) -> dict[str, Array]:
        """All that was collected, for a checkpoint in the middle of an epoch."""
        if not self._pending:
            return {}
        empty = (self._pending[0][:0, 0], np.empty(0, bool), np.empty(0))
        kept = (np.concatenate(each) for each in zip(*self._kept, empty, strict=True))
        return {
            "sums": np.array([self._sums[name] for name in _SUMS]),
            "classes": self._by_class,
            **dict(zip(_PENDING, (block[: self._filled] for block in self._pending), strict=False)),
            **dict(zip(_KEPT, kept, strict=True)),
        }

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Goes on from what `saved` gave."""
        if not saved:
            return
        self.add(*(saved[name] for name in _PENDING if name in saved))
        self._sums = dict(zip(_SUMS, saved["sums"].tolist(), strict=True))
        self._by_class = saved["classes"]
        self._kept = [(saved["scores"], saved["positive"], saved["weights"])]


class Meter:
    """Losses and metrics over an epoch or a data set, of the places that are here.

    Each place's part of the loss is summed by itself, and the parts only at the end: so the loss
    is the same to the bit where each place sums its own and one of them gets the sums.

    Args:
        metrics: by the place and the name of what is measured.
        parts: the places that have a part of the loss, in the manifest's order.
    """

    def __init__(self, metrics: Mapping[tuple[str, str], Metric], parts: Iterable[str]) -> None:
        self.collectors = {key: Collector(metric) for key, metric in metrics.items()}
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
        """Takes what one batch of `rows` rows left behind: the loss by place, its terms by name."""
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
        """What `restore` needs besides `sums`, by place."""
        found: dict[str, dict[str, Array]] = {}
        for (place, name), collector in self.collectors.items():
            for part, tensor in collector.saved().items():
                found.setdefault(place, {})[f"{name}/{part}"] = tensor
        return found

    def restore(self, sums: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Array]]) -> None:
        """Goes on from a checkpoint in the middle of an epoch."""
        self.rows, self.parts, self.losses = sums["rows"], dict(sums["parts"]), dict(sums["losses"])
        for (place, name), collector in self.collectors.items():
            saved = tensors.get(place, {})
            prefix = f"{name}/"
            collector.restore(
                {key.removeprefix(prefix): t for key, t in saved.items() if key.startswith(prefix)}
            )
