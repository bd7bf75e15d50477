"""A picture as one HTML file that needs nothing else: it pans, zooms, folds and leads to the spec's lines."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Set
from hashlib import sha256
from html import escape

from vflc.diagnostics.span import SourceText
from vflc.picture.folding import Diagram, diagram, folded_by_default
from vflc.picture.layout import lay_out
from vflc.picture.letters import visible
from vflc.picture.sketch import Sketch
from vflc.picture.svg import resource, style, svg

LEVELS = (0, 24, 60, 150, 600)
"""How many boxes the pictures of a page have at most: other blocks stay folded."""
HELP = "Choose a box to read what it is and, at a border, what it tells."


def html(sketch: Sketch, source: SourceText | None = None, folded: Set[str] | None = None) -> str:
    """A page with pictures of several depths, of which it shows one, a table of what crosses, and the spec.

    Nothing is loaded, and no script but the page's own runs: its policy says so, by hashes.

    Args:
        sketch: what to draw.
        source: the spec, to show where a value is written.
        folded: blocks that are folded in the picture that is shown first; None: those that are by default.
    """
    css, script = style() + resource("page.css"), resource("graph.js") + resource("page.js")
    policy = f"default-src 'none'; style-src {_hash(css)}; script-src {_hash(script)}; img-src data:"
    title = escape(visible(sketch.model))
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{css}</style>\n</head>\n<body>",
        f"<header><h1>{title}</h1>{_buttons()}</header>",
        '<main><div id="frame">',
        *_levels(sketch, folded_by_default(sketch) if folded is None else folded),
        "</div>",
        _source(source) if source is not None else "",
        f'</main>\n<p id="told" role="status">{HELP}</p>',
        *_table(diagram(sketch, frozenset())),
        f"<script>{script}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _buttons() -> str:
    made = [
        ("less", "Fold more"),
        ("more", "Unfold more"),
        ("out", "Zoom out"),
        ("in", "Zoom in"),
        ("fit", "Fit"),
    ]
    buttons = "".join(f'<button type="button" id="{name}">{label}</button>' for name, label in made)
    keys = "Arrow keys follow arrows, Enter shows the line, Space folds, + and − zoom."
    return f'<nav aria-label="Picture">{buttons}</nav><p class="keys">{keys}</p>'


def _levels(sketch: Sketch, first: Set[str]) -> Iterator[str]:
    """Pictures from the most folded one on, each once; one of them is shown first."""
    made = {diagram(sketch, folded).folded for folded in (first, *_by_size(sketch))}
    shown = diagram(sketch, first).folded
    for folded in sorted(made, key=lambda folded: (-len(folded), sorted(folded))):
        text = svg(lay_out(diagram(sketch, folded)), styled=False)
        yield f'<div class="level"{" data-first" if folded == shown else " hidden"}>{text}</div>'


def _by_size(sketch: Sketch) -> list[frozenset[str]]:
    return [folded_by_default(sketch, most) for most in LEVELS]


def _source(source: SourceText) -> str:
    name = escape(visible(source.name))
    lines = "".join(
        f'<span class="line" data-number="{number}">{escape(visible(line))}</span>\n'
        for number, line in enumerate(source.text.split("\n"), 1)
    )
    return f'<pre id="source" tabindex="0" aria-label="{name}" data-uri="{name}">{lines}</pre>'


def _table(drawn: Diagram) -> Iterator[str]:
    """All that crosses, for who does not see the picture, or wants to search it."""
    crossing = [box for box in drawn.boxes if box.to is not None]
    yield f"<details><summary>What crosses ({len(crossing)})</summary><ul>"
    yield from (f"<li>{'. '.join(map(escape, box.told))}.</li>" for box in crossing)
    yield "</ul></details>"
