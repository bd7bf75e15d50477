"""Noise of one size on every number, whatever the numbers are: no theorem bounds what it lets through."""

from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops.protection import BOTH, POSITIVE, Applied, Draw, Drawing, Mechanism, Option, width
from vflc.ops.registry import Options


def apply(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """A row [rows, n] with n numbers drawn anew for each row in training; as it is outside of training."""
    noise = draw(Draw("normal", options["scale"]), width(row))
    return Applied(training=b.op("add", row, noise), inference=row)


MECHANISM = Mechanism(
    name="jitter",
    doc="Adds Gaussian noise of the deviation `scale` to every number.",
    options={"scale": Option(*POSITIVE, required=True)},
    applies=BOTH,
    role="noise",
    privacy="none",
    promise=lambda options: f"numbers carry noise of {options['scale']:g}; no bound on what leaks",
    apply=apply,
)
