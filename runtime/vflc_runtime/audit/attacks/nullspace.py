"""The combination of columns that is nearly nothing in most rows, and what sticks out where it is not.

Where all rows of one class lie in a subspace that rows of the other leave (noise that one class gets, a
branch that one class takes), some combination of columns vanishes in exactly that class. It is the sparsest
vector of the columns' span: found by least absolute values, each step a smallest eigenvector (Qu, Sun &
Wright, "Finding a Sparse Vector in a Subspace", NeurIPS 2014, by reweighting).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.audit.adversary_view import BATCHES, AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.knowledge import Knowledge

STARTS = 6
"""Rows from which the search begins; the sparsest that is found counts."""
TURNS = 25
RANKS = (1, 2, 4, 8)
"""Dimensions of the span that is taken off, to see how far rows lie outside it."""
ROUNDING = 1e-5
"""Singular values below this part of the largest are rounding."""
WIDEST = 128
"""Columns that are looked at: those of the largest mean square."""


def by_null_space(rows: Array) -> Array:
    """How far each row is from what most rows fulfil [n, w] → [n]: 0 for those that do."""
    left = _span(rows)[0]
    if left.shape[1] < 2:
        alone: Array = np.abs(left[:, 0])
        return alone
    first = np.argsort(-np.square(left).sum(axis=1), kind="stable")
    found = [_sparsest(left, left[i]) for i in first[:STARTS]]
    return min(found, key=lambda each: float(each.sum()))


def by_rank(rows: Array) -> Array:
    """The length of each row outside of the span of the first singular vectors [n, w] → [n, c]."""
    left, sizes = _span(rows)
    weighted = np.square(left * sizes)
    whole = weighted.sum(axis=1)
    inside = np.cumsum(weighted, axis=1)
    return np.stack([whole - inside[:, min(k, len(sizes)) - 1] for k in RANKS], axis=1)


def _span(rows: Array) -> tuple[Array, Array]:
    """Left singular vectors and singular values of the columns, without what is rounding."""
    wide = rows.astype(np.float64)
    if wide.shape[1] > WIDEST:
        wide = wide[:, np.argsort(-np.square(wide).sum(axis=0), kind="stable")[:WIDEST]]
    left, sizes, _ = np.linalg.svd(wide, full_matrices=False)
    kept = max(int(np.count_nonzero(sizes > ROUNDING * sizes[0])), 1)
    return left[:, :kept], sizes[:kept]


def _sparsest(left: Array, start: Array) -> Array:
    """The absolute entries of a sparse unit vector in the span of orthonormal columns [n, k] → [n]."""
    found: Array = np.abs(left @ start) / max(float(np.linalg.norm(start)), 1e-300)
    smallest = float(found.max()) * 0.1
    for _ in range(TURNS):
        weights = 1 / np.maximum(found, smallest)
        found = np.abs(left @ np.linalg.eigh((left * weights[:, None]).T @ left)[1][:, 0])
        smallest = max(smallest / 2, 1e-9)
    return found


def _run(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    for step in view.steps(BATCHES // 4, channel.program):
        rows = view.rows(step, channel)
        if rows.any() and len(rows) > 1:
            yield Look(step.rows, np.concatenate([by_null_space(rows)[:, None], by_rank(rows)], axis=1))


NULL_SPACE = LabelAttack(
    "nullspace", "what sticks out of the span of most rows",
    'Qu, Sun & Wright, "Finding a Sparse Vector in a Subspace", NeurIPS 2014', "which rank tells most",
    "backward", ("binary", "classes", "number"), _run,
)  # fmt: skip
