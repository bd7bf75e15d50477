"""A sum of which no term is seen.

The runtime part, which masks it, is `vflc_runtime/protect/masks.py`.
"""

from __future__ import annotations

from vflc.ops.protection import Mechanism, Option, number_within

MECHANISM = Mechanism(
    "secure_sum",
    "Adds pairwise masks, so that the receiver sees the sum of two or more parties' values and none of "
    "the values; exact in fixed point for magnitudes up to `range`.",
    {"range": Option("a number above 0, below 2^41", number_within(0, 2.0**41), default=float(2**20))},
    frozenset({"activations"}), "sum", "partial",
    lambda o: "the receiver gets a sum with other parties' values and none of its terms; no bound on "
    "what a sum tells",
)  # fmt: skip
