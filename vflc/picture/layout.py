"""A diagram with positions: a lane a place, from left to right, what reads below what is read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from msgspec import Struct

from vflc.picture.boxes import TITLE, DiagramBox
from vflc.picture.coordinates import centres
from vflc.picture.folding import Diagram, DiagramArrow
from vflc.picture.letters import shortened, visible, width
from vflc.picture.order import ordered
from vflc.picture.ranks import RankedBox, ranks, without_cycles
from vflc.picture.routes import Layers, layers
from vflc.picture.sketch import NOWHERE

MARGIN, HEAD, PAD = 8.0, 34.0, 14.0
"""Around the picture; of a lane's name; beside the boxes of a lane."""
LINE = {"title": 16.0, "detail": 14.0, "known": 14.0, "lacking": 14.0}
"""How high a line of text is, by its style."""
BESIDE, ABOVE = 10.0, 5.0
"""Between the edge of a box and its text."""
NARROWEST = 64.0
SHEET, SIGN = 3.0, 24.0
"""Of a folded block: how far its second sheet looks out, and the room for the sign that it unfolds."""
PAGE = 1200.0
"""A width that lanes together keep to, if they have few boxes."""
CHANNEL, DEEPEST = 26.0, 90.0
"""How much space is between two ranks."""


class PlacedBox(Struct, frozen=True):
    """A box with the upper left corner at `x`, `y`; each of its lines begins `BESIDE` its edge."""

    box: DiagramBox
    x: float
    y: float
    width: float
    height: float
    rank: int


class Swimlane(Struct, frozen=True):
    """A place's lane."""

    place: str
    title: str
    x: float
    width: float


class PlacedArrow(Struct, frozen=True):
    """From a box to another, by their numbers, as the text of an SVG path.

    Args:
        heads: points, each with whether its arrowhead points upwards.
    """

    arrow: DiagramArrow
    path: str
    heads: tuple[tuple[float, float, bool], ...]


class LaidOut(Struct, frozen=True):
    """A picture: everything has its place within `width` and `height`."""

    diagram: Diagram
    lanes: tuple[Swimlane, ...]
    boxes: tuple[PlacedBox, ...]
    arrows: tuple[PlacedArrow, ...]
    width: float
    height: float


def lay_out(drawn: Diagram) -> LaidOut:
    """Gives everything in a diagram a position; takes time in proportion to boxes and what arrows pass."""
    order = lane_order(drawn)
    number = {place: 2 * index for index, place in enumerate(order)}
    boxes = [_sized(box, number) for box in drawn.boxes]
    arcs, turned = without_cycles(len(boxes), [(arrow.source, arrow.target) for arrow in drawn.arrows])
    found = ranks(boxes, arcs, _widest(boxes, len(order)))
    made = layers(boxes, arcs, found)
    x = centres(made, ordered(made), len(boxes))
    lanes, left, total = _columns(drawn, order, made, x)
    x = [value + left[column] for value, column in zip(x, made.columns, strict=True)]
    ports = _Ports(made, x, boxes)
    tops, bottoms = _heights(made, boxes, ports)
    placed = tuple(
        PlacedBox(box, x[n] - each.width / 2, tops[made.ranks[n]], each.width, each.height, made.ranks[n])
        for n, (box, each) in enumerate(zip(drawn.boxes, boxes, strict=True))
    )
    arrows = []
    for arrow in drawn.arrows:
        ends = (arrow.source, arrow.target)
        back = ends[::-1] in turned and ends[::-1] in made.chains
        if ends in made.chains or back:
            chain = made.chains[ends[::-1] if back else ends]
            first, last = placed[chain[0]], placed[chain[-1]]
            upper = (ports.out[chain[0], chain[1]], first.y + first.height, True)
            lower = (ports.into[chain[-2], chain[-1]], last.y, False)
            heads = (*[upper] * (back or arrow.back), *[lower] * (not back or arrow.back))
            arrows.append(PlacedArrow(arrow, ports.path(chain, upper[1], first.rank, tops, bottoms), heads))
    height = (bottoms[-1] if bottoms else MARGIN + HEAD) + PAD + MARGIN
    return LaidOut(drawn, tuple(lanes), placed, tuple(arrows), total, height)


def lane_order(drawn: Diagram) -> list[str]:
    """Places from left to right: as the spec has them, but who sends each other much side by side."""
    order = list(drawn.places)
    weight: dict[frozenset[str], int] = {}
    for box in drawn.boxes:
        if box.to is not None and box.to != box.place:
            pair = frozenset((box.place, box.to))
            weight[pair] = weight.get(pair, 0) + 1

    def cost() -> int:
        at = {place: index for index, place in enumerate(order)}
        return sum(count * abs(at[a] - at[b]) for (a, b), count in ((tuple(p), c) for p, c in weight.items()))

    least = cost()
    better = True
    while better and len(order) <= 40:
        better = False
        for one in range(len(order) - 1):
            order[one], order[one + 1] = order[one + 1], order[one]
            now = cost()
            if now < least:
                least, better = now, True
            else:
                order[one], order[one + 1] = order[one + 1], order[one]
    return order


