"""Attacks over several runs on the same rows: what each run tells of a row, added up.

Noise that every run draws anew averages out over runs, as it does over epochs; what is drawn once for a
table does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from vflc_common.arrays import Array, Indices
from vflc_common.bound import Bound

from vflc_runtime.audit import bounds
from vflc_runtime.audit.adversary_view import AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.knowledge import Knowledge
from vflc_runtime.audit.labels import FU, LABEL_ATTACKS, tally
from vflc_runtime.errors import Failure
from vflc_runtime.protect import costs

POINTED = tuple(attack for attack in LABEL_ATTACKS if attack.key in ("norm", "cosine", "taught"))
"""Attacks whose scores point the same way in every batch, and can be added up as they are."""
_VOTE = LabelAttack(
    "vote", "signs of one row", f"{FU} (direct), by a vote of epochs", "", "backward",
    ("binary", "number"), lambda view, channel, knowledge: iter(()),
)  # fmt: skip


def sums(
    views: Sequence[AdversaryView], channel: ObservedEdges, knowledge: Knowledge, told: bool
) -> Iterator[tuple[LabelAttack, Indices, Array]]:
    """What attacks make of a channel in several runs.

    Args:
        views: of one place, a run each.
        channel: what it looks at.
        knowledge: the few labels that are known.
        told: whether what crosses there depends on the label.

    Yields:
        An attack, the rows that it saw in every run [n], and its scores after the first run and after
        all of them [n, 2].
    """
    if _VOTE.looks_at(channel, told) and knowledge.label.kind in _VOTE.kinds:
        rows, last = _last(tally(views, channel))
        alone, first = _last(tally(views[:1], channel))
        both, at, of_first = np.intersect1d(rows, alone, return_indices=True)
        yield _VOTE, both, np.stack([first[of_first], last[at]], axis=1)
    for attack in POINTED:
        if attack.looks_at(channel, told) and knowledge.label.kind in ("binary", "number"):
            yield attack, *added_up([attack.run(view, channel, knowledge) for view in views], views[0].total)


def _last(tallied: tuple[Indices, Array]) -> tuple[Indices, Array]:
    rows, table = tallied
    return rows, table[:, -1] if table.size else np.zeros(len(rows))


def added_up(runs: Iterable[Iterable[Look]], total: int) -> tuple[Indices, Array]:
    """Ranks of rows in their batches, added up: the rows seen in every run [n], and sums [n, 2].

    The sums are those after the first run and after the last. Batches of runs differ in what their
    scores are of, so ranks count, from -1/2 to 1/2, and equal scores are of one rank.
    """
    found, seen = np.zeros((total, 0)), np.ones(total, bool)
    whole = np.zeros(total)
    for looks in runs:
        here = np.zeros(total, bool)
        for look in looks:
            whole[look.rows] += ranks(look.values)
            here[look.rows] = True
        seen &= here
        found = np.concatenate([found, whole[:, None]], axis=1)
    rows = np.flatnonzero(seen)
    return rows, found[rows][:, [0, -1]]


def ranks(values: Array) -> Array:
    """Ranks of numbers [n], from -1/2 to 1/2."""
    _, which, counts = np.unique(values.reshape(-1), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    found: Array = middle[which] / max(len(which) - 1, 1) - 0.5
    return found


def bound(
    learned: Iterable[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], receiver: str, secret: str
) -> str:
    """What is proven of a secret over several runs, in words.

    Of a code, of nothing and of everything no more is learned by more runs. ε adds up, as the ledger
    has it, passes of evaluation and prediction included.

    Args:
        learned: of the manifest.
        runs: settings of each.
        receiver: who learns.
        secret: of what, `party.name`.
    """
    alone = bounds.of_secret(learned, receiver, secret)
    if alone is None or alone["kind"] != "epsilon":
        return bounds.in_words(alone)
    party, _, name = secret.partition(".")
    try:
        spent = costs.of_runs(runs, party, (receiver, name))
    except Failure:
        return f"{bounds.in_words(alone)} by each run; the ledger that adds them up is not here"
    return str(Bound("epsilon", epsilon=spent.epsilon, delta=spent.delta))
