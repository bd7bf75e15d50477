"""A diagram as Mermaid text, as GitHub and many editors show it. Names are text in it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from vflc.picture.boxes import DiagramBox
from vflc.picture.folding import Diagram
from vflc.picture.sketch import NOWHERE

SHAPES = {"block": ("[[", "]]"), "crossing": ("{{", "}}"), "prediction": ("([", "])"), "loss": ("([", "])")}
"""How boxes look, by their kind; others are rectangles."""
_ENTITIES = {'"': "#quot;", "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\\": "#92;"}


def mermaid(drawn: Diagram) -> str:
    """A flowchart: a subgraph for each place, and what crosses between them."""
    return "\n".join(["flowchart TB", *_lines(drawn)]) + "\n"


def _lines(drawn: Diagram) -> Iterator[str]:
    for number, place in enumerate(drawn.places):
        yield f"  subgraph place{number}[{_text('not placed yet' if place == NOWHERE else place)}]"
        for index, box in enumerate(drawn.boxes):
            if box.place == place and box.to is None:
                yield f"    {_box(index, box)}"
        yield "  end"
    for index, box in enumerate(drawn.boxes):
        if box.to is not None:
            yield f"  {_box(index, box)}"
    for arrow in drawn.arrows:
        line = "<==>" if arrow.back else "==>" if arrow.crosses else "-->"
        yield f"  box{arrow.source} {line} box{arrow.target}"


def _box(index: int, box: DiagramBox) -> str:
    before, after = SHAPES.get(box.kind, ("[", "]"))
    return f"box{index}{before}{_text(chr(10).join(line.text for line in box.lines))}{after}"


def _text(text: str) -> str:
    return f'"{"".join(_ENTITIES.get(char, char) for char in text).replace(chr(10), "<br>")}"'
