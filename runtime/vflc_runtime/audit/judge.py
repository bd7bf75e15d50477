"""Holds guesses against the truth. Nothing here attacks; nothing that attacks imports this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.audit import scores
from vflc_runtime.audit.attacks.attack import Look, spread_out
from vflc_runtime.audit.features import Completion
from vflc_runtime.audit.knowledge import AttackedLabel
from vflc_runtime.audit.scores import Spread

SHUFFLES = 5
"""How often the truth is shuffled to see what an attack scores where there is nothing to find."""


class Judge:
    """Knows a label of all rows [rows]; and what makes two rows alike, where that is finer than the label."""

    def __init__(self, label: AttackedLabel, truth: Array, items: Array | None = None) -> None:
        self.label, self._truth, self._items = label, truth, truth if items is None else items
        self._high = float(np.median(truth)) if label.kind == "number" else 0.5

    def looks(self, looks: Iterable[Look]) -> Spread | None:
        """Scores of an attack over its batches; None where no batch could be judged.

        Where a look has several columns, or the label several classes, the pair counts that is worst
        over all batches.
        """
        found: list[Array] = []
        rng = np.random.default_rng(0)
        measure = "auc"
        for look in looks:
            measure = look.measure
            truth = (self._items if measure == "pairs" else self._truth)[look.rows]
            if measure == "pairs" or self._usable(truth):
                found.append(self._scored(look, [truth, *(rng.permutation(truth) for _ in range(SHUFFLES))]))
        if not found:
            return None
        true, *shuffled = (_worst(each) for each in np.stack(found, axis=1))
        return scores.spread(true, shuffled, measure)

    def votes(self, rows: Indices, sums: Array, batch: int) -> tuple[Spread, Spread] | None:
        """The sums of signs after the first and after the last epoch; in parts of `batch` rows."""
        parts = [np.arange(i, min(i + batch, len(rows))) for i in range(0, len(rows), batch)]
        first = self.looks(Look(rows[part], sums[part, 0]) for part in parts)
        last = self.looks(Look(rows[part], sums[part, -1]) for part in parts)
        return None if first is None or last is None else (first, last)

    def completion(self, made: Completion, rows: Indices) -> tuple[float, float]:
        """How good a head is with the bottom and without: AUC, share that is right, or correlation."""
        truth = self._truth[rows[made.rest]]
        return self._head(made.bottom, truth), self._head(made.plain, truth)

    def _head(self, outputs: Array | None, truth: Array) -> float:
        if self.label.kind == "binary":
            return 0.5 if outputs is None else scores.leak_auc(outputs[:, 1], truth > 0.5)
        if self.label.kind == "number":
            return 0.0 if outputs is None else scores.correlation(outputs, truth)
        most = float(np.bincount(truth.astype(np.int64)).max() / len(truth))
        return most if outputs is None else float(np.mean(outputs.argmax(axis=1) == truth))

    def _usable(self, truth: Array) -> bool:
        return any(scores.usable(positive) for positive in self._sides(truth))

    def _sides(self, truth: Array) -> Iterator[Array]:
        if self.label.kind == "classes":
            yield from (truth == one for one in range(self.label.classes))
        else:
            yield truth > self._high

    def _scored(self, look: Look, truths: Sequence[Array]) -> Array:
        """How well a look fits each of t truths: [t, p], a score for each pair of a column and a side of the
        label; NaN where a side has too few rows."""
        if look.measure == "purity":
            return np.array([[scores.purity(look.values, truth)] for truth in truths])
        if look.measure == "correlation":
            return np.array([[scores.correlation(look.values, truth)] for truth in truths])
        if look.measure == "accuracy":
            return np.array([[np.mean(look.values.argmax(axis=1) == truth)] for truth in truths])
        if look.measure == "pairs":
            return scores.pair_aucs(spread_out(look.values), np.array(truths))
        sides = np.array([[*self._sides(truth)] for truth in truths])
        found = scores.leak_aucs(look.values.reshape(len(look.rows), -1), sides)
        found[~scores.usable(sides)] = np.nan
        return found.reshape(len(truths), -1)


def _worst(values: Array) -> Array:
    """Scores by batch and by pair of column and side: those of the pair with the largest mean."""
    counted = np.isfinite(values)
    sums = np.where(counted, values, 0.0).sum(axis=0)
    means = np.where(counted.any(axis=0), sums / np.maximum(counted.sum(axis=0), 1), -np.inf)
    column: Array = values[:, int(np.argmax(means))]
    return column[np.isfinite(column)]


def relative_error(guess: Array, truth: Array, mean: Array) -> float:
    """Squared error of a guess [n, c] against that of always guessing the mean [c] of known rows.

    0 is exact, 1 no better than the mean; 1 where there is nothing to guess.
    """
    plain = float(np.square(truth - mean).sum())
    return float(np.square(truth - guess).sum()) / plain if plain else 1.0
