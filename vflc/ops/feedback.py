"""What compression leaves out of a row's message goes into its next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vflc.ops.protection import Applied, Draw, Drawing, width

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def with_feedback(b: Build, row: Node, draw: Drawing, compress: Callable[[Node], Node]) -> Applied:
    """What a message leaves out of a row is added to the row's next message.

    Error feedback (Stich et al., "Sparsified SGD with memory", 2018), with a memory for each row as
    rows are what cross here (Valdeira et al., "Communication-efficient vertical federated learning
    via compressed error feedback", 2024). Gradients flow as if nothing were left out.
    """
    full = b.op("add", row, draw(Draw("memory"), width(row)))
    sent = b.op("stop_gradient", compress(full))
    kept = b.op("sub", b.op("stop_gradient", full), sent)
    return Applied(_straight(b, sent, row), _straight(b, b.op("stop_gradient", compress(row)), row), kept)


def _straight(b: Build, value: Node, like: Node) -> Node:
    """The first value to the bit, with the gradient going to the second: x - x is 0."""
    return b.op("add", value, b.op("sub", like, b.op("stop_gradient", like)))
