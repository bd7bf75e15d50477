"""How well guesses fit the truth; how well they would if there were nothing to find.

The AUC of each batch and its 95 % quantile over batches are the measure of Li et al. (ICLR 2022): a leak in
one batch is a leak. An AUC below one half is a guess with the names of the classes exchanged, so a score is
the larger of a and 1 − a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vflc_common.arrays import Array
from vflc_common.metrics.auc import auc

QUANTILE = 0.95
PAIRED = 120
"""Rows of a batch that are compared two by two."""
FEWEST = 2
"""Rows of either class that a batch needs to be counted."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A score over batches, and what the same guesses score against shuffled truth.

    Args:
        mean, quantile: over the batches; the quantile is that of 95 %.
        chance: the 95 % quantile against shuffled truth, the largest of several.
        batches: how many there were.
        measure: of what.
    """

    mean: float
    quantile: float
    chance: float
    batches: int
    measure: str = "auc"


def leak_auc(scores: Array, positive: Array) -> float:
    """The symmetric AUC of scores [n] for a condition [n]; 0.5 where all or none fulfil it."""
    found = auc(np.asarray(scores).reshape(-1), np.asarray(positive, bool).reshape(-1))
    return 0.5 if found is None else max(found, 1 - found)


def leak_aucs(columns: Array, positive: Array) -> Array:
    """The symmetric AUC of each column [n, c] for each condition [..., n] → [..., c]; NaN as in `aucs`."""
    found = aucs(columns, positive)
    symmetric: Array = np.maximum(found, 1 - found)
    return symmetric


def aucs(columns: Array, positive: Array) -> Array:
    """The AUC of each column [n, c] for each condition [..., n] → [..., c]; NaN where all or none fulfil it.

    The same numbers as `auc`, to the bit, but each column is sorted once for all conditions.
    """
    ranks = np.empty(columns.shape[::-1])  # twice each score's rank, a whole number with ties, too
    for column, own in zip(columns.T, ranks, strict=True):
        ordered = np.sort(column)
        own[:] = np.searchsorted(ordered, column, "left") + np.searchsorted(ordered, column, "right")
    count = np.count_nonzero(positive, axis=-1)[..., None]
    wins = positive.astype(np.float64) @ ranks.T - count * count  # those of positives over each other
    with np.errstate(invalid="ignore"):
        found: Array = wins / (2 * count * (len(columns) - count))
    return found


def pair_aucs(values: Array, truths: Array) -> Array:
    """How often two rows of one value are nearer than two of different ones.

    Args:
        values: of c columns [n, c, w].
        truths: what makes rows alike [..., n].

    Returns:
        [..., c], NaN where all are alike or all different.
    """
    rows = min(len(values), PAIRED)
    a, b = np.triu_indices(rows, 1)
    near = np.empty((len(a), values.shape[1]))
    for column, each in enumerate(values[:rows].transpose(1, 0, 2)):
        inner = each @ each.T
        squares = np.diag(inner)
        near[:, column] = 2 * inner[a, b] - squares[a] - squares[b]
    return aucs(near, truths[..., a] == truths[..., b])


def usable(positive: Array) -> Array:
    """Whether batches [..., n] have enough of both classes to be told apart."""
    count = np.count_nonzero(positive, axis=-1)
    return np.asarray((count >= FEWEST) & (count <= positive.shape[-1] - FEWEST))


def purity(clusters: Array, labels: Array) -> float:
    """Share of rows that are in a cluster whose most frequent label is theirs; both are numbers [n]."""
    _, inverse = np.unique(labels, return_inverse=True)
    counts = np.zeros((int(clusters.max()) + 1, int(inverse.max()) + 1), np.int64)
    np.add.at(counts, (clusters, inverse), 1)
    return float(counts.max(axis=1).sum() / len(labels))


def correlation(values: Array, truth: Array) -> float:
    """The absolute correlation of two columns [n]; 0 where one of them is constant."""
    a, b = (np.asarray(x, np.float64).reshape(-1) for x in (values, truth))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return abs(float(a @ b)) / size if size else 0.0


def spread(found: Array, shuffled: Sequence[Array], measure: str = "auc") -> Spread:
    """Scores of batches [batches] in one; of the shuffled ones, as long, the largest quantile counts."""
    chance = max(_quantile(each) for each in shuffled)
    return Spread(float(found.mean()), _quantile(found), chance, len(found), measure)


def _quantile(scores: Array) -> float:
    return float(np.quantile(scores, QUANTILE))
