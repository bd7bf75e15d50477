"""What the manifest proves of a secret, to stand beside what an attack reached.

An attack that does better than a bound seems to allow refutes nothing by itself: whoever knows columns
that go with a label guesses the label from them, whatever crosses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

ORDER = ("nothing", "epsilon", "code", "all")
"""Bounds from the least that may be learned to the most."""


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


def _laxness(bound: Mapping[str, Any]) -> tuple[int, float]:
    epsilon = bound.get("epsilon")
    return ORDER.index(bound["kind"]), math.inf if epsilon is None else epsilon


def in_words(bound: Mapping[str, Any] | None) -> str:
    """A bound for a person."""
    if bound is None:
        return "no bound"
    if bound["kind"] == "code":
        bits = bound["bits"]
        return "its code" if bits is None else f"its code, {bits:.4g} bit{'s' * (bits != 1)} a row"
    if bound["kind"] == "epsilon":
        epsilon = "the run's ε" if bound["epsilon"] is None else f"ε = {bound['epsilon']:g}"
        return f"{epsilon}, δ = {bound['delta']:g}" if bound["delta"] else epsilon
    return str(bound["kind"])
