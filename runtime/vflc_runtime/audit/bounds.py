"""What the manifest proves of a secret, to stand beside what an attack reached, and to be put to the test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vflc_common.bound import LEAST_FIRST, Bound

from vflc_runtime.audit.draws import Unit
from vflc_runtime.protect.ledger import Spent


def of_secret(learned: Iterable[Mapping[str, Any]], receiver: str, secret: str) -> Mapping[str, Any] | None:
    """The bound of a feature or label: the laxest of the columns that it is made of.

    Args:
        learned: of a manifest.
        receiver: a place.
        secret: `party.name`.
    """
    party, _, name = secret.partition(".")
    found = [
        row["bound"]
        for row in learned
        if (row["receiver"], row["party"]) == (receiver, party) and name in row.get("features", ())
    ]
    return max(found, key=_laxness, default=None)


@dataclass(frozen=True, slots=True)
class Tested:
    """A bound that guesses can refute.

    Args:
        epsilon, delta: of the exchange of one row's cells; 0 where nothing is learned.
        bits: of a row's code, where a code is the bound.
        words: the bound for a person.
    """

    epsilon: float
    delta: float
    bits: float | None
    words: str


Cost = Callable[[str, str, str], Spent]
"""What several runs together have cost a party's column towards a receiver: party, receiver, column."""


def of_unit(
    learned: Iterable[Mapping[str, Any]], receiver: str, unit: Unit, cost: Cost | None = None
) -> Tested | None:
    """The bound of all that is drawn as one; None where guesses cannot refute it.

    Exchanging cells of several columns is exchanging one after the other: ε and δ add up, as bits do.
    `cost` gives ε and δ where the bound is one on several runs.
    """
    found = [
        row["bound"]
        for row in learned
        if (row["receiver"], row["party"]) == (receiver, unit.party) and row["column"] in unit.columns
    ]
    kinds = {bound["kind"] for bound in found} - {"nothing"}
    words = in_words(max(found, key=_laxness, default=None))
    if not found or kinds - {"epsilon"}:
        bits = [bound["bits"] for bound in found if bound["kind"] == "code"]
        if kinds != {"code"} or None in bits:
            return None
        return Tested(0.0, 0.0, float(sum(bits)), words)
    epsilons = [bound["epsilon"] for bound in found if bound["kind"] == "epsilon"]
    if None in epsilons:
        return None
    delta = float(sum(bound.get("delta") or 0.0 for bound in found))
    epsilon = float(sum(epsilons))
    if cost is not None and epsilons:
        spent = [cost(unit.party, receiver, column) for column in unit.columns]
        epsilon, delta = sum(each.epsilon for each in spent), sum(each.delta for each in spent)
        words = str(Bound("epsilon", epsilon=epsilon, delta=delta))
    return Tested(epsilon, delta, None, words)


def _laxness(bound: Mapping[str, Any]) -> tuple[int, float]:
    epsilon = bound.get("epsilon")
    return LEAST_FIRST.index(bound["kind"]), math.inf if epsilon is None else epsilon


def in_words(bound: Mapping[str, Any] | None) -> str:
    """A bound for a person."""
    return "no bound" if bound is None else str(Bound(**bound))
