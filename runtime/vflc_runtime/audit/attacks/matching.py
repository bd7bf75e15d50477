"""A model of what stands behind the cut, fitted so that its gradients match those that came.

Kariyappa & Qureshi, "ExPLoit: Extracting Private Labels in Split Learning", 2021: a surrogate of the sender's
model, and a label for each row, are learned until the surrogate's gradients are the real ones. Here the
surrogate is a perceptron of the receiver's own activations, and the error δ of each row that matches best is
known in closed form (variable projection), so only the weights are searched for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.audit.adversary_view import AdversaryView, Channel
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.knowledge import Knowledge

Array = NDArray[Any]

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
    length = np.linalg.norm(wanted, axis=1, keepdims=True)
    wanted = wanted / np.where(length > 0, length, 1.0)
    width = sent.shape[1]
    start = np.linalg.svd(wanted, full_matrices=False)[2][0]  # the line that rows share is a good beginning
    weights = [
        start[:, None] * rng.normal(size=HIDDEN) + 0.3 * rng.normal(size=(width, HIDDEN)) / np.sqrt(width),
        rng.normal(size=HIDDEN), np.zeros(HIDDEN),
    ]  # fmt: skip
    weights[2] = np.abs(weights[0].T @ start) * np.sign(weights[0].T @ start)  # first slopes add up along it
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]
    for step in range(1, STEPS + 1):
        for w, g, (m, v) in zip(weights, _ascent(inputs, wanted, weights), moments, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            w += RATE * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    slopes, _ = _slopes(inputs, weights)
    found: Array = (wanted * slopes).sum(axis=1) * length[:, 0]
    found /= np.maximum((slopes * slopes).sum(axis=1), 1e-12)
    return found


def _slopes(inputs: Array, weights: list[Array]) -> tuple[Array, Array]:
    """The surrogate's slopes at each row [n, w], and its hidden units' values [n, h]."""
    first, shift, last = weights
    hidden = np.tanh(inputs @ first + shift)
    return ((1 - hidden**2) * last) @ first.T, hidden


def _ascent(inputs: Array, wanted: Array, weights: list[Array]) -> list[Array]:
    """The gradient of the mean squared cosine between slopes and what is wanted."""
    first, _, last = weights
    slopes, hidden = _slopes(inputs, weights)
    size = np.maximum((slopes * slopes).sum(axis=1, keepdims=True), 1e-12)
    inner = (slopes * wanted).sum(axis=1, keepdims=True)
    out = (2 * inner / size * wanted - 2 * (inner / size) ** 2 * slopes) / len(inputs)
    units = (1 - hidden**2) * last
    back = out @ first  # to units [n, h]
    through = back * last * -2 * hidden * (1 - hidden**2)
    return [out.T @ units + inputs.T @ through, through.sum(axis=0), (back * (1 - hidden**2)).sum(axis=0)]


def _run(view: AdversaryView, channel: Channel, knowledge: Knowledge) -> Iterator[Look]:
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
