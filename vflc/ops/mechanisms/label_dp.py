"""Randomised response."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vflc.ops.noise import EPSILON
from vflc.ops.protection import TINY, Answers, Mechanism, Option, number_within
from vflc.ops.registry import Options


def likeliest(prior: Sequence[float], epsilon: float) -> tuple[int, ...]:
    """The classes among which to answer: so many of the likeliest that the answer is most often true.

    Of the `n` likeliest a label is the answer with probability e^ε / (e^ε + n - 1) where it is one of
    them (RRWithPrior, Ghazi et al., "Deep learning with label differential privacy", 2021, algorithm 3).
    """
    order = sorted(range(len(prior)), key=lambda name: (-prior[name], name))
    grown = math.exp(epsilon)
    true = [sum(prior[c] for c in order[:n]) * grown / (grown + n - 1) for n in range(1, len(order) + 1)]
    return tuple(order[: 1 + true.index(max(true))])


def answers(options: Options) -> Answers:
    """Among all classes, or the likeliest of the prior where these are fewer."""
    prior, epsilon = options["prior"], float(options["epsilon"])
    if prior is None:
        return Answers(epsilon)
    among = likeliest(prior, epsilon)
    return Answers(epsilon, len(prior), among if len(among) < len(prior) else ())


def promise_label_dp(options: Options) -> str:
    among = ", among the likeliest classes of a public prior" if options["prior"] else ""
    return (
        f"labels are ε = {options['epsilon']:g} differentially private: what training sends depends on them "
        f"only through answers that are drawn once per row by randomised response{among}"
    )


def _are_shares(value: Any) -> bool:
    share = number_within(-TINY, 1 + 1e-6)
    return isinstance(value, list) and all(map(share, value)) and abs(sum(value) - 1) <= 1e-6


PRIOR = ("a list of shares, one for each class, that are 1 together", _are_shares)

MECHANISM = Mechanism(
    "label_dp",
    "Draws an answer for each row's label once, by randomised response. The loss is that of the answer, "
    "by the probability that the model gives it. With a `prior`, a public share for each class, only the "
    "likeliest classes are answered.",
    {"epsilon": Option(*EPSILON, required=True), "prior": Option(*PRIOR)},
    frozenset({"labels"}), "labels", "proven", promise_label_dp, accounting="draw", answers=answers,
    suggests="label_dp(epsilon = {epsilon:g})",
)  # fmt: skip
