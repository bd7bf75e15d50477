"""Fewer numbers of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.feedback import with_feedback
from vflc.ops.protection import BOTH, Applied, Drawing, Mechanism, Option, Packs, whole_within, width
from vflc.ops.registry import Options

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def top_k(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """The k numbers of a row that are largest in magnitude."""
    return with_feedback(b, row, draw, lambda x: b.op("keep_largest", x, k=min(options["k"], width(row))))


MECHANISM = Mechanism(
    "top_k",
    "Sends the `k` numbers of a row that are largest in magnitude, and adds the others to the row's next "
    "message.",
    {"k": Option("a whole number, 1 or more", whole_within(1, 2**24), required=True)},
    BOTH, "compression", "none",
    lambda o: f"at most {o['k']} numbers per row: compression, no privacy",
    top_k, joint=False, packs=Packs("top_k", lambda o, width: {"k": min(o["k"], width)}),
)  # fmt: skip
