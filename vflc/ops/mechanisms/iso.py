"""Isotropic noise, against label leakage (Li et al. 2022)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vflc.ops.protection import GRADIENTS, POSITIVE, Applied, Draw, Drawing, Mechanism, Option, width
from vflc.ops.registry import Options
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def iso(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """Isotropic noise whose expected norm is `scale` times the largest norm of the batch."""
    square = b.op("sum", b.op("square", row), axes=(1,), keep=True)
    largest = b.op("sqrt", b.op("max", square, axes=(0, 1), keep=False))
    spread = b.op("mul", largest, number(b, options["scale"] / math.sqrt(width(row))))
    return Applied(b.op("add", row, b.op("mul", draw(Draw("normal"), width(row)), spread)), row)


MECHANISM = Mechanism(
    "iso",
    "Adds isotropic Gaussian noise; its root mean square norm is `scale` times the batch's largest norm.",
    {"scale": Option(*POSITIVE, required=True)},
    GRADIENTS, "noise", "partial",
    lambda o: f"each gradient carries noise of {o['scale']:g} times the batch's largest norm; "
    "no bound on what leaks",
    iso,
)  # fmt: skip
