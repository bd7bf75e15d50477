"""Gradients divided by the factor that the receiver knows: the slope at what it sent itself.

Behind a function of each number by itself a gradient is δ times a vector that all rows share, times the
function's slope. The spec says which function it is, and the receiver knows the numbers: what remains lies on
a line. Behind a softmax the slope is a matrix, which is undone up to a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.audit import exact
from vflc_runtime.audit.adversary_view import BATCHES, AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.knowledge import Knowledge

KnownSlope = Callable[[Array], Array]


def _sigmoid(x: Array) -> Array:
    found: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return found


def _gelu(x: Array) -> Array:
    """The slope of the approximation by tanh, whose distance to the exact one is below a hundredth."""
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    found: Array = 0.5 * (1 + np.tanh(inner)) + 0.5 * x * (1 - np.tanh(inner) ** 2) * slope
    return found


SLOPES: dict[str, KnownSlope] = {
    "sigmoid": lambda x: _sigmoid(x) * _sigmoid(-x),
    "softplus": _sigmoid,
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
    "exp": lambda x: np.exp(np.clip(x, -50, 50)),
    "2 **": lambda x: np.exp2(np.clip(x, -50, 50)),
    "cos": np.sin,
    "sin": np.cos,
    "square": lambda x: x,
    "cube": np.square,
    "gelu": _gelu,
    "silu": lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)),
    "1 /": lambda x: 1 / np.square(x),
    "log": lambda x: 1 / x,
}
SMALLEST = 1e-3
"""Slopes below this part of the median are not divided by."""


def by_quotient(rows: Array, sent: Array) -> Array:
    """Along the line on which rows lie that are divided by a slope [n, w] → [n, one for each slope].

    Args:
        rows: gradients.
        sent: the numbers that they are the gradients of [n, w].
    """
    found = [exact.by_projection(_divided(rows, slope(sent))) for slope in SLOPES.values()]
    return np.stack([*found, exact.by_projection(behind_softmax(rows, sent))], axis=1)


def _divided(rows: Array, slopes: Array) -> Array:
    finite = np.isfinite(slopes)
    large = finite & (
        np.abs(slopes) > SMALLEST * np.median(np.abs(slopes[finite])) if finite.any() else finite
    )
    found: Array = np.where(large, rows / np.where(large, slopes, 1.0), 0.0)
    return found


def behind_softmax(rows: Array, sent: Array) -> Array:
    """Each row's gradient behind a softmax of what was sent, up to a constant [n, w] → [n, w]."""
    shifted = np.exp(sent - sent.max(axis=1, keepdims=True))
    p = shifted / shifted.sum(axis=1, keepdims=True)
    found: Array = rows / np.maximum(p, 1e-12)
    found -= found.mean(axis=1, keepdims=True)
    return found


def _run(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    own = view.answered(channel)
    if own is None:
        return
    with np.errstate(all="ignore"):
        for step in view.steps(BATCHES // 4, channel.program):
            rows, sent = view.rows(step, channel), view.rows(step, own)
            if rows.shape == sent.shape:
                yield Look(step.rows, by_quotient(rows, sent))


QUOTIENT = LabelAttack(
    "quotient", "gradient by the slope at what was sent",
    'Fu et al., "Label Inference Attacks Against Vertical Federated Learning", USENIX Security 2022 '
    "(direct), behind a known factor",
    "which function it is, from the spec", "backward", ("binary", "number"), _run,
)  # fmt: skip
