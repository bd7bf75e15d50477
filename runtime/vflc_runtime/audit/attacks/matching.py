"""A model of what stands behind the cut, fitted so that its gradients match those that came.

Kariyappa & Qureshi, "ExPLoit: Extracting Private Labels in Split Learning", 2021: a surrogate of the sender's
model, and a label for each row, are learned until the surrogate's gradients are the real ones. Here the
surrogate is a perceptron of the receiver's own activations, and the error δ of each row that matches best is
known in closed form (variable projection), so only the weights are searched for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.audit.adversary_view import AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.knowledge import Knowledge
from vflc_runtime.audit.learn import FLOAT, LayerWeights, adam, zeros

HIDDEN = 16
STEPS = 300
RATE = 0.03
LOOKS = 8
"""Batches that are attacked: each takes a search."""


def by_matching(rows: Array, sent: Array) -> Array:
    """The error of each row under the surrogate that matches best [n, w] → [n], up to one factor.

    Args:
        rows: gradients.
        sent: what they are the gradients of [n, w].
    """
    rng = np.random.default_rng(0)
    size = sent.std(axis=0) + 1e-12
    inputs, wanted = (sent - sent.mean(axis=0)) / size, rows * size
    length = np.linalg.norm(wanted, axis=1)
    wanted = wanted / np.where(length > 0, length, 1.0)[:, None]
    start = np.linalg.svd(wanted, full_matrices=False)[2][0]  # the line that rows share is a good beginning
    inputs, wanted = inputs.astype(FLOAT), wanted.astype(FLOAT)
    width = sent.shape[1]
    parameters, layers = zeros([width, HIDDEN, 1])
    (first, shift), (last, _) = layers
    first[:] = start[:, None] * rng.normal(size=HIDDEN)
    first += 0.3 * rng.normal(size=(width, HIDDEN)) / np.sqrt(width)
    shift[:] = rng.normal(size=HIDDEN)
    last[:, 0] = first.T @ start  # first slopes add up along it
    gradient, by_layers = zeros([width, HIDDEN, 1])
    adam(parameters, gradient, lambda: _differentiate(inputs, wanted, layers, by_layers), STEPS, RATE)
    _, _, slopes = _slopes(inputs, layers)
    found: Array = (wanted * slopes).sum(axis=1) * length
    found /= np.maximum((slopes * slopes).sum(axis=1), 1e-12)
    return found


def _slopes(inputs: Array, layers: LayerWeights) -> tuple[Array, Array, Array]:
    """The values of the surrogate's hidden units [n, h], their slopes, and its own at each row [n, w]."""
    (first, shift), (last, _) = layers
    hidden = np.tanh(inputs @ first + shift)
    units = 1 - hidden * hidden
    return hidden, units, units @ (first * last[:, 0]).T


def _differentiate(inputs: Array, wanted: Array, layers: LayerWeights, found: LayerWeights) -> None:
    """The gradient of the mean squared cosine between slopes and what is wanted, times -1."""
    (first, _), (last, _) = layers
    (by_first, by_shift), (by_last, _) = found
    hidden, units, slopes = _slopes(inputs, layers)
    size = np.maximum(np.einsum("nw,nw->n", slopes, slopes), 1e-12)
    share = (np.einsum("nw,nw->n", slopes, wanted) / size)[:, None]
    out = share * (share * slopes - wanted) * (2 / len(inputs))
    back = out @ first * units  # to units [n, h]
    through = back * hidden
    through *= -2 * last[:, 0]
    np.matmul(out.T, units, out=by_first)
    by_first *= last[:, 0]
    by_first += inputs.T @ through
    through.sum(axis=0, out=by_shift)
    back.sum(axis=0, out=by_last[:, 0])


def _run(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    own = view.answered(channel)
    if own is None:
        return
    for step in view.steps(LOOKS, channel.program):
        rows, sent = view.rows(step, channel), view.rows(step, own)
        if rows.shape == sent.shape and rows.any():
            yield Look(step.rows, by_matching(rows, sent))


MATCHING = LabelAttack(
    "matching", "a surrogate whose gradients match",
    'Kariyappa & Qureshi, "ExPLoit: Extracting Private Labels in Split Learning", 2021', "",
    "backward", ("binary", "number"), _run,
)  # fmt: skip
