"""A diagram as Mermaid text, as GitHub and many editors show it. Names are text in it, and nothing else."""

from __future__ import annotations

from vflc.picture.boxes import DiagramBox
from vflc.picture.folding import Diagram, DiagramArrow
from vflc.picture.walk import Notation, label, walk

SHAPES = {"block": ("[[", "]]"), "crossing": ("{{", "}}"), "prediction": ("([", "])"), "loss": ("([", "])")}
"""How boxes look, by their kind; others are rectangles."""
_ENTITIES = {'"': "#quot;", "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\\": "#92;"}


def mermaid(drawn: Diagram) -> str:
    """A flowchart: a subgraph for each place, and what crosses between them."""
    notation = Notation(lambda number, name: f"subgraph place{number}[{_text(name)}]", "end", _box, _arrow)
    return "\n".join(["flowchart TB", *walk(drawn, notation)]) + "\n"


def _box(index: int, box: DiagramBox) -> str:
    before, after = SHAPES.get(box.kind, ("[", "]"))
    return f"box{index}{before}{_text(label(box))}{after}"


def _arrow(arrow: DiagramArrow) -> str:
    line = "<==>" if arrow.back else "==>" if arrow.crosses else "-->"
    return f"box{arrow.source} {line} box{arrow.target}"


def _text(text: str) -> str:
    return f'"{"".join(_ENTITIES.get(char, char) for char in text).replace(chr(10), "<br>")}"'
