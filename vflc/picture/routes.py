"""Arrows over several ranks, as chains of points that take part in the layout like narrow boxes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from vflc.picture.ranks import Arcs, RankedBox

GAP_OF_POINT = 10.0


class Layers(Struct):
    """Boxes and points by rank and column, and the steps of arrows from one rank to the next.

    Args:
        columns, widths, ranks: of each box, and behind the boxes of each point.
        steps: pairs of neighbours, the upper one first.
        chains: by arc all that it goes through, from the upper box to the lower one.
    """

    columns: list[int]
    widths: list[float]
    ranks: list[int]
    steps: Arcs
    chains: dict[tuple[int, int], list[int]]


def layers(boxes: Sequence[RankedBox], arcs: Arcs, found: list[int]) -> Layers:
    """Puts a point into each rank that an arc passes.

    Arcs to one box share their points, or those from one box where more leave it than reach the other: what
    many read, and what reads many, is drawn as one line that branches.
    """
    into, out = [0] * len(boxes), [0] * len(boxes)
    for source, target in arcs:
        out[source] += 1
        into[target] += 1
    made = Layers([box.column for box in boxes], [box.width for box in boxes], list(found), [], {})
    points: dict[tuple[bool, int, int, int], int] = {}
    steps: dict[tuple[int, int], None] = {}
    for source, target in arcs:
        forks = out[source] > into[target]
        at_border = boxes[target].column % 2 == 1  # it runs beside the boxes of the lane that it leaves
        column = boxes[source if at_border else target].column
        chain = [source]
        for rank in range(found[source] + 1, found[target]):
            key = (forks, source if forks else target, column, rank)
            if key not in points:
                points[key] = len(made.ranks)
                made.columns.append(column)
                made.widths.append(GAP_OF_POINT)
                made.ranks.append(rank)
            chain.append(points[key])
        chain.append(target)
        made.chains[source, target] = chain
        steps.update(dict.fromkeys(pairwise(chain)))
    made.steps = list(steps)
    return made
