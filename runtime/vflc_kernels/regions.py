"""Which nodes of a graph can run as one: connected, and such that nothing between them lies outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

MOST_NODES = 3000
"""Of a graph: larger ones are left as they are, as the search takes a time that grows with the square."""


class Regions:
    """Nodes, taken in the order in which they run, each joined to regions of nodes that it reads.

    A region is known by the number of a node in it. Of each region stand the regions that it waits for, as
    the bits of a number, itself not among them.
    """

    def __init__(self) -> None:
        self.members: dict[int, list[int]] = {}
        self._region: list[int] = []
        self._waits: dict[int, int] = {}

    def add(self, read: Sequence[int], joins: Callable[[int], bool]) -> None:
        """Adds a node that reads what nodes `read` make; it joins their regions where it may and `joins`."""
        new = len(self._region)
        self._region.append(new)
        self.members[new] = [new]
        before = list(dict.fromkeys(self._region[node] for node in read))
        self._waits[new] = 0
        for region in before:
            self._waits[new] |= self._waits[region] | 1 << region
        for region in before:
            mine = self._region[new]
            if region != mine and joins(region) and self._apart(region, mine):
                self._join(region, mine)

    def _apart(self, a: int, b: int) -> bool:
        """Whether no third region waits for one of them while the other waits for it."""
        a_waits, b_waits, both = self._waits[a], self._waits[b], 1 << a | 1 << b
        between = (a_waits | b_waits) & ~both
        if not between:
            return True
        for other, waits in self._waits.items():
            if not (waits & both and between >> other & 1):
                continue
            if (waits >> a & b_waits >> other & 1) or (waits >> b & a_waits >> other & 1):
                return False
        return True

    def _join(self, a: int, b: int) -> None:
        """All of `b` becomes part of `a`."""
        waits = self._waits
        both = 1 << a | 1 << b
        waits[a] = (waits[a] | waits.pop(b)) & ~both
        members = self.members.pop(b)
        self.members[a] += members
        for node in members:
            self._region[node] = a
        for other in self.members:
            if waits[other] & both:
                waits[other] = (waits[other] | waits[a] | 1 << a) & ~(1 << b)
