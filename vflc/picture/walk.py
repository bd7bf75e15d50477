"""A diagram as lines of a notation that draws by itself: a frame a place, then what crosses, then arrows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from vflc.picture.boxes import DiagramBox
from vflc.picture.folding import Diagram, DiagramArrow
from vflc.picture.letters import visible
from vflc.picture.sketch import NOWHERE


class Notation(Struct, frozen=True):
    """How a language writes the parts of a diagram.

    Args:
        frame: begins the frame of a place: its number and its name for people.
        end: ends it.
        box: its number and what it holds.
        arrow: between two boxes.
    """

    frame: Callable[[int, str], str]
    end: str
    box: Callable[[int, DiagramBox], str]
    arrow: Callable[[DiagramArrow], str]


def walk(drawn: Diagram, notation: Notation) -> Iterator[str]:
    """The lines of a diagram, indented."""
    for number, place in enumerate(drawn.places):
        yield f"  {notation.frame(number, 'not placed yet' if place == NOWHERE else visible(place))}"
        for index, box in enumerate(drawn.boxes):
            if box.place == place and box.to is None:
                yield f"    {notation.box(index, box)}"
        yield f"  {notation.end}"
    for index, box in enumerate(drawn.boxes):
        if box.to is not None:
            yield f"  {notation.box(index, box)}"
    for arrow in drawn.arrows:
        yield f"  {notation.arrow(arrow)}"


def label(box: DiagramBox) -> str:
    """What stands in a box, line by line."""
    return "\n".join(line.text for line in box.lines)
