"""Rows from sums over a batch: a gradient that comes back for a weight, not for rows.

Where a batch has one row the sum is the row. Where it has more, each sum is an equation for the errors of
its rows, with coefficients that the receiver sent itself, and every epoch asks the same rows in other company
(Liu et al., "Batch Label Inference and Replacement Attacks in Black-Boxed Vertical Federated Learning").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.audit import exact
from vflc_runtime.audit.adversary_view import AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.knowledge import Knowledge
from vflc_runtime.run.transcript import RecordedStep

MOST = 1500
"""Rows, and equations of one column, that are solved for: the work grows with the cube."""
TURNS = 10
SMALLEST = 1e-4
"""What was sent is divided by where it is not below this part of the largest."""


def by_sums(batches: Sequence[tuple[Indices, Array, Array]], total: int) -> Array:
    """An error for each row, up to one factor [total]; 0 for rows that are in no batch.

    Sums are taken to be Σ_r δ_r a_j x_rj with coefficients x that are known and a factor a_j of each
    column that is not; δ and a are solved for in turn.

    Args:
        batches: of each step the rows [n], what is known of them [n, w] and the sum [w].
        total: how many rows there are.
    """
    design = np.zeros((len(batches), batches[0][2].size, total))
    for t, (rows, known, _) in enumerate(batches):
        design[t, :, rows] = known
    sums = np.stack([together for _, _, together in batches])
    each = [np.linalg.lstsq(design[:, j], sums[:, j], rcond=1e-6)[0] for j in range(sums.shape[1])]
    error = exact.by_projection(np.stack(each, axis=1))
    for _ in range(TURNS if sums.shape[1] > 1 else 0):
        fitted = design @ error
        factors = (fitted * sums).sum(axis=0) / np.maximum((fitted * fitted).sum(axis=0), 1e-300)
        scaled = (design * factors[None, :, None]).reshape(-1, total)
        error = np.linalg.lstsq(scaled, sums.reshape(-1), rcond=1e-6)[0]
    return error


def covered(batches: Sequence[tuple[Indices, Array, Array]], total: int) -> bool:
    """Whether every one of `total` rows is in some batch, of which the first arrays are the rows [batch]."""
    return len(np.unique(np.concatenate([rows for rows, _, _ in batches]))) == total


def _run(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    steps = list(view.steps(MOST))
    alone = [step for step in steps if len(step.rows) == 1]
    if len(alone) > 1:
        yield Look(np.concatenate([step.rows for step in alone]), _single(view, channel, alone))
    rows = np.unique(np.concatenate([step.rows for step in steps]))
    if len(alone) == len(steps) or not len(rows) or len(rows) > MOST:
        return
    for own in (None, *(each for each in view.channels("forward", sent=True) if each.name != "all")):
        batches: list[tuple[Indices, Array, Array]] = []
        for step in steps:
            total = view.sums(step, channel)
            known = np.ones((len(step.rows), len(total))) if own is None else view.rows(step, own)
            if known.shape[1] == len(total):
                batches.append((np.searchsorted(rows, step.rows), known, total))
            if len(batches) * len(total) > 2 * len(rows) and covered(batches, len(rows)):
                break  # errors and factors change as training goes on
        if batches and sum(b[2].size for b in batches) >= len(rows):
            yield Look(rows, by_sums(batches, len(rows)))


def _single(view: AdversaryView, channel: ObservedEdges, alone: Sequence[RecordedStep]) -> Array:
    """Sums of one row, as they are, and divided by what was sent of the row, along their lines [n, c]."""
    sums = np.stack([view.sums(step, channel) for step in alone])
    found = [*sums.T, exact.by_projection(sums)]
    for own in view.channels("forward", sent=True):
        known = np.concatenate([view.rows(step, own) for step in alone])
        if known.shape == sums.shape:
            whole = np.abs(known) > SMALLEST * np.abs(known).max()
            found.append(exact.by_projection(np.where(whole, sums / np.where(whole, known, 1.0), 0.0)))
    return np.stack(found, axis=1)


SUMS = LabelAttack(
    "sums", "rows from sums over batches",
    'Liu et al., "Batch Label Inference and Replacement Attacks in Black-Boxed Vertical Federated Learning", '
    "arXiv 2112.05409, 2021",
    "", "backward", ("binary", "number"), _run, rows=False,
)  # fmt: skip
