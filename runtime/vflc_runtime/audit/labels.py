"""Attacks on labels: each sees an `AdversaryView`, a channel and a few
known labels, and gives what it makes of each batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.audit import exact
from vflc_runtime.audit.adversary_view import BATCHES, AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.alike import ALIKE, LINKED
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.attacks.epochs import EPOCHS
from vflc_runtime.audit.attacks.matching import MATCHING
from vflc_runtime.audit.attacks.nullspace import NULL_SPACE
from vflc_runtime.audit.attacks.quotient import QUOTIENT
from vflc_runtime.audit.attacks.start import START
from vflc_runtime.audit.attacks.sums import SUMS
from vflc_runtime.audit.attacks.taught import TAUGHT
from vflc_runtime.audit.knowledge import Knowledge, LabelKind

LI = 'Li et al., "Label Leakage and Protection in Two-party Split Learning", ICLR 2022'
SUN = (
    'Sun et al., "Label Leakage and Protection from Forward Embedding in Vertical Federated Learning", '
    "arXiv 2203.01451, 2022"
)
FU = 'Fu et al., "Label Inference Attacks Against Vertical Federated Learning", USENIX Security 2022'


def _norm(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    for step in view.steps(program=channel.program):
        yield Look(step.rows, exact.by_norm(view.rows(step, channel)))


def _cosine(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    for step in view.steps(program=channel.program):
        known = knowledge.one_positive(step.rows)
        if known is not None:
            values = exact.by_cosine(view.rows(step, channel), known)
            yield Look(np.delete(step.rows, known), np.delete(values, known))  # its own cosine is 1


def _sign(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    for step in view.steps(program=channel.program):
        yield Look(step.rows, exact.by_projection(view.rows(step, channel)))


def _columns(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    columns: Indices | None = None
    for step in view.steps(BATCHES // 4, channel.program):
        rows = view.rows(step, channel)
        columns = exact.largest(rows) if columns is None else columns
        yield Look(step.rows, rows[:, columns])


def _consensus(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    for step in view.steps(program=channel.program):
        yield Look(step.rows, exact.by_consensus(view.rows(step, channel)))


def _factor(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    own = view.channels("forward", sent=True)
    for step in view.steps(BATCHES // 4, channel.program) if own else ():
        yield Look(step.rows, exact.by_factor(view.rows(step, channel), view.rows(step, own[0])))


def _direction(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    for step in view.steps(program=channel.program):
        rows = view.rows(step, channel)
        if len(rows) >= knowledge.label.classes:
            yield Look(step.rows, exact.by_direction(rows, knowledge.label.classes), "purity")


def _residual(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    for step in view.steps(program=channel.program):
        yield Look(step.rows, exact.by_projection(view.rows(step, channel)), "correlation")


def _spectral(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    for step in view.steps(program=channel.program):
        rows = view.rows(step, channel)
        yield Look(step.rows, exact.by_projection(rows - rows.mean(axis=0)))


EVERY: tuple[LabelKind, ...] = ("binary", "classes", "number")
ONE: tuple[LabelKind, ...] = ("binary", "number")

LABEL_ATTACKS = (
    LabelAttack("norm", "length of the gradient", f"{LI} (norm-based)", "", "backward", EVERY, _norm),
    LabelAttack(
        "cosine", "angle to the gradient of one known row", f"{LI} (direction-based)",
        "one row a batch that has the label's rarer side", "backward", ONE, _cosine,
    ),
    LabelAttack(
        "sign", "side of the line that all gradients lie along", f"{FU} (direct), behind a linear map", "",
        "backward", ONE, _sign,
    ),
    LabelAttack(
        "consensus", "sign that the columns agree on", f"{FU} (direct), by a vote of the columns", "",
        "backward", ONE, _consensus,
    ),
    LabelAttack(
        "column", "one number of the gradient", f"{FU} (direct), each column by itself",
        "which column tells most", "backward", EVERY, _columns,
    ),
    LabelAttack(
        "factor", "gradient by what the party sent itself", f"{FU} (direct), behind a product",
        "which factor tells most", "backward", ONE, _factor,
    ),
    LabelAttack(
        "direction", "clusters of directions", f"{FU} (direct), several outputs behind a linear map", "",
        "backward", ("binary", "classes"), _direction,
    ),
    LabelAttack(
        "residual", "the error of the prediction itself", f"{FU} (direct), for a squared loss", "",
        "backward", ("number",), _residual,
    ),
    LabelAttack(
        "spectral", "clusters of activations", f"{SUN}: distance along the first singular vector", "",
        "forward", EVERY, _spectral,
    ),
    NULL_SPACE, QUOTIENT, MATCHING, SUMS, EPOCHS, TAUGHT, START, ALIKE, LINKED,
)  # fmt: skip
"""Attacks on labels, and on whatever a bound is put to the test of."""
FEATURE_ATTACKS = {"backward": (TAUGHT, START, EPOCHS, ALIKE, LINKED), "forward": (EPOCHS, ALIKE)}
"""Attacks on features by what crosses of them, besides those that invert a batch of prediction."""


def tally(views: Sequence[AdversaryView], channel: ObservedEdges) -> tuple[Indices, Array]:
    """Signs of every row's gradient, added up over the epochs it was seen in, of one run after another.

    Gradients of a step are told apart up to one global sign; later steps are turned to agree with what
    was found before, the first epoch's steps with the step before each.

    Returns:
        The rows that were seen in every epoch [n], and their sums after each epoch [n, epochs].
    """
    number = views[0].total
    seen = np.zeros(number, np.int64)
    sums: list[Array] = []
    total, before = np.zeros(number), None
    for view, step in ((each, step) for each in views for step in each.steps(None)):
        rows = view.rows(step, channel)
        direction = exact.principal(rows)
        signs = np.sign(rows @ direction)
        agreement = float(total[step.rows] @ signs)
        if not agreement and before is not None:
            agreement = float(direction @ before)
        if agreement < 0:
            signs, direction = -signs, -direction
        before = direction
        total[step.rows] += signs
        epoch = int(seen[step.rows].max(initial=0))
        seen[step.rows] += 1
        if epoch == len(sums):
            sums.append(np.zeros(number))
        sums[epoch][step.rows] = total[step.rows]
    whole = np.flatnonzero(seen == len(sums)) if sums else np.arange(0)
    return whole, np.array([each[whole] for each in sums]).T
