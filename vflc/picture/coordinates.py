"""Where boxes stand in their column: near what they are joined to, in order, and apart from each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from vflc.picture.order import Cells
from vflc.picture.routes import Layers

BETWEEN = 16.0
"""The least space between two boxes of a rank, in pixels; half of it beside a point."""
SWEEPS = 8


def centres(made: Layers, cells: Cells, boxes: int) -> list[float]:
    """The middle of each box and point, from the left edge of its column on.

    Each rank is set to the positions, least squares, that are nearest to the mean of neighbours' and keep
    their distance; up and down in turn.

    Args:
        made: what there is.
        cells: in which order it stands.
        boxes: how many boxes there are; what comes behind them are points.
    """
    near: list[list[list[int]]] = [[[], []] for _ in made.ranks]
    for upper, lower in made.steps:
        if made.columns[upper] == made.columns[lower]:
            near[lower][0].append(upper)
            near[upper][1].append(lower)
    x = [0.0] * len(made.ranks)
    for members in cells.values():
        gaps = _distances(made, members, boxes)
        for index, each in enumerate(members):
            x[each] = (x[members[index - 1]] + gaps[index - 1]) if index else 0.0
        middle = (x[members[0]] + x[members[-1]]) / 2
        for each in members:
            x[each] -= middle
    most: dict[int, float] = {}  # a column gets no wider for what would like to stand further out
    for (_, column), members in cells.items():
        most[column] = max(most.get(column, 0.0), x[members[-1]])
    for sweep in range(SWEEPS):
        side = sweep % 2
        for cell in sorted(cells, reverse=bool(side)):
            members = cells[cell]
            wanted, weights = [], []
            for each in members:
                others = near[each][side] or near[each][1 - side]
                mean = sum(x[other] for other in others) / len(others) if others else x[each]
                wanted.append(min(max(mean, -most[cell[1]]), most[cell[1]]))
                weights.append((8.0 if each >= boxes else 1.0) if others else 0.05)
            found = nearest(wanted, weights, _distances(made, members, boxes))
            for each, value in zip(members, found, strict=True):
                x[each] = value
    left: dict[int, float] = {}
    for each, column in enumerate(made.columns):
        edge = x[each] - made.widths[each] / 2
        left[column] = min(left.get(column, edge), edge)
    return [value - left[column] for value, column in zip(x, made.columns, strict=True)]


def _distances(made: Layers, members: Sequence[int], boxes: int) -> list[float]:
    """How far the middles of neighbours are apart at least."""
    return [
        (made.widths[one] + made.widths[other]) / 2 + (BETWEEN if max(one, other) < boxes else BETWEEN / 2)
        for one, other in pairwise(members)
    ]


def nearest(wanted: Sequence[float], weights: Sequence[float], apart: Sequence[float]) -> list[float]:
    """Positions in order, each at least so far from the one before, nearest to what is wanted.

    Least squares with weights: isotonic regression by pooling adjacent violators (Barlow and others 1972).
    """
    shift, total = [], 0.0
    for index in range(len(wanted)):
        total += apart[index - 1] if index else 0.0
        shift.append(total)
    pools: list[list[float]] = []  # mean, weight, how many
    for value, weight, moved in zip(wanted, weights, shift, strict=True):
        pools.append([value - moved, weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, heavy, count = pools.pop()
            last = pools[-1]
            last[0] = (last[0] * last[1] + mean * heavy) / (last[1] + heavy)
            last[1] += heavy
            last[2] += count
    flat = [mean for mean, _, count in pools for _ in range(int(count))]
    return [value + moved for value, moved in zip(flat, shift, strict=True)]
