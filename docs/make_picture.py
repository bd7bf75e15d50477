"""Draws `one_table-light.svg` and `one_table-dark.svg`: the example spec, and what it compiles to.

Below the spec stands the picture that `vflc graph` draws of it, so it cannot say anything else than the
manifest. Run it as `python docs/make_picture.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from vflc import driver
from vflc.diagnostics import SourceText
from vflc.picture.draw import laid_out
from vflc.picture.layout import LaidOut
from vflc.picture.svg import Theme, svg

HERE = Path(__file__).parent
SPEC = HERE.parent / "specs" / "one_table" / "one_table.vfl"
FOLDED = frozenset({"alice", "bob", "logit", "objective"})

# The spec without its comments, and with its lists of values cut short, so that it can be read.
SHOWN = """\
party alice {
  key ID
  feature UserID: int -> index(6041)
  feature Gender: string -> vocab("F", "M")
  feature Age:    int -> vocab(1, 18, 25, …)
  …
}
party bob {
  key ID
  feature MovieID: int -> index(3953)
  feature Genres:  string -> …
  column  Rating:  int
  label   liked = Rating > 3
}

use recsys.{DeepFM}

logit = DeepFM(alice.features + bob.features,
               k = 16, units = [32, 32])

predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { optimizer adam(lr = 0.001)  batch 128 }
"""

PALETTES: Mapping[Theme, Mapping[str, str]] = {
    "light": {
        "text": "#1f2328", "faint": "#59636e", "line": "#d1d9e0", "panel": "#f6f8fa",
        "keyword": "#cf222e", "call": "#8250df", "number": "#0550ae",
    },
    "dark": {
        "text": "#f0f6fc", "faint": "#9198a1", "line": "#3d444d", "panel": "#151b23",
        "keyword": "#ff7b72", "call": "#d2a8ff", "number": "#79c0ff",
    },
}  # fmt: skip

TOKEN = re.compile(
    r"(?P<keyword>\b(?:party|use|key|feature|column|label|fuse|at|predict|objective|train)\b)"
    r"|(?P<call>\b\w+(?=\())|(?P<number>\b\d[\d.]*\b)|(?P<rest>\w+|\s+|.)"
)
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
LEADING, TOP, SECOND, BETWEEN = 16.3, 52.0, 430, 44
"""Of the spec: between two lines, above them, where the second column begins; and down to the picture."""


def drawing(drawn: LaidOut, theme: Theme) -> str:
    """The whole picture as SVG: the spec in two columns, and below it what it compiles to."""
    colours = PALETTES[theme]
    style = (
        f".own text{{font:12px {MONO};white-space:pre;fill:{colours['text']}}}"
        f".own .title{{font-weight:600;font-size:13px}}.own .faint{{fill:{colours['faint']}}}"
    )
    columns = [part.splitlines() for part in SHOWN.split("\n\n", 1)]
    panel = TOP + LEADING * max(map(len, columns))
    top, middle = 8 + panel + BETWEEN, drawn.width / 2
    width, height = f"{drawn.width:.0f}", f"{top + drawn.height:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="A spec of two parties, what each of them computes, and '
        'what crosses between them">',
        f"<style>{style}</style>",
        '<g class="own">',
        f'<rect x="8" y="8" width="{drawn.width - 16:.0f}" height="{panel:.1f}" rx="8" '
        f'fill="{colours["panel"]}" stroke="{colours["line"]}"/>',
        '<text class="title" x="24" y="32">one_table.vfl</text>',
        *_lines(columns[0], 24, colours),
        *_lines(columns[1], SECOND, colours),
        f'<path d="M{middle:.1f} {panel + 16:.1f}v{BETWEEN - 12}m-5 -7l5 7l5 -7" fill="none" '
        f'stroke="{colours["faint"]}" stroke-width="2"/>',
        f'<text class="faint" x="{middle + 14:.1f}" y="{panel + 34:.1f}">vflc compile</text>',
        "</g>",
        svg(drawn, theme).replace("<svg ", f'<svg y="{top:.1f}" ', 1).rstrip(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _lines(lines: Sequence[str], x: int, colours: Mapping[str, str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if line:
            spans = "".join(_token(match, colours) for match in TOKEN.finditer(line))
            y = f"{8 + TOP + number * LEADING:.1f}"
            yield f'<text xml:space="preserve" x="{x}" y="{y}">{spans}</text>'


def _token(match: re.Match[str], colours: Mapping[str, str]) -> str:
    text = escape(match.group(), quote=False)
    kind = match.lastgroup
    return text if kind == "rest" else f'<tspan fill="{colours[str(kind)]}">{text}</tspan>'


def pictures() -> dict[Path, str]:
    """Every file and what is to be in it."""
    source = SourceText(SPEC.relative_to(HERE.parent).as_posix(), SPEC.read_text("utf-8"))  # wherever it lies
    model = driver.examine(source, SPEC.parent).model
    assert model is not None
    drawn = laid_out(model, FOLDED)
    return {HERE / f"one_table-{theme}.svg": drawing(drawn, theme) for theme in PALETTES}


if __name__ == "__main__":
    for path, content in pictures().items():
        path.write_text(content, "utf-8")
