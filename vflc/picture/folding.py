"""Which blocks are folded, and the boxes and arrows that a sketch becomes with them."""

from __future__ import annotations

from collections.abc import Sequence, Set

from msgspec import Struct
from msgspec.structs import replace

from vflc.picture.boxes import DiagramBox, crossing_box, value_box
from vflc.picture.sketch import CrossingValue, DrawnValue, Sketch

MOST = 24
"""So many boxes a picture has before blocks stay folded."""


class DiagramArrow(Struct, frozen=True):
    """From one box to another, by their numbers; `back` where a gradient comes back, too."""

    source: int
    target: int
    crosses: bool = False
    back: bool = False


class Diagram(Struct, frozen=True):
    """Boxes and arrows without positions.

    Args:
        folded: the blocks that were folded, also within others.
        blocks: all that can be.
    """

    model: str
    places: tuple[str, ...]
    boxes: tuple[DiagramBox, ...]
    arrows: tuple[DiagramArrow, ...]
    folded: frozenset[str]
    blocks: frozenset[str]


def folded_by_default(sketch: Sketch, most: int = MOST) -> frozenset[str]:
    """Blocks that stay folded: the outermost are unfolded first, of equals the smaller, to `most` boxes."""
    inside: dict[str, set[tuple[str, str]]] = {}
    at: dict[str, set[str]] = {}
    depth: dict[str, int] = {}
    parent: dict[str, str] = {}
    shown: set[tuple[str, str]] = set()
    for value in sketch.values:
        chain = value.blocks
        for number, block in enumerate(chain):
            child = chain[number + 1] if number + 1 < len(chain) else f"={value.id}"
            inside.setdefault(block, set()).add((value.place, child))
            at.setdefault(block, set()).add(value.place)
            depth[block] = number
            if number:
                parent[block] = chain[number - 1]
        shown.add((value.place, chain[0] if chain else f"={value.id}"))
    count, folded = len(shown), set(inside)
    adds = {block: len(members) - len(at[block]) for block, members in inside.items()}
    for block in sorted(inside, key=lambda block: (depth[block], adds[block], block)):
        if parent.get(block) not in folded and count + adds[block] <= most:
            folded.remove(block)
            count += adds[block]
    return frozenset(folded)


def diagram(sketch: Sketch, folded: Set[str] | None = None) -> Diagram:
    """Boxes and arrows; `folded` are ids of blocks, None for those that are by default."""
    blocks = frozenset(block for value in sketch.values for block in value.blocks)
    closed = folded_by_default(sketch) if folded is None else blocks & folded
    members: dict[tuple[str, str], list[DrawnValue]] = {}
    key_of: dict[str, tuple[str, str]] = {}
    for value in sketch.values:
        block = next((block for block in value.blocks if block in closed), None)
        key_of[value.id] = key = (value.place, f"={value.id}" if block is None else block)
        members.setdefault(key, []).append(value)
    boxes = [value_box(sketch, key[1], values) for key, values in members.items()]
    number = {key: index for index, key in enumerate(members)}
    box_of = {name: number[key] for name, key in key_of.items()}
    arrows: dict[tuple[int, int], DiagramArrow] = {}
    borders = _borders(sketch, box_of, boxes)
    border_of: dict[tuple[int, str], int] = {}
    for (source, home, target), carried in borders.items():
        if source is not None:
            border_of[source, target] = len(boxes)
            back = any(each.backward for each in carried)
            arrows[source, len(boxes)] = DiagramArrow(source, len(boxes), True, back)
        boxes.append(crossing_box(sketch, home, target, carried))
    for name, reader in sketch.reads:
        start, end = box_of[name], box_of[reader]
        if start == end:
            continue
        apart = boxes[start].place != boxes[end].place
        border = border_of.get((start, boxes[end].place)) if apart else None
        first = start if border is None else border
        arrows.setdefault((first, end), DiagramArrow(first, end, border is not None))
    return Diagram(sketch.model, sketch.places, tuple(boxes), tuple(arrows.values()), closed, blocks)


def _borders(
    sketch: Sketch, box_of: dict[str, int], boxes: Sequence[DiagramBox]
) -> dict[tuple[int | None, str, str], list[CrossingValue]]:
    """What crosses from a box, of a place, to a place, with the gradients that come back to it from there.

    What is no drawn value, as a count, is shown at the border all the same, behind no box.
    """
    found: dict[tuple[int | None, str, str], list[CrossingValue]] = {}
    for each in sorted(sketch.crossings, key=lambda each: each.backward):
        home, other = (each.target, each.source) if each.backward else (each.source, each.target)
        box = box_of.get(each.value or "")
        if (
            box is not None
            and boxes[box].place == home
            and (not each.backward or (box, home, other) in found)
        ):
            found.setdefault((box, home, other), []).append(each)
        else:
            found.setdefault((None, each.source, each.target), []).append(replace(each, backward=False))
    return found
