"""Rows that look alike have the same value: codes by equal activations, items by equal quotients.

What is sent of a row by a function of one code is the same whenever the code is; a gradient that is an
error times a vector of one code lies on the line of that code. Behind a product of a factor of the receiver's
and one of the sender's, as in a factorization machine, the gradient of the factor is δ times the sender's;
that of a term which is only added is δ: their quotient is the sender's factor itself, up to what the receiver
sent, and links all rows of one item.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.audit.adversary_view import BATCHES, AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.attack import LabelAttack, Look
from vflc_runtime.audit.knowledge import Knowledge

SMALLEST = 1e-9


def quotients(rows: Array, by: Array) -> Array:
    """Gradients [n, w] by another gradient's one number a row [n] → [n, w]; 0 where that is nothing."""
    whole = np.abs(by) > SMALLEST * np.abs(by).max(initial=1e-300)
    found: Array = np.where(whole[:, None], rows / np.where(whole, by, 1.0)[:, None], 0.0)
    return found


def lines(rows: Array) -> Array:
    """The line through 0 that each row lies on, as a unit vector [n, w]: without length and sign."""
    units = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    sides = np.sign(units @ np.random.default_rng(0).normal(size=rows.shape[1]))
    turned: Array = units * sides[:, None]
    return turned


def _alike(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    for step in view.steps(BATCHES // 4, channel.program):
        rows = view.rows(step, channel)
        yield Look(step.rows, np.stack([rows, lines(rows)], axis=1), "pairs")


def _quotient(view: AdversaryView, channel: ObservedEdges, knowledge: Knowledge) -> Iterator[Look]:
    """Quotients by each edge of one number, and the same less what was sent."""
    singles = [each for each in view.channels(channel.phase) if each.name != "all"]
    own = view.answered(channel)
    for step in view.steps(BATCHES // 4, channel.program):
        rows = view.rows(step, channel)
        for single in singles:
            by = view.rows(step, single)
            if by.shape[1] == 1 and single.edges != channel.edges:
                found = quotients(rows, by[:, 0])
                sent = view.rows(step, own) if own else np.zeros((len(rows), 0))
                parts = [found - sent, found + sent] if sent.shape == found.shape else []
                yield Look(step.rows, np.stack([found, *parts], axis=1), "pairs")


ALIKE = LabelAttack(
    "alike", "rows that look alike are taken to have one value", "a dictionary of codes", "",
    "any", ("binary", "classes"), _alike,
)  # fmt: skip
LINKED = LabelAttack(
    "linked", "quotients of gradients link rows of one item",
    "the gradients of a factorization machine", "", "backward", ("binary", "classes"), _quotient,
)  # fmt: skip
