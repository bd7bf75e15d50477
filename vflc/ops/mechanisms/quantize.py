"""Fewer bits for a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.feedback import with_feedback
from vflc.ops.protection import BOTH, TINY, Applied, Drawing, Mechanism, Option, Packs, whole_within
from vflc.ops.registry import Options
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

PER = ("row", "batch")


def quantize(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """Numbers on the grid of their row or of the whole batch."""
    on_grid = _grid_of_row if options["per"] == "row" else _grid_of_batch
    return with_feedback(b, row, draw, lambda x: on_grid(b, x, options["bits"]))


def _grid_of_row(b: Build, x: Node, bits: int) -> Node:
    """2^bits - 1 points from minus to plus the row's largest magnitude."""
    levels = number(b, 2 ** (bits - 1) - 1)
    top = b.op("maximum", b.op("max", b.op("abs", x), axes=(1,), keep=True), number(b, TINY))
    return b.op("mul", top, b.op("div", _rounded(b, b.op("mul", b.op("div", x, top), levels)), levels))


def _grid_of_batch(b: Build, x: Node, bits: int) -> Node:
    """2^bits points from the batch's least number to its largest, both of which are kept to the bit."""
    levels = number(b, 2**bits - 1)
    low = b.op("neg", b.op("max", b.op("neg", x), axes=(0, 1), keep=False))
    high = b.op("max", x, axes=(0, 1), keep=False)
    width = b.op("maximum", b.op("sub", high, low), number(b, TINY))
    steps = _rounded(b, b.op("mul", b.op("div", b.op("sub", x, low), width), levels))
    share = b.op("div", steps, levels)
    return b.op("add", b.op("mul", low, b.op("sub", number(b, 1), share)), b.op("mul", high, share))


def _rounded(b: Build, x: Node) -> Node:
    return b.op("floor", b.op("add", x, number(b, 0.5)))


def alone_in_its_row(options: Options, width: int) -> str | None:
    """A number that is alone in its row is the row's largest magnitude, which crosses unchanged."""
    if width > 1 or options["per"] != "row":
        return None
    return f"scale per batch: quantize({options['bits']}, per = batch)"


MECHANISM = Mechanism(
    "quantize",
    "Rounds each number to `bits` bits, on a grid `per` row or batch, and adds what was lost to the row's "
    "next message.",
    {
        "bits": Option("a whole number from 2 to 16", whole_within(2, 16), required=True),
        "per": Option("row or batch", lambda v: v in PER, default="row", words=PER),
    },
    BOTH, "compression", "none",
    lambda o: f"numbers of {o['bits']} bits: compression, no privacy"
    + ("; the smallest and the largest number of the batch cross, and every number that is "
       "received depends on them" if o["per"] == "batch" else ""),
    quantize, joint=False, useless=alone_in_its_row,
    packs=Packs("quantize", lambda o, width: {"bits": o["bits"]}, lambda o: o["per"] == "batch"),
)  # fmt: skip
