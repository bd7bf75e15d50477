"""Bounds put to the test: a run on columns that tell nothing of each other, attacked, and counted exactly.

An eighth of the rows is known to the attacker, drawn whatever they hold. From these it learns how to read
what an attack makes of the others, and names the class of each. Where a bound holds, a guess is right with
at most a probability that follows from the bound and the class's share alone, whatever other guesses were:
so hits are no more than a binomial number, whose tail is exact. docs/audit.md has the proof.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from vflc_common.arrays import Array, Indices
from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime.audit import bounds
from vflc_runtime.audit.adversary_view import AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.attack import Look, spread_out
from vflc_runtime.audit.attacks.start import Start
from vflc_runtime.audit.draws import Unit, drawn, units
from vflc_runtime.audit.knowledge import AttackedLabel, Knowledge
from vflc_runtime.audit.labels import LABEL_ATTACKS
from vflc_runtime.audit.report import BoundTest
from vflc_runtime.audit.simulation import ROOM, charged, first_steps, simulate
from vflc_runtime.audit.tails import posterior, slack, tail
from vflc_runtime.audit.targets import AttackTarget, target
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.protect.costs import of_runs
from vflc_runtime.protect.ledger import Spent
from vflc_runtime.scratch import scratch_folder

RISK = 1e-6
"""The probability that an audit refutes a bound that holds, whatever it tries."""
KNOWN = 8
"""One row of so many is known to the attacker."""


def refute(
    bundle: Bundle,
    data: Dataset,
    settings: Mapping[str, Any],
    steps: int,
    parties: tuple[str, ...] = (),
    engine: str = DEFAULT_ENGINE,
    threads: int | None = None,
    draw: int | None = None,
    runs: int = 1,
    tell: Callable[[str], None] = lambda what: None,
) -> tuple[BoundTest, ...]:
    """Attacks a short run on drawn columns; of each receiver and secret the attack that went farthest.

    Args:
        bundle: of the run.
        data: whose columns' values are drawn from.
        settings: `batch`, `seed`, `validation`, `epochs`, `shuffle` of the run.
        steps: to train.
        parties: receivers; every place where empty.
        engine: of the run.
        threads: threads an operator may use.
        draw: what tables are drawn by; None for a number that nobody knows, without which
            nothing is shown to those who know the spec.
        runs: so many on the same rows, whose messages are put together. Their ε is what a ledger adds up.
        tell: is told what is attacked.
    """
    whole = units(bundle.manifest.document.get("learned", ()), data.inputs)
    if not _wanted(bundle, whole, parties):
        return ()
    rng = np.random.default_rng(secrets.randbits(128) if draw is None else draw)
    table = drawn(data, whole, rng)
    known = rng.permutation(data.rows) < -(-data.rows // KNOWN)
    tell("a run on columns that are drawn afresh" if runs == 1 else f"{runs} runs on columns drawn afresh")
    with scratch_folder() as folder:
        kept = [charged(bundle, table, settings, steps, folder) for _ in range(runs) if runs > 1]
        heard = [
            simulate(bundle, table, settings, steps, engine, threads, each, ROOM // runs)
            for each in kept or [None]
        ]

        def cost(party: str, receiver: str, column: str) -> Spent:
            return of_runs([{"ledger": each} for each in kept], party, (receiver, column))

        wanted = _wanted(bundle, whole, parties, cost if kept else None)
    made = drawn(data, whole, rng)
    first = first_steps(bundle, made, settings, engine, threads)
    trials: list[BoundTest] = []
    for place in dict.fromkeys(place for place, _, _ in wanted):
        own = {
            i: rows for i, rows in table.inputs.items() if i.partition(".")[0] in bundle.plans[place].tables
        }
        views = [
            AdversaryView(place, bundle.manifest, each.train[place], each.whole[place], own, data.rows)
            for each in heard
        ]
        for view in views:
            view.start = Start(made.inputs, first[place])
        for receiver, unit, bound in wanted:
            if receiver == place:
                tell(f"what is proven of {unit.party} against {place}")
                for id in unit.inputs:
                    aimed = target(id, table.inputs[id], data.inputs[id])
                    if aimed is not None and _refutable(aimed, bound):
                        trials += _trials(views, aimed, bound, known)
    return _worst(trials)


def _wanted(
    bundle: Bundle, whole: Sequence[Unit], parties: tuple[str, ...], cost: bounds.Cost | None = None
) -> list[tuple[str, Unit, bounds.Tested]]:
    """Receivers, what is drawn as one, and the bounds that guesses can refute."""
    learned = bundle.manifest.document.get("learned", ())
    return [
        (place, unit, bound)
        for place in parties or tuple(bundle.plans)
        for unit in whole
        if unit.party not in bundle.plans[place].tables
        and (bound := bounds.of_unit(learned, place, unit, cost)) is not None
    ]


def _trials(
    views: Sequence[AdversaryView], aimed: AttackTarget, bound: bounds.Tested, known: Array
) -> Iterator[BoundTest]:
    """Every attack on one secret at every channel, of all runs together, where it names at least one row."""
    view = views[0]
    label = AttackedLabel(aimed.id, "binary" if len(aimed.shares) == 2 else "classes", len(aimed.shares))
    knowledge = Knowledge(label, aimed.classes, known, aimed.spelled)
    for channel in (*view.every_channel(), *view.whole()):
        for attack in LABEL_ATTACKS:
            if label.kind in attack.kinds and attack.looks_at(channel):
                looks = chain.from_iterable(attack.run(each, channel, knowledge) for each in views)
                guesses = named(looks, aimed, known)
                if guesses is not None:
                    yield from _judged(view, aimed, bound, attack.key, channel, guesses)


def named(looks: Iterator[Look], aimed: AttackTarget, known: Array) -> tuple[Indices, Indices] | None:
    """The rows an attack looked at that are not known, and the class that it gives each, both [rows].

    `known` says of all rows, bool [rows of the run], whether the attacker knows theirs.
    What it makes of a batch is turned by the batch's known rows, so that more means more likely, and added
    up over batches; of several columns the known rows choose one.
    """
    sums: Array | None = None
    seen = np.zeros(len(known), np.int64)
    for look in looks:
        told = np.flatnonzero(known[look.rows])
        if len(told):
            votes = _votes(look, told, aimed)
            sums = np.zeros((len(known), *votes.shape[1:])) if sums is None else sums
            if votes.shape[1] == sums.shape[1]:
                sums[look.rows] += votes
                seen[look.rows] += 1
    if sums is None:
        return None
    guesses = sums.argmax(axis=2)
    told = np.flatnonzero((seen > 0) & known)
    best = np.argmax((guesses[told] == aimed.classes[told, None]).sum(axis=0))
    rest = np.flatnonzero((seen > 0) & ~known)
    return rest, guesses[rest, best]


def _votes(look: Look, told: Indices, aimed: AttackTarget) -> Array:
    """How much each column of a look is for each class [n, c, k]."""
    count, truth = len(aimed.shares), aimed.classes[look.rows[told]]
    if look.measure == "purity":
        found = np.zeros((int(look.values.max(initial=0)) + 1, count))
        np.add.at(found, (look.values[told], truth), 1.0)
        share: Array = found / np.maximum(found.sum(axis=1, keepdims=True), 1) - aimed.shares
        return share[look.values][:, None, :]
    if look.measure == "accuracy":
        best: Array = np.eye(count)[look.values.argmax(axis=1)][:, None, :]
        return best
    if look.measure == "pairs":
        values = spread_out(look.values)
        distances = np.square(values[:, None] - values[told]).sum(axis=3)  # [n, m, c]
        nearest: Array = np.eye(count)[truth[distances.argmin(axis=1)]]
        return nearest
    columns = look.values.reshape(len(look.values), -1)
    ranks = _ranks(columns)
    votes = np.empty((*columns.shape, count))
    for k in range(count):
        is_k = (truth == k) - np.mean(truth == k)
        turned = np.sign(is_k @ (ranks[told] - ranks[told].mean(axis=0)))
        votes[:, :, k] = turned * (ranks - 0.5) + aimed.shares[k] - 0.5
    return votes


def _ranks(columns: Array) -> Array:
    """The rank of each value within its column, between 0 and 1; equal ones share theirs [n, c]."""
    found = np.empty(columns.shape)
    for i, column in enumerate(columns.T):
        ordered = np.sort(column)
        low, high = (np.searchsorted(ordered, column, side) for side in ("left", "right"))
        found[:, i] = (low + high) / (2 * len(column))
    return found


def _by_code(aimed: AttackTarget, bits: float) -> float:
    """The largest share of rows that can be named by whoever has a code of so many bits a row."""
    cells = len(aimed.shares) if bits > 30 else min(int(2.0**bits + 1e-9), len(aimed.shares))
    return float(np.sort(aimed.shares)[::-1][:cells].sum())


def _refutable(aimed: AttackTarget, bound: bounds.Tested) -> bool:
    return bound.bits is None or _by_code(aimed, bound.bits) < 1 - 1e-12


def _judged(
    view: AdversaryView,
    aimed: AttackTarget,
    bound: bounds.Tested,
    attack: str,
    channel: ObservedEdges,
    guesses: tuple[Indices, Indices],
) -> Iterator[BoundTest]:
    """Guesses held against the bound: of each class by itself, or all together where a code bounds them."""
    rows, said = guesses
    truth = aimed.classes[rows]
    if bound.bits is None:
        loose = bound.epsilon + (math.log(2) if bound.delta else 0.0)
        parts = [
            (said == k, posterior(float(share), loose))
            for k, share in enumerate(aimed.shares)
            if share and (said == k).any()
        ]
    else:
        parts = [(np.ones(len(rows), bool), _by_code(aimed, bound.bits))]
    for part, most in parts:
        count, right = int(part.sum()), int((said == truth)[part].sum())
        p = min(1.0, tail(count, most, right) + slack(count, bound.delta))
        yield BoundTest(
            view.place, aimed.id, bound.words, attack, channel.name, channel.program, count, right, most, p
        )


def _worst(trials: list[BoundTest]) -> tuple[BoundTest, ...]:
    """Of each receiver and secret the trial that is least likely, corrected for the number of all."""
    found: dict[tuple[str, str], BoundTest] = {}
    for trial in sorted(trials, key=lambda each: (each.p, each.most - each.right / max(each.count, 1))):
        found.setdefault((trial.party, trial.secret), trial.corrected(len(trials), RISK))
    return tuple(found.values())
