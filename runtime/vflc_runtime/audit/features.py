"""Attacks on features, and on labels through what a party's own bottom has learned.

Feature inversion assumes that the receiver knows some rows of the sender, as an insider or by a leak
elsewhere. The linear solve follows the equality solving attack of Luo et al. (ICDE 2021), with the sender's
weights estimated from the known rows rather than given. The decoder is the black-box inversion network of He
et al. (ACSAC 2019), as a perceptron. Model completion is that of Fu et al. (USENIX Security 2022): the bottom
stays as it was trained and a head is learned on the known labels; their use of unlabelled rows (MixMatch) is
left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.audit.adversary_view import AdversaryView, ObservedEdges
from vflc_runtime.audit.knowledge import Knowledge
from vflc_runtime.audit.learn import SurrogateNetwork, solved

LUO = (
    'Luo et al., "Feature Inference Attack on Model Predictions in Vertical Federated Learning", ICDE 2021 '
    "(equality solving, weights estimated)"
)
HE = 'He et al., "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019 (black-box inversion)'
FU = (
    'Fu et al., "Label Inference Attacks Against Vertical Federated Learning", USENIX Security 2022 '
    "(model completion, without MixMatch)"
)
CATEGORIES = 50
"""Values of a feature that are told apart: the most frequent ones among known rows; others are one more."""
HIDDEN = 128
"""Units of the decoder; one decoder is learned for all features that flowed into a row."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a head made of rows whose labels it did not know.

    Args:
        rest: places in the batch of prediction that were not given away.
        bottom: with the party's own bottom, or what it received: probabilities or numbers [n, k].
        plain: the same head on the party's raw columns; None where it has none.
    """

    rest: Indices
    bottom: Array
    plain: Array | None


def complete(
    view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge, count: int, draw: int
) -> Completion:
    """A head on `count` known labels, with and without the trained bottom."""
    rows = view.prediction.rows
    known, labels = knowledge.some(rows, count, draw)
    rest = np.setdiff1d(np.arange(len(rows)), known)
    if knowledge.label.kind == "number":
        targets: Array = labels.reshape(-1, 1).astype(np.float64)
    else:
        targets = np.eye(knowledge.label.classes)[labels.astype(np.int64).reshape(-1)]

    def head(values: Array) -> Array:
        output = "linear" if knowledge.label.kind == "number" else "softmax"
        return SurrogateNetwork(values[known], targets, output)(values[rest])  # type: ignore[arg-type]

    own = [array[rows] for array in view.own.values()]
    spelled = [Spelling.of(array[known])(array) for array in own]
    plain = head(np.concatenate(spelled, axis=1)) if own else None
    return Completion(rest, head(view.rows(view.prediction, channel)), plain)


@dataclass(frozen=True, slots=True)
class Spelling:
    """A feature as numbers [n, c]: itself, or a column for each value that known rows have most often.

    `values` are those ids in order; None for a number.
    """

    values: Indices | None

    @classmethod
    def of(cls, known: Array) -> Spelling:
        """By the rows that an attacker knows, as encoded [m, …]."""
        if known.dtype.kind == "f":
            return cls(None)
        ids, counts = np.unique(known, return_counts=True)
        frequent = ids[np.argsort(-counts, kind="stable")]
        return cls(np.sort(frequent[frequent >= 0][:CATEGORIES]))

    def __call__(self, array: Array) -> Array:
        flat = array.reshape(len(array), -1)
        if self.values is None:
            return flat.astype(np.float64)
        found = np.zeros((len(flat), len(self.values)))
        for slot in flat.T if len(self.values) else ():
            place = np.searchsorted(self.values, slot).clip(max=len(self.values) - 1)
            hit = np.flatnonzero(self.values[place] == slot)
            found[hit, place[hit]] = 1.0
        return found


def invert(
    activations: Array, known: Indices, targets: Mapping[str, Array], learned: bool
) -> dict[str, Array]:
    """Features of all rows, each [n, c], from what a party received of them [n, w] and some rows it knows.

    Args:
        activations: the joint row of what the owner of the features sent.
        known: places of the rows whose features are known [m].
        targets: the features of those, each [m, c].
        learned: by a perceptron with a hidden layer, not by least squares.
    """
    joint = np.concatenate(list(targets.values()), axis=1)
    if learned:
        size, mean = np.maximum(joint.std(axis=0), 1e-12), joint.mean(axis=0)
        network = SurrogateNetwork(activations[known], (joint - mean) / size, "linear", HIDDEN)
        guess = network(activations) * size + mean
    else:
        guess = solved(activations[known], joint, activations)
    ends = np.cumsum([target.shape[1] for target in targets.values()])[:-1]
    return dict(zip(targets, np.split(guess, ends, axis=1), strict=True))


def right(guess: Array, truth: Array) -> float:
    """Share of rows whose most likely value [n, c] is one that they have."""
    return float(truth[np.arange(len(guess)), guess.argmax(axis=1)].mean())
