"""What a run measures, at the place that holds the label.

Rows are collected in blocks. Sums are kept of each block; the AUC, which no sum can give
exactly, keeps every score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.plan import Metric

Array = NDArray[Any]

BLOCK = 1 << 16
"""Rows that are collected before they are summed."""
SMALLER_IS_BETTER = ("loss", "log_loss", "rmse", "mae")
DEFINED = {
    "binary": ("auc", "accuracy", "precision", "recall", "log_loss", "rmse", "mae"),
    "multiclass": ("accuracy", "log_loss"),
    "number": ("rmse", "mae", "rating_accuracy"),
}
NEAR = 0.5
"""How far a rating may be off and still be told from its neighbours."""
_EPSILON = 1e-7
_SUMS = ("rows", "right", "hits", "predicted", "positive", "log_loss", "squared", "absolute", "near")


def auc(scores: Array, positive: Array) -> float | None:
    """Area under the ROC curve: how often a positive outscores a negative, ties counted half.

    None where there are no positives or no negatives.
    """
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    if not len(above) or not len(below):
        return None
    wins = np.searchsorted(below, above, side="left").sum(dtype=np.int64)
    not_lost = np.searchsorted(below, above, side="right").sum(dtype=np.int64)
    return int(wins + not_lost) / (2 * len(above) * len(below))


class Collector:
    """The metrics of one prediction over an epoch or a data set."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._sums = dict.fromkeys(_SUMS, 0.0)
        self._scores: list[Array] = []
        self._positive: list[Array] = []
        self._pending: tuple[Array, Array] | None = None
        self._filled = 0

    def add(self, prediction: Array, label: Array) -> None:
        """Takes a batch: probabilities [n, 1] or [n, classes], or numbers [n, 1]; labels as many."""
        rows = len(prediction)
        prediction = prediction.reshape(rows, math.prod(prediction.shape[1:]))
        label = label.reshape(rows, math.prod(label.shape[1:]))
        if self._pending is None:
            self._pending = (
                np.empty((BLOCK, prediction.shape[1]), prediction.dtype),
                np.empty((BLOCK, label.shape[1]), label.dtype),
            )
        start = 0
        while start < rows:
            count = min(rows - start, BLOCK - self._filled)
            for block, given in zip(self._pending, (prediction, label), strict=True):
                block[self._filled : self._filled + count] = given[start : start + count]
            self._filled += count
            start += count
            if self._filled == BLOCK:
                self._absorb()

    def _absorb(self) -> None:
        if self._pending is None or not self._filled:
            return
        prediction, label = (block[: self._filled] for block in self._pending)
        self._filled = 0
        self._sums["rows"] += len(prediction)
        measure = {"binary": self._binary, "multiclass": self._multiclass, "number": self._number}
        measure[self.metric.kind](prediction, label)

    def _binary(self, prediction: Array, label: Array) -> None:
        score, truth, sums = prediction[:, 0], label[:, 0] > 0.5, self._sums
        guess = score > 0.5
        sums["right"] += int(np.count_nonzero(guess == truth))
        sums["hits"] += int(np.count_nonzero(guess & truth))
        sums["predicted"] += int(np.count_nonzero(guess))
        sums["positive"] += int(np.count_nonzero(truth))
        if "auc" in self.metric.metrics:
            self._scores.append(score.copy())
            self._positive.append(truth)
        if "log_loss" in self.metric.metrics:
            likely = np.where(truth, score, 1 - score)
            sums["log_loss"] -= float(np.log(np.maximum(likely, _EPSILON)).sum(dtype=np.float64))
        self._number(prediction, label)

    def _multiclass(self, prediction: Array, label: Array) -> None:
        truth = label.argmax(1) if label.shape[1] > 1 else label[:, 0].astype(np.int64)
        self._sums["right"] += int(np.count_nonzero(prediction.argmax(1) == truth))
        likely = prediction[np.arange(len(truth)), truth]
        self._sums["log_loss"] -= float(np.log(np.maximum(likely, _EPSILON)).sum(dtype=np.float64))

    def _number(self, prediction: Array, label: Array) -> None:
        error = prediction.astype(np.float64) - label
        self._sums["squared"] += float(np.square(error).sum())
        self._sums["absolute"] += float(np.abs(error).sum())
        self._sums["near"] += int(np.count_nonzero(np.abs(error) <= NEAR))

    def results(self) -> dict[str, float | None]:
        """Each metric by name; None where it is not defined, as the AUC of one class."""
        self._absorb()
        defined = DEFINED[self.metric.kind]
        return {name: self._result(name) if name in defined else None for name in self.metric.metrics}

    def _result(self, name: str) -> float | None:
        sums = self._sums
        if name == "auc":
            if not self._scores:
                return None
            return auc(np.concatenate(self._scores), np.concatenate(self._positive))
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

    def saved(self) -> dict[str, Array]:
        """All that was collected, for a checkpoint in the middle of an epoch."""
        if self._pending is None:
            return {}
        return {
            "sums": np.array([self._sums[name] for name in _SUMS]),
            "prediction": self._pending[0][: self._filled],
            "label": self._pending[1][: self._filled],
            "scores": np.concatenate([*self._scores, self._pending[0][:0, 0]]),
            "positive": np.concatenate([*self._positive, np.empty(0, bool)]),
        }

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Goes on from what `saved` gave."""
        if not saved:
            return
        self.add(saved["prediction"], saved["label"])
        self._sums = dict(zip(_SUMS, saved["sums"].tolist(), strict=True))
        self._scores, self._positive = [saved["scores"]], [saved["positive"]]


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
        measured: Mapping[tuple[str, str], tuple[Array, Array]],
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
        for place_and_name, (prediction, label) in measured.items():
            self.collectors[place_and_name].add(prediction, label)

    def results(self) -> dict[str, float | None]:
        """`loss`, each term as `loss.NAME` where there are several, and the metrics.

        A metric is `NAME` where one prediction is measured and `PREDICTION.NAME` where several are.
        """
        found: dict[str, float | None] = {} if self.loss is None else {"loss": self.loss}
        found.update({name: total / self.rows for name, total in self.losses.items()})
        for (_, prediction), collector in self.collectors.items():
            for name, value in collector.results().items():
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
