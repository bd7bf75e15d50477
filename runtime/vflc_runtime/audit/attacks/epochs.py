"""What came of a row in all epochs together: noise averages out, and other weights are other equations.

Fresh noise on gradients is averaged away, as by the vote of epochs. A bottom that is trained sends other
numbers of the same row in every epoch: even one number a row is as many equations as there were epochs
(equality solving of Luo et al., ICDE 2021, over time).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.audit import exact
from vflc_runtime.audit.adversary_view import AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.attacks.taught import look
from vflc_runtime.audit.knowledge import Knowledge
from vflc_runtime.audit.learn import solved

EQUATIONS = 64
"""Numbers a row that are solved with, from its first epochs on."""
KNOWN = 200
ROWS = 4000


def every_time(view: AdversaryView, channel: ObservedEdges) -> tuple[Indices, Array]:
    """What came of each row each time, of rows that came at least twice: [n] and [n, times, w]."""
    found: dict[int, list[Array]] = {}
    for step in view.steps(None):
        values = view.rows(step, channel)
        for row, value in zip(step.rows.tolist(), values, strict=True):
            if row in found or len(found) < ROWS:
                found.setdefault(row, []).append(value)
    times = sorted((len(each) for each in found.values()), reverse=True)
    most = times[len(times) * 9 // 10] if times else 0  # all but a tenth came so often
    rows = [row for row, each in found.items() if len(each) >= most] if most > 1 else []
    values = np.array([found[row][:most] for row in rows])
    return np.array(rows, np.int64), values


def _run(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    if channel.program != "train":
        return
    numbers, values = every_time(view, channel)
    known, labels = knowledge.some(numbers, KNOWN, 0)
    if not 2 <= len(known) < len(numbers) or len(np.unique(labels)) < 2:
        return
    rest = np.setdiff1d(np.arange(len(numbers)), known)
    if channel.phase == "backward":
        mean = values.mean(axis=1)
        found = np.column_stack([exact.by_projection(mean), _solved(mean, known, labels, knowledge)])
        yield Look(numbers[rest], found[rest])
        return
    guess = _solved(values.reshape(len(values), -1)[:, :EQUATIONS], known, labels, knowledge)[rest]
    yield look(numbers[rest], guess[:, 0] if knowledge.label.kind == "number" else guess)


def _solved(rows: Array, known: Indices, labels: Array, knowledge: Knowledge) -> Array:
    """By least squares from known rows: a number, or a column for each class [n, c]."""
    if knowledge.label.kind == "number":
        return solved(rows[known], labels.reshape(-1, 1), rows)
    return solved(rows[known], np.eye(knowledge.label.classes)[labels.astype(np.int64)], rows)


EPOCHS = LabelAttack(
    "epochs", "all that came of a row in all epochs",
    'Luo et al., "Feature Inference Attack on Model Predictions in Vertical Federated Learning", ICDE 2021 '
    "(equality solving), over time", f"{KNOWN} known rows", "any", ("binary", "classes", "number"), _run,
    parts=False,
)  # fmt: skip
