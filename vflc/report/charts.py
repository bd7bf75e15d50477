"""Pictures of numbers as SVG within the page, each with a table of the same numbers.

Lines differ in colour and in dashes, and colours can be told apart by people who see fewer of them (after
Okabe and Ito, 2008); they come from the page's style, which has one set for light and one for dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from vflc.report.elements import Html, folded, html, joined, table, tag
from vflc.report.numbers import PlotPoint, measure, padded, tick, ticks

WIDTH, HEIGHT = 440, 290
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 44
COLOURS = 8
"""Colours that the style has, `--c0` and so on; then they come again."""
DASHES = (None, "7 4", "2 3", "9 3 2 3")
MOST_MARKED = 40
"""A line of more points has no marks at them."""
MOST_LISTED = 60
"""Rows of the table of a chart, evenly chosen among its points."""


class Series(Struct, frozen=True):
    """A line.

    Args:
        name: for the legend.
        points: in order of x; a gap is left where one is missing, as None.
        colour: a number, for the colour.
        dash: a number, for the dashes.
        form: `line`, `steps`, or `marks` alone.
        spread: of each point the ends of a bar through it, if it has one.
        best: the point with a ring around it, by position.
    """

    name: str
    points: Sequence[PlotPoint | None]
    colour: int = 0
    dash: int = 0
    form: Literal["line", "steps", "marks"] = "line"
    spread: Sequence[PlotPoint] = ()
    best: int | None = None


class ChartAxis(Struct, frozen=True):
    """An axis: what it is of, its ends where they are given, and whether only whole numbers make sense."""

    name: str
    ends: PlotPoint | None = None
    whole: bool = False


class Chart(Struct, frozen=True):
    """Lines over two axes.

    Args:
        title: of the picture.
        x, y: the axes.
        series: the lines.
        diagonal: whether y = x is drawn, as where nothing is wrong or nothing is known.
    """

    title: str
    x: ChartAxis
    y: ChartAxis
    series: Sequence[Series]
    diagonal: bool = False

    def figure(self, *below: object) -> Html:
        """The picture with legend and table, and what else is to stand below it; nothing without a point."""
        lines = [each for each in self.series if any(each.points)]
        if not lines:
            return Html("")
        drawing = _Drawing(self, lines)
        return tag(
            "figure",
            tag("figcaption", self.title),
            drawing.svg(),
            _legend(lines) if len(lines) > 1 else "",
            *below,
            folded("numbers", *(_numbers(self, each) for each in lines)),
        )


class _Drawing:
    """A chart's scales, and the elements that they place."""

    def __init__(self, chart: Chart, lines: Sequence[Series]) -> None:
        self.chart, self.lines = chart, lines
        points = [point for line in lines for point in line.points if point is not None]
        ends = [end for line in lines for spread in line.spread for end in spread]
        xs, ys = [x for x, _ in points], [*(y for _, y in points), *ends]
        self.xs = chart.x.ends or (padded(min(xs), max(xs)) if chart.x.whole else (min(xs), max(xs)))
        self.ys = chart.y.ends or padded(min(ys), max(ys))
        if not self.xs[0] < self.xs[1]:
            self.xs = padded(*self.xs)

    def x(self, value: float) -> float:
        low, high = self.xs
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        low, high = self.ys
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    def svg(self) -> Html:
        parts = [*self._grid(), *self._names()]
        if self.chart.diagonal:
            low, high = max(self.xs[0], self.ys[0]), min(self.xs[1], self.ys[1])
        if self.chart.diagonal and low < high:
            parts.append(_line(self.x(low), self.y(low), self.x(high), self.y(high), "diagonal"))
        for line in self.lines:
            parts.append(_coloured(line, *self._line(line)))
        said = f"{self.chart.title}: {self.chart.y.name} by {self.chart.x.name}, the numbers are below"
        return tag("svg", *parts, view_box=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=said)

    def _grid(self) -> list[Html]:
        parts = []
        ys, xs = ticks(*self.ys), ticks(*self.xs, whole=self.chart.x.whole)
        for value in ys:
            at = self.y(value)
            parts += [
                _line(LEFT, at, WIDTH - RIGHT, at, "grid"),
                _text(LEFT - 7, at + 4, tick(value, ys), "end"),
            ]
        for value in xs:
            at, bottom = self.x(value), HEIGHT - BOTTOM
            parts += [
                _line(at, bottom, at, bottom + 4, "axis"),
                _text(at, bottom + 18, tick(value, xs), "middle"),
            ]
        return [*parts, _line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis")]

    def _names(self) -> list[Html]:
        middle = (TOP + HEIGHT - BOTTOM) / 2
        turned = tag("text", self.chart.y.name, transform=f"translate(13 {middle:g}) rotate(-90)",
                     text_anchor="middle", class_="name")  # fmt: skip
        return [turned, _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, self.chart.x.name, "middle", "name")]

    def _line(self, line: Series) -> list[Html]:
        parts = []
        places = [None if each is None else (self.x(each[0]), self.y(each[1])) for each in line.points]
        if line.form != "marks":
            dash = DASHES[line.dash % len(DASHES)]
            parts = [tag("path", d=_path(places, line.form == "steps"), stroke_dasharray=dash)]
        for place, (low, high) in zip(places, line.spread, strict=False):
            if place is not None:
                parts.append(_line(place[0], self.y(low), place[0], self.y(high), "spread"))
        marked = len(places) <= MOST_MARKED
        for position, (place, point) in enumerate(zip(places, line.points, strict=True)):
            if place is None or point is None or not (marked or position == line.best):
                continue
            at = {"cx": place[0], "cy": place[1]}
            said = f"{line.name}: {self.chart.x.name} {point[0]:g}, {self.chart.y.name} {measure(point[1])}"
            parts.append(tag("circle", tag("title", said), r=3.0, **at))
            if position == line.best:
                parts.append(tag("circle", r=6.5, class_="ring", **at))
        return parts


