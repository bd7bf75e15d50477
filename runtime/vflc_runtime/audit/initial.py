"""Features from the first step: initial weights follow from the spec and the seed, so every party knows them.

A curious party makes up rows, computes what their owner would send for them with the initial weights, and
learns the way back; what came in step 1 then needs no known row. This is the black-box inversion of He et
al. (ACSAC 2019) with the public initial model as the box.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.audit.features import CATEGORIES, Spelling, invert
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.plan import Input
from vflc_runtime.run import start_weights
from vflc_runtime.run.session import Session
from vflc_runtime.run.transcript import RecordedStep
from vflc_runtime.transport.messages import Envelope

MADE_UP, TAUGHT = 3000, 2000
"""Rows that the attacker makes up, and how many of them the way back is learned from."""
IDS = 3
"""Ids of a made-up row, of a feature that has several."""


@dataclass(frozen=True, slots=True)
class Imitation:
    """Made-up rows, and what their owners would send for them at the start.

    Args:
        inputs: by input id, as encoded.
        step: what crosses of them, as if it had been received.
    """

    inputs: Mapping[str, Array]
    step: RecordedStep


def imitate(
    bundle: Bundle,
    seed: int,
    sizes: Mapping[str, int | None],
    threads: int | None,
    start: Path | None = None,
) -> Imitation:
    """Runs the initial model, which anybody can make from the spec.

    Args:
        bundle: of the run.
        seed: of its initial weights.
        sizes: how many ids each input may have, as its encoder says; None for numbers.
        threads: threads an operator may use.
        start: the run's folder, where it keeps the weights of a file that it started from.
    """
    heard: dict[str, Array] = {}

    def hear(envelope: Envelope) -> None:
        heard.update({edge: np.array(tensor) for edge, tensor in envelope.tensors.items()})

    session = Session(bundle, bundle.engine, seed, threads, ("predict",), hear)
    if start is not None:
        start_weights.take(start, session.engines)
    rng = np.random.default_rng(0)
    inputs = {
        each.id: _made_up(each, sizes.get(each.id), rng, bundle.manifest.precision)
        for plan in bundle.plans.values()
        for each in plan.inputs.values()
        if not each.label
    }
    for guards in session.guards().values():
        guards.silence()
    session.predict(inputs)
    return Imitation(inputs, RecordedStep(0, np.arange(MADE_UP), heard, {}))


def _made_up(each: Input, size: int | None, rng: np.random.Generator, precision: str) -> Array:
    if size is None:
        return rng.normal(size=(MADE_UP, each.shape[1] or 1)).astype(precision)
    shape = (MADE_UP,) if len(each.shape) == 1 else (MADE_UP, IDS)
    return rng.integers(0, size, shape).astype(np.int32)


def unravel(
    imitation: Imitation, names: Iterable[str], made: Array, received: Array
) -> dict[str, tuple[Spelling, Array, Array]]:
    """Features of the rows of step 1.

    By least squares or by a network, whichever does better on made-up rows that it was not taught.

    Args:
        imitation: what the attacker made.
        names: of the features.
        made: what crosses of made-up rows [`MADE_UP`, w].
        received: what came in step 1 [n, w].

    Returns:
        By feature how the guess spells it, the guess [n, c], and the mean of made-up rows [c]. Features
        with more values than are told apart are left out.
    """
    spellings = {name: Spelling.of(imitation.inputs[name]) for name in names if _few(imitation.inputs[name])}
    if not spellings:
        return {}
    targets = {name: spelling(imitation.inputs[name]) for name, spelling in spellings.items()}
    rows, teach = np.concatenate([made, received]), np.arange(TAUGHT)
    ways = [invert(rows, teach, {n: t[:TAUGHT] for n, t in targets.items()}, way) for way in (False, True)]
    found = {}
    for name, target in targets.items():
        errors = [float(np.square(way[name][TAUGHT:MADE_UP] - target[TAUGHT:]).sum()) for way in ways]
        guess = ways[int(np.argmin(errors))][name][MADE_UP:]
        found[name] = spellings[name], guess, target.mean(axis=0)
    return found


def _few(feature: Array) -> bool:
    return feature.dtype.kind == "f" or int(feature.max(initial=0)) < CATEGORIES
