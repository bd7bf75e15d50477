"""In which order boxes stand in a rank, so that few arrows cross (Sugiyama, Tagawa and Toda 1981)."""

from __future__ import annotations

from bisect import bisect_left

from vflc.picture.routes import Layers

SWEEPS = 6

Cells = dict[tuple[int, int], list[int]]
"""By rank and column the boxes and points that stand there, from left to right."""


def ordered(made: Layers) -> Cells:
    """The best order that sweeps by the mean of neighbours' positions find; columns stay where they are."""
    cells: Cells = {}
    for each, (rank, column) in enumerate(zip(made.ranks, made.columns, strict=True)):
        cells.setdefault((rank, column), []).append(each)
    above: list[list[int]] = [[] for _ in made.ranks]
    below: list[list[int]] = [[] for _ in made.ranks]
    for upper, lower in made.steps:
        above[lower].append(upper)
        below[upper].append(lower)
    at = [0.0] * len(made.ranks)
    for cell in cells:
        _number(cells, cell, at)
    best, fewest = {cell: list(members) for cell, members in cells.items()}, _crossings(cells, below, at)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        towards = above if down else below
        for cell in sorted(cells, reverse=not down):
            _sort(cells, cell, towards, at)
        count = _crossings(cells, below, at)
        if count < fewest:
            best, fewest = {cell: list(members) for cell, members in cells.items()}, count
    return best


def _number(cells: Cells, cell: tuple[int, int], at: list[float]) -> None:
    """Positions that can be compared between ranks: the column, and in it a share of its width."""
    members = cells[cell]
    for index, each in enumerate(members):
        at[each] = cell[1] + (index + 0.5) / len(members)


def _sort(cells: Cells, cell: tuple[int, int], towards: list[list[int]], at: list[float]) -> None:
    def wanted(each: int) -> float:
        near = towards[each]
        return sum(at[other] for other in near) / len(near) if near else at[each]

    cells[cell].sort(key=wanted)
    _number(cells, cell, at)


def _crossings(cells: Cells, below: list[list[int]], at: list[float]) -> int:
    """How many pairs of steps cross."""
    ranks: dict[int, list[int]] = {}
    for rank, column in sorted(cells):
        ranks.setdefault(rank, []).extend(cells[rank, column])
    count = 0
    for members in ranks.values():
        seen: list[float] = []
        for each in members:
            ends = sorted(at[other] for other in below[each])
            for end in ends:
                count += len(seen) - bisect_left(seen, end + 1e-9)
            for end in ends:
                seen.insert(bisect_left(seen, end), end)
    return count