def _path(places: Sequence[PlotPoint | None], steps: bool) -> str:
    """Through all points, or level from each to the next; it begins anew after a gap."""
    text, before = "", None
    for place in places:
        if place is not None:
            level = f"H{place[0]:g}" if steps and before is not None else ""
            text += f"{level}{'L' if before is not None else 'M'}{place[0]:g} {place[1]:g}"
        before = place
    return text


def _coloured(line: Series, *parts: Html) -> Html:
    return tag("g", *parts, class_="line", style=f"--c: var(--c{line.colour % COLOURS})")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def _text(x: float, y: float, content: str, anchor: str, kind: str | None = None) -> Html:
    return tag("text", content, x=x, y=y, text_anchor=anchor, class_=kind)


def _legend(lines: Sequence[Series]) -> Html:
    items = []
    for line in lines:
        dash = DASHES[line.dash % len(DASHES)]
        stroke = tag("path", d="M1 6H33", stroke_dasharray=dash)
        if line.form == "marks":
            stroke = tag("circle", cx=17, cy=6, r=3.5)
        swatch = tag("svg", _coloured(line, stroke), view_box="0 0 34 12", aria_hidden="true")
        items.append(tag("li", swatch, tag("span", line.name)))
    return tag("ul", *items, class_="legend")


def _numbers(chart: Chart, line: Series) -> Html:
    """The points of a line, or as many of them as a reader can use, evenly chosen."""
    known = [each for each in line.points if each is not None]
    if len(known) > MOST_LISTED:
        step = (len(known) - 1) / (MOST_LISTED - 1)
        known = [known[round(i * step)] for i in range(MOST_LISTED)]
    rows = [(f"{x:.6g}", measure(float(y))) for x, y in known]
    return table([f"{chart.x.name}|n", f"{chart.y.name}|n"], rows, line.name)


def beside(names: Sequence[str], before: Sequence[float], after: Sequence[float], title: str) -> Html:
    """Two shares of each of several bins as bars side by side, for a cell of a table."""
    most, height = max([*before, *after, 1e-9]), 40
    parts, wide = [], 14
    for position, (name, *both) in enumerate(zip(names, before, after, strict=True)):
        said = tag("title", f"{name}: {both[0]:.1%} in training, {both[1]:.1%} here")
        bars = [
            tag("rect", x=position * wide + 6 * i, y=height * (1 - each / most), width=5,
                height=max(height * each / most, 0.5), class_=kind)
            for i, (each, kind) in enumerate(zip(both, ("before", "after"), strict=True))
        ]  # fmt: skip
        parts.append(tag("g", said, *bars))
    width = len(names) * wide
    svg = tag("svg", *parts, view_box=f"0 0 {width} {height}", width=width, height=height, role="img",
              aria_label=title, class_="bins")  # fmt: skip
    return svg


def side_by_side(figures: Sequence[Html]) -> Html:
    """Charts in as many columns as fit."""
    shown = [each for each in figures if each]
    return tag("div", joined(shown), class_="charts") if shown else html("")
