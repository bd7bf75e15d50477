"""The forms in which a picture is written to a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

from vflc.picture.dot import dot
from vflc.picture.folding import diagram
from vflc.picture.html import html
from vflc.picture.layout import lay_out
from vflc.picture.mermaid import mermaid
from vflc.picture.sketch import Sketch
from vflc.picture.svg import svg

Folded = Set[str] | None
FORMATS: Mapping[str, Callable[[Sketch, Folded], str]] = {
    "mermaid": lambda sketch, folded: mermaid(diagram(sketch, folded)),
    "dot": lambda sketch, folded: dot(diagram(sketch, folded)),
    "svg": lambda sketch, folded: svg(lay_out(diagram(sketch, folded))),
    "html": lambda sketch, folded: html(sketch, None, folded),
}
"""By its name how a form is written: of a sketch, with blocks folded, or as many as by default."""
