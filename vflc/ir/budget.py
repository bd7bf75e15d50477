"""How large a model may get. A few lines can describe more than any machine holds.

A block that uses another twice, which uses another twice, … has as many operations as it pleases;
so every node is counted as it is made, before anything walks over them all.
"""

from __future__ import annotations

from msgspec import Struct

from vflc.ir.graph import Node

MOST_NODES = 100_000
"""Operations before differentiation."""
MOST_NUMBERS = 2**34
"""In all weights together: 64 GiB in float32."""
MOST_WIDTH = 2**22
"""Numbers of one value in one row: 16 MiB in float32."""
MOST_FLOWS = 2_000_000
"""Pairs of a value and a column that it is computed from."""
MOST_COLUMNS = 20_000
"""Of all parties together."""
MOST_TERMS = 100
"""Of the objective, and as many predictions."""
MOST_FREE = 5_000
"""Values next to one another whose place the spec leaves open."""


class TooLarge(Exception):
    """The model is larger than a budget allows: what is too large, and what to do."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.message = message
        self.help = help


class Budget(Struct):
    """What a model has used up."""

    nodes: int = 0
    numbers: int = 0
    flows: int = 0

    def spend(self, node: Node) -> None:
        """Counts a node.

        Raises:
            TooLarge: with it the model is beyond a limit.
        """
        self.nodes += 1
        self.flows += len(node.sources)
        size = 1
        for axis in node.type.row_axes:
            size *= axis.size or 1
        if node.op == "weight":
            self.numbers += size
        if self.nodes > MOST_NODES or self.flows > MOST_FLOWS or max(size, self.numbers) > MOST_WIDTH:
            self._refuse(node, size)

    def _refuse(self, node: Node, size: int) -> None:
        """Refuses a node of so many numbers a row that is beyond a limit; many are beyond none."""
        if self.nodes > MOST_NODES:
            help = "look for blocks and comprehensions that multiply"
            raise TooLarge(f"the model has more than {MOST_NODES:,} operations", help)
        if self.flows > MOST_FLOWS:
            message = f"there are more than {MOST_FLOWS:,} pairs of a value and a column it is computed from"
            raise TooLarge(message, "join columns all at once with concat or embed, not one after another")
        if size > MOST_WIDTH and node.type.batched:
            message = f"a value has {size:,} numbers a row; the limit is {MOST_WIDTH:,}"
            raise TooLarge(message, "make the layer or the embedding narrower")
        if max(size, self.numbers) > MOST_NUMBERS:
            bytes = f"{4 * max(size, self.numbers) / 2**30:,.0f} GiB"
            what = "the weights" if node.op == "weight" else f"{node.op} of weights"
            message = (
                f"{what} would take {bytes} in float32; the limit is {4 * MOST_NUMBERS / 2**30:,.0f} GiB"
            )
            raise TooLarge(message, "make layers, embeddings or their tables smaller")