def _sized(box: DiagramBox, number: dict[str, int]) -> RankedBox:
    column = number[box.place]
    if box.to is not None:
        column += 1 if number[box.to] > column else -1
    wide = max(NARROWEST, *(line.width + 2 * BESIDE for line in box.lines))
    high = sum(LINE[line.style] for line in box.lines) + 2 * ABOVE
    if box.folded:  # room for the sign, and for the edge of a second sheet
        wide, high = max(wide, box.lines[0].width + BESIDE + SIGN) + SHEET, high + SHEET
    return RankedBox(column, wide, high, box.kind in ("label", "weight"))


def _widest(boxes: Sequence[RankedBox], lanes: int) -> dict[int, float]:
    """Lanes share a page; one of many boxes is about as wide as it is high."""
    area: dict[int, float] = {}
    for box in boxes:
        area[box.column] = area.get(box.column, 0.0) + (box.width + 16) * (box.height + 40)
    base = max(2 * 190.0, PAGE / max(lanes, 1) - 100)
    return {
        column: max(base, sqrt(size)) if column % 2 == 0 else max(240.0, sqrt(size) / 2)
        for column, size in area.items()
    }


def _columns(
    drawn: Diagram, order: Sequence[str], made: Layers, x: Sequence[float]
) -> tuple[list[Swimlane], dict[int, float], float]:
    """The lanes, where the columns begin, and how wide everything is."""
    wide: dict[int, float] = {}
    for value, half, column in zip(x, made.widths, made.columns, strict=True):
        wide[column] = max(wide.get(column, 0.0), value + half / 2)
    lanes, left, at = [], {}, MARGIN
    for index, place in enumerate(order):
        title = shortened(visible("not placed yet" if place == NOWHERE else place), 300.0, TITLE + 1, True)
        room = max(wide.get(2 * index, 0.0), width(title, TITLE + 1, True), NARROWEST)
        left[2 * index] = at + PAD + (room - wide.get(2 * index, room)) / 2
        lanes.append(Swimlane(place, title, at, room + 2 * PAD))
        at += room + 2 * PAD
        if index + 1 < len(order):
            left[2 * index + 1] = at + PAD
            at += wide[2 * index + 1] + 2 * PAD if 2 * index + 1 in wide else PAD
    return lanes, left, at + MARGIN


def _heights(made: Layers, boxes: Sequence[RankedBox], ports: _Ports) -> tuple[list[float], list[float]]:
    """Upper and lower edge of each rank. Where arrows go far to the side, ranks are further apart."""
    count = max(made.ranks, default=-1) + 1
    high = [0.0] * count
    for box, rank in zip(boxes, made.ranks, strict=False):
        high[rank] = max(high[rank], box.height)
    aside = [0.0] * count
    far = [0] * count
    for upper, lower in made.steps:
        rank = made.ranks[upper]
        moved = abs(ports.into[upper, lower] - ports.out[upper, lower])
        aside[rank] = max(aside[rank], moved)
        far[rank] += moved > 100
    tops, bottoms, at = [], [], MARGIN + HEAD + ABOVE
    for rank in range(count):
        tops.append(at)
        bottoms.append(at + high[rank])
        at = bottoms[-1] + min(CHANNEL + aside[rank] * 0.05 + far[rank] * 2, DEEPEST)
    return tops, bottoms


class _Ports:
    """Where arrows leave and reach boxes: side by side in the order of where they come from and go to."""

    def __init__(self, made: Layers, x: Sequence[float], boxes: Sequence[RankedBox]) -> None:
        self._x = x
        self._boxes = boxes
        below: list[list[int]] = [[] for _ in x]
        above: list[list[int]] = [[] for _ in x]
        for upper, lower in made.steps:
            below[upper].append(lower)
            above[lower].append(upper)
        self.out: dict[tuple[int, int], float] = {}
        self.into: dict[tuple[int, int], float] = {}
        for each in range(len(x)):
            for other, port in self._spread(each, below[each]):
                self.out[each, other] = port
            for other, port in self._spread(each, above[each]):
                self.into[other, each] = port

    def _spread(self, each: int, others: list[int]) -> list[tuple[int, float]]:
        middle = self._x[each]
        if each >= len(self._boxes):
            return [(other, middle) for other in others]
        half = self._boxes[each].width / 2 - 10
        others = sorted(others, key=lambda other: self._x[other])
        if len(others) == 1:
            return [(others[0], min(max(self._x[others[0]], middle - half), middle + half))]
        gap = min(14.0, 2 * half / max(len(others) - 1, 1))
        first = middle - gap * (len(others) - 1) / 2
        return [(other, first + gap * index) for index, other in enumerate(others)]

    def path(
        self, chain: Sequence[int], start: float, rank: int, tops: Sequence[float], bottoms: Sequence[float]
    ) -> str:
        """Down beside the boxes of each rank, and in curves between ranks."""
        parts = [f"M{self.out[chain[0], chain[1]]:.1f} {start:.1f}"]
        for upper, lower in pairwise(chain):
            x, to = self.out[upper, lower], self.into[upper, lower]
            low, high = bottoms[rank], tops[rank + 1]
            if abs(x - to) < 0.5:
                parts.append(f"V{high:.1f}")
            else:
                half = (low + high) / 2
                parts.append(f"V{low:.1f}C{x:.1f} {half:.1f} {to:.1f} {half:.1f} {to:.1f} {high:.1f}")
            rank += 1
        return "".join(parts)
