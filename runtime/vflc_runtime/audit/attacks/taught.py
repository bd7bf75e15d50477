"""A small network from what crossed of a row to its secret, taught by a few rows that are known.

It sees what came in the batch and what the place sent of the same rows: it learns to divide by factors that
follow from what was sent, to take off what was compared, and to tell a linear map of few units apart. The
idea is that of the black-box inversion of He et al. (ACSAC 2019), for gradients and for labels as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.audit.adversary_view import AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.knowledge import Knowledge
from vflc_runtime.audit.learn import SurrogateNetwork
from vflc_runtime.run.transcript import RecordedStep

HE = 'He et al., "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019 (black-box inversion)'
ROWS = 4000
"""Rows that are looked at: each as it was seen first."""
KNOWN = 100
HIDDEN = 32
WIDEST = 512
"""Numbers a row that the network is given: those that vary most."""


def guesses(rows: Array, known: Array, labels: Array, classes: int) -> Array:
    """What the network makes of all rows [n, w], taught by known ones → [n, classes], or [n] for numbers.

    Args:
        rows: what crossed.
        known: places of the known rows [m].
        labels: theirs [m]: classes from 0, or numbers.
        classes: how many; 1 for numbers.
    """
    spread = rows.std(axis=0)
    rows = rows[:, np.sort(np.argsort(-spread, kind="stable")[:WIDEST])]
    size = np.sqrt(np.mean(np.square(rows), axis=1, keepdims=True))
    unit = rows / np.maximum(size, 1e-300)  # a row's direction, whatever its length
    joint = np.concatenate([rows, unit], axis=1)
    if classes == 1:
        middle, scale = labels.mean(), max(float(labels.std()), 1e-12)
        taught = SurrogateNetwork(joint[known], ((labels - middle) / scale).reshape(-1, 1), "linear", HIDDEN)
        return taught(joint)[:, 0]
    return SurrogateNetwork(joint[known], np.eye(classes)[labels.astype(np.int64)], "softmax", HIDDEN)(joint)


def _run(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    numbers, rows = gathered(view, channel)
    known, labels = knowledge.some(numbers, KNOWN, 0)
    classes = 1 if knowledge.label.kind == "number" else knowledge.label.classes
    if 2 <= len(known) < len(numbers) and len(np.unique(labels)) > 1:
        found = guesses(rows, known, labels, classes)
        rest = np.setdiff1d(np.arange(len(numbers)), known)
        yield look(numbers[rest], found[rest])


def look(rows: Array, found: Array) -> Look:
    """What `guesses` gives of `rows` [n], as it is judged: numbers [n], or shares of classes [n, classes]."""
    if found.ndim == 1:
        return Look(rows, found, "correlation")
    return Look(rows, found[:, 1]) if found.shape[1] == 2 else Look(rows, found, "accuracy")


def gathered(view: AdversaryView, channel: ObservedEdges) -> tuple[Array, Array]:
    """Every row as it was seen first, up to `ROWS`: numbers [n], and what came and was sent of it [n, w]."""
    done = np.zeros(view.total, bool)
    numbers: list[Array] = []
    found: list[Array] = []
    for step in view.steps(None, channel.program):
        new = np.flatnonzero(~done[step.rows])
        if not len(new) or np.count_nonzero(done) >= ROWS:
            break
        done[step.rows[new]] = True
        numbers.append(step.rows[new])
        found.append(seen(view, step, channel)[new])
    return (np.concatenate(numbers), np.concatenate(found)) if numbers else (np.arange(0), np.zeros((0, 0)))


def seen(view: AdversaryView, step: RecordedStep, channel: ObservedEdges) -> Array:
    """What came of each row of a step, and what the place sent of it [n, w]."""
    own = [] if channel.sent else view.channels("forward", channel.program, sent=True)[:1]
    return np.concatenate([view.rows(step, each) for each in (channel, *own)], axis=1)


TAUGHT = LabelAttack(
    "taught", "a network from what crossed to the secret",
    HE,
    f"{KNOWN} known rows", "any", ("binary", "classes", "number"), _run, parts=False,
)  # fmt: skip
