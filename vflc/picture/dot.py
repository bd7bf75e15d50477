"""A diagram for Graphviz: `dot -Tsvg`."""

from __future__ import annotations

from collections.abc import Iterator

from vflc.picture.boxes import DiagramBox
from vflc.picture.folding import Diagram
from vflc.picture.letters import visible
from vflc.picture.sketch import NOWHERE

STYLES = {"block": "bold", "crossing": "dashed", "prediction": "rounded", "loss": "rounded"}
"""How boxes look, by their kind; others are plain."""


def dot(drawn: Diagram) -> str:
    """A digraph: a cluster for each place, and what crosses between them."""
    head = f"digraph {_text(visible(drawn.model))} {{"
    return "\n".join([head, *_lines(drawn), "}"]) + "\n"


def _lines(drawn: Diagram) -> Iterator[str]:
    yield '  node [fontname="Helvetica", fontsize=10, shape=box];'
    for number, place in enumerate(drawn.places):
        name = _text("not placed yet" if place == NOWHERE else visible(place))
        yield f"  subgraph cluster_{number} {{ label={name};"
        for index, box in enumerate(drawn.boxes):
            if box.place == place and box.to is None:
                yield f"    {_box(index, box)}"
        yield "  }"
    for index, box in enumerate(drawn.boxes):
        if box.to is not None:
            yield f"  {_box(index, box)}"
    for arrow in drawn.arrows:
        style = ["style=bold"] * arrow.crosses + ["dir=both"] * arrow.back
        yield f"  box{arrow.source} -> box{arrow.target}" + (f" [{', '.join(style)}];" if style else ";")


def _box(index: int, box: DiagramBox) -> str:
    style = f", style={STYLES[box.kind]}" if box.kind in STYLES else ""
    return f"box{index} [label={_text(chr(10).join(line.text for line in box.lines))}{style}];"


def _text(text: str) -> str:
    r"""A quoted string: a backslash is one, and a new line is `\n`."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
