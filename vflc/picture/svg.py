"""A picture as SVG: text that fits its box, colours by CSS, and what a script needs to follow it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from typing import Literal

from vflc.picture.layout import (
    ABOVE,
    BESIDE,
    HEAD,
    LINE,
    MARGIN,
    SHEET,
    LaidOut,
    PlacedArrow,
    PlacedBox,
    Swimlane,
)
from vflc.picture.letters import visible

Theme = Literal["auto", "light", "dark"]
OWNERS = 6
"""Colours of lanes, after which they begin anew."""
_DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{\n(.*?\n)\}\n", re.DOTALL)


@cache
def resource(name: str) -> str:
    """The text of a file beside this one: `graph.css`, `graph.js`."""
    return files("vflc.picture").joinpath(name).read_text("utf-8")


@cache
def style(theme: Theme = "auto") -> str:
    """The CSS of a picture: `auto` follows whoever looks at it."""
    text = resource("graph.css")
    if theme == "auto":
        return text
    return _DARK.sub(lambda found: found.group(1) if theme == "dark" else "", text)


def svg(drawn: LaidOut, theme: Theme = "auto", styled: bool = True) -> str:
    """The picture as the text of an SVG element.

    Every box is focusable and has `data-item`, its number, `data-next` and `data-previous`, the numbers of
    boxes that arrows lead to and come from, `data-name`, and where known `data-uri`, `data-line` and
    `data-column` (from 1), `data-block` (what folds or unfolds here), `data-folded` and
    `data-around` (the block that it is in).

    Args:
        drawn: a picture.
        theme: `light` or `dark`, or `auto` for what the viewer prefers.
        styled: whether its CSS is in it; a page that shows several has `style()` once.
    """
    return "\n".join(_parts(drawn, theme, styled)) + "\n"


def _parts(drawn: LaidOut, theme: Theme, styled: bool) -> Iterator[str]:
    wide, high = f"{drawn.width:.0f}", f"{drawn.height:.0f}"
    name = _safe(f"{drawn.diagram.model}: {', '.join(drawn.diagram.places)}")
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="vfl-picture" viewBox="0 0 {wide} {high}" '
        f'width="{wide}" height="{high}" role="group" aria-label="{name}" font-family="sans-serif" '
        'font-size="10.5">'
    )
    if styled:
        yield f"<style>\n{style(theme)}</style>"
    owner = {lane.place: drawn.diagram.places.index(lane.place) % OWNERS for lane in drawn.lanes}
    for lane in drawn.lanes:
        yield _lane(lane, owner[lane.place], drawn.height)
    for arrow in drawn.arrows:
        yield from _arrow(arrow, drawn, owner)
    following: dict[int, list[int]] = {}
    leading: dict[int, list[int]] = {}
    for each in drawn.arrows:
        following.setdefault(each.arrow.source, []).append(each.arrow.target)
        leading.setdefault(each.arrow.target, []).append(each.arrow.source)
    for number in sorted(range(len(drawn.boxes)), key=lambda n: (drawn.boxes[n].rank, drawn.boxes[n].x)):
        near = (leading.get(number, []), following.get(number, []))
        yield from _box(drawn.boxes[number], number, owner[drawn.boxes[number].box.place], near)
    yield "</svg>"


def _lane(lane: Swimlane, owner: int, height: float) -> str:
    return (
        f'<g class="vfl-lane vfl-owner-{owner}" data-place="{_safe(lane.place)}"><rect x="{lane.x:.1f}" '
        f'y="{MARGIN:.1f}" width="{lane.width:.1f}" height="{height - 2 * MARGIN:.1f}" rx="8" fill="#f6f8fa" '
        f'stroke="#d1d9e0"/><text class="vfl-title" x="{lane.x + lane.width / 2:.1f}" '
        f'y="{MARGIN + HEAD - 12:.1f}" text-anchor="middle">{_safe(lane.title)}</text></g>'
    )


def _arrow(placed: PlacedArrow, drawn: LaidOut, owner: dict[str, int]) -> Iterator[str]:
    arrow = placed.arrow
    crosses = f" vfl-crosses vfl-owner-{owner[drawn.boxes[arrow.source].box.place]}" if arrow.crosses else ""
    yield (
        f'<path class="vfl-arrow{crosses}" data-from="{arrow.source}" data-to="{arrow.target}" '
        f'd="{placed.path}" fill="none" stroke="#818b98"/>'
    )
    for x, y, up in placed.heads:
        back = " vfl-back" if up and arrow.back else ""
        tip = f"M{x - 3.5:.1f} {y + 6:.1f}h7l-3.5 -6z" if up else f"M{x - 3.5:.1f} {y - 6:.1f}h7l-3.5 6z"
        yield f'<path class="vfl-head{crosses}{back}" d="{tip}" fill="#818b98"/>'


def _box(placed: PlacedBox, number: int, owner: int, near: tuple[list[int], list[int]]) -> Iterator[str]:
    box = placed.box
    classes = f"vfl-box vfl-{box.kind} vfl-owner-{owner}" + " vfl-warns" * box.warns
    data = {
        "item": str(number),
        "name": box.name,
        "place": box.place,
        "rank": str(placed.rank),
        "previous": " ".join(map(str, near[0])),
        "next": " ".join(map(str, near[1])),
    }
    if box.block is not None:
        data |= {"block": box.block, "folded": str(box.folded).lower()}
    if box.around is not None:
        data |= {"around": box.around}
    if box.at is not None:
        data |= {"uri": box.at.uri, "line": str(box.at.line), "column": str(box.at.column)}
    told = "\n".join(box.told)
    extra = "".join(f' data-{key}="{_safe(value)}"' for key, value in data.items())
    expands = f' aria-expanded="{str(not box.folded).lower()}"' if box.kind == "block" else ""
    yield (
        f'<g class="{classes}" tabindex="0" role="button" aria-label="{_safe(". ".join(box.told))}"'
        f"{expands}{extra}><title>{_safe(told, lines=True)}</title>"
    )
    sheet = SHEET if box.folded else 0.0
    edges = f'width="{placed.width - sheet:.1f}" height="{placed.height - sheet:.1f}" rx="5"'
    edges += ' fill="#ffffff" stroke="#59636e"'
    if box.folded:
        yield f'<rect class="vfl-behind" x="{placed.x + sheet:.1f}" y="{placed.y + sheet:.1f}" {edges}/>'
    yield f'<rect x="{placed.x:.1f}" y="{placed.y:.1f}" {edges}/>'
    y = placed.y + ABOVE
    for line in box.lines:
        y += LINE[line.style]
        size = ' font-family="monospace" font-size="12"' if line.style == "title" else ""
        yield (
            f'<text class="vfl-{line.style}" x="{placed.x + BESIDE:.1f}" y="{y - 4:.1f}"{size}>'
            f"{_safe(line.text)}</text>"
        )
    if box.folded:
        x, middle = placed.x + placed.width - SHEET - 14, placed.y + 13
        yield f'<path class="vfl-sign" d="M{x:.1f} {middle:.1f}h8m-4 -4v8" fill="none" stroke="#59636e"/>'
    yield "</g>"


def _safe(text: str, lines: bool = False) -> str:
    """Text for SVG: no markup, and no character that XML has not."""
    parts = text.split("\n") if lines else [text]
    return "\n".join(escape(visible(part)) for part in parts)
