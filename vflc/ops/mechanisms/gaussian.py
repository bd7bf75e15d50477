"""Noise by which what crosses of a row is differentially private."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.noise import NOISE, check_noise, told
from vflc.ops.protection import BOTH, Applied, Draw, Drawing, Mechanism, Option, clipped, whole_within, width
from vflc.ops.registry import Options

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

PASSES = 2
"""Passes of evaluation or prediction that noise on an activation is enough for where nothing is said."""


def gaussian(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """Clipping holds always, noise in training, and outside of it where `passes` says so."""
    short = clipped(b, row, options["clip"])
    scale = None if options["noise"] is None else options["noise"] * options["clip"]
    noisy = b.op("add", short, draw(Draw("normal", scale), width(row)))
    return Applied(noisy, short if options["passes"] is None else noisy)


def promise_gaussian(options: Options) -> str:
    passes = options["passes"]
    span, further = "in training", ""
    if passes is not None:
        later = f" and {passes} pass{'es' * (passes != 1)} of evaluation or prediction" * (passes > 0)
        span = f"in training, its validation{later}"
        further = f"; each{' further' * (passes > 0)} pass sends one more message of each row"
    return (
        f"a row's own messages {span} are {told(options)} differentially private: joint rows are "
        f"clipped to an L2 norm of {options['clip']:g}, and Gaussian noise is added{further}"
    )


MECHANISM = Mechanism(
    "gaussian",
    "Clips each joint row to an L2 norm and adds Gaussian noise, so that the row's own messages are "
    "differentially private. Give `epsilon` and `delta`, or the `noise` as a multiple of `clip`; "
    "calibration stops at a noise of `limit`. On an activation, noise is added in all phases, enough for "
    f"the epochs and for `passes` passes of evaluation or prediction ({PASSES} by default); `in training` "
    "limits it to training.",
    NOISE | {"passes": Option("a whole number, 0 or more", whole_within(0, 2**20))}, BOTH, "noise",
    "proven", promise_gaussian, gaussian, accounting="messages", check=check_noise("gaussian"), passes=PASSES,
    suggests="gaussian(clip = 1.0, epsilon = {epsilon:g})",
)  # fmt: skip
