"""Norms that are alike in expectation, against label leakage (Li et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.protection import GRADIENTS, TINY, Applied, Draw, Drawing, Mechanism
from vflc.ops.registry import Options
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def max_norm(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """Noise along the gradient, so that the norms of all rows are the largest one in expectation."""
    square = b.op("sum", b.op("square", row), axes=(1,), keep=True)
    largest = b.op("max", square, axes=(0, 1), keep=False)
    least = b.op("add", b.op("mul", largest, number(b, 1e-12)), number(b, TINY))
    missing = b.op("sub", b.op("div", largest, b.op("maximum", square, least)), number(b, 1))
    spread = b.op("sqrt", b.op("maximum", missing, number(b, 0)))
    noisy = b.op("add", row, b.op("mul", row, b.op("mul", spread, draw(Draw("normal"), 1))))
    return Applied(noisy, row)


MECHANISM = Mechanism(
    "max_norm",
    "Adds noise along each gradient, so that the expected squared norm of each, unless it is 0 or nearly "
    "so, is the largest squared norm of the batch.",
    {}, GRADIENTS, "noise", "partial",
    lambda o: "the gradients of a batch have the same expected squared norm, unless they are 0 or "
    "nearly so; no bound on what leaks",
    max_norm,
)  # fmt: skip
