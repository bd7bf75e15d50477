"""A diagram for Graphviz: `dot -Tsvg`."""

from __future__ import annotations

from vflc.picture.boxes import DiagramBox
from vflc.picture.folding import Diagram, DiagramArrow
from vflc.picture.letters import visible
from vflc.picture.walk import Notation, label, walk

STYLES = {"block": "bold", "crossing": "dashed", "prediction": "rounded", "loss": "rounded"}
"""How boxes look, by their kind; others are plain."""


def dot(drawn: Diagram) -> str:
    """A digraph: a cluster for each place, and what crosses between them."""
    notation = Notation(_cluster, "}", _box, _arrow)
    head = f"digraph {_text(visible(drawn.model))} {{"
    font = '  node [fontname="Helvetica", fontsize=10, shape=box];'
    return "\n".join([head, font, *walk(drawn, notation), "}"]) + "\n"


def _cluster(number: int, name: str) -> str:
    return f"subgraph cluster_{number} {{ label={_text(name)};"


def _box(index: int, box: DiagramBox) -> str:
    style = f", style={STYLES[box.kind]}" if box.kind in STYLES else ""
    return f"box{index} [label={_text(label(box))}{style}];"


def _arrow(arrow: DiagramArrow) -> str:
    style = ["style=bold"] * arrow.crosses + ["dir=both"] * arrow.back
    return f"box{arrow.source} -> box{arrow.target}" + (f" [{', '.join(style)}];" if style else ";")


def _text(text: str) -> str:
    r"""A quoted string: a backslash is one, and a new line is `\n`."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
