"""Features from the first step: initial weights follow from the spec and the seed, so every party knows them.

A curious party makes up rows, computes what their owner would send for them with the initial weights, and
learns the way back; what came in step 1 then needs no known row. This is the black-box inversion of He et
al. (ACSAC 2019) with the public initial model as the box.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.audit.features import CATEGORIES, Spelling, invert
from vflc_runtime.bundle import Bundle
from vflc_runtime.messages import Envelope
from vflc_runtime.plan import Input
from vflc_runtime.session import Session

Array = NDArray[Any]

MADE_UP = 4000
"""Rows that the attacker makes up."""
IDS = 3
"""Ids of a made-up row, of a feature that has several."""


@dataclass(frozen=True, slots=True)
class Imitation:
    """Made-up rows, and what their owners would send for them at the start.

    Args:
        inputs: by input id, as encoded.
        sent: tensors by edge id.
    """

    inputs: Mapping[str, Array]
    sent: Mapping[str, Array]


def imitate(bundle: Bundle, seed: int, sizes: Mapping[str, int | None], threads: int | None) -> Imitation:
    """Runs the initial model, which anybody can make from the spec.

    Args:
        bundle: of the run.
        seed: of its initial weights.
        sizes: how many ids each input may have, as its encoder says; None for a number.
        threads: threads an operator may use.
    """
    heard: dict[str, Array] = {}

    def hear(envelope: Envelope) -> None:
        heard.update({edge: np.array(tensor) for edge, tensor in envelope.tensors.items()})

    session = Session(bundle, bundle.backend, seed, threads, ("predict",), hear)
    rng = np.random.default_rng(0)
    inputs = {
        each.id: _made_up(each, sizes.get(each.id), rng, bundle.manifest.precision)
        for plan in bundle.plans.values()
        for each in plan.inputs.values()
        if not each.label
    }
    session.predict(inputs)
    return Imitation(inputs, heard)


def _made_up(each: Input, size: int | None, rng: np.random.Generator, precision: str) -> Array:
    if size is None:
        return rng.normal(size=(MADE_UP, 1)).astype(precision)
    shape = (MADE_UP,) if len(each.shape) == 1 else (MADE_UP, IDS)
    return rng.integers(0, size, shape).astype(np.int32)


def unravel(
    imitation: Imitation, name: str, edges: tuple[str, ...], received: Array
) -> tuple[Spelling, Array, Array] | None:
    """A feature of the rows of step 1.

    By least squares or by a network, whichever does better on made-up rows that it was not taught.

    Args:
        imitation: what the attacker made.
        name: of the feature.
        edges: what it received of the feature's owner, in the order of `received`'s columns.
        received: the rows of step 1 [n, w].

    Returns:
        How the guess spells the feature, the guess [n, c], and the mean of made-up rows [c]; None for a
        feature with more values than are told apart.
    """
    made = imitation.inputs[name]
    if made.dtype.kind != "f" and int(made.max()) >= CATEGORIES:
        return None
    spelling, teach = Spelling.of(made), np.arange(MADE_UP)
    targets, half = spelling(made), MADE_UP // 2
    sent = np.concatenate([imitation.sent[e].reshape(MADE_UP, -1) for e in edges], axis=1)
    errors = []
    for learned in (False, True):
        guess = invert(sent, teach[:half], targets[:half], learned)
        errors.append(float(np.square(guess[half:] - targets[half:]).sum()))
    everything = np.concatenate([sent, received])
    found = invert(everything, teach, targets, errors[1] < errors[0])[MADE_UP:]
    return spelling, found, targets.mean(axis=0)
