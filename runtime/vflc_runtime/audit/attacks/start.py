"""Secrets of the first step, through weights that the seed gives to all.

The receiver makes up rows from values that columns have, does the first step with them, and teaches a network
what crosses of which secret. What it received in step 1 is then read without one known row. This is the
black-box inversion of He et al. (ACSAC 2019) with the public initial model as the box, for labels as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.audit.adversary_view import AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks import taught
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.knowledge import Knowledge
from vflc_runtime.run.transcript import RecordedStep


@dataclass(frozen=True, slots=True)
class Start:
    """First steps with made-up rows, as one place would see them.

    Args:
        inputs: of the made-up rows, by id.
        steps: what crosses in first steps with some of them.
    """

    inputs: Mapping[str, Array]
    steps: tuple[RecordedStep, ...]


def _run(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    first = next(iter(view.steps(1)), None)
    start: Start | None = view.start
    if (
        channel.sent
        or channel.program != "train"
        or first is None
        or first.number != 1
        or start is None
        or knowledge.label.id not in start.inputs
    ):
        return
    values = knowledge.spelled(start.inputs[knowledge.label.id])
    labels = np.concatenate([values[step.rows] for step in start.steps])
    made = np.concatenate([taught.seen(view, step, channel) for step in start.steps])
    real = taught.seen(view, first, channel)
    classes = 1 if knowledge.label.kind == "number" else knowledge.label.classes
    if len(np.unique(labels)) > 1:
        rows = np.concatenate([made, real])
        found = taught.guesses(rows, np.arange(len(made)), labels, classes)
        yield taught.look(first.rows, found[len(made) :])


START = LabelAttack(
    "start", "a network from the first step of made-up rows", taught.HE,
    "which values columns have, and the seed", "any", ("binary", "classes", "number"), _run,
    parts=False,
)  # fmt: skip
