"""Draws `one_table-light.svg` and `one_table-dark.svg`: the example spec and what it compiles to.

What crosses is read off the manifest that the compiler makes of `specs/one_table/one_table.vfl`, so the
picture cannot say anything else than the bundle. Run it as `python docs/make_picture.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SPEC = HERE.parent / "specs" / "one_table" / "one_table.vfl"

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

PALETTES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "text": "#1f2328", "faint": "#59636e", "line": "#d1d9e0", "panel": "#f6f8fa", "page": "#ffffff",
        "keyword": "#cf222e", "call": "#8250df", "number": "#0550ae",
        "alice": "#0969da", "bob": "#1a7f37", "back": "#bc4c00",
    },
    "dark": {
        "text": "#f0f6fc", "faint": "#9198a1", "line": "#3d444d", "panel": "#151b23", "page": "#0d1117",
        "keyword": "#ff7b72", "call": "#d2a8ff", "number": "#79c0ff",
        "alice": "#4493f8", "bob": "#3fb950", "back": "#f0883e",
    },
}  # fmt: skip

TOKEN = re.compile(
    r"(?P<keyword>\b(?:party|use|key|feature|column|label|fuse|at|predict|objective|train)\b)"
    r"|(?P<call>\b\w+(?=\())|(?P<number>\b\d[\d.]*\b)|(?P<rest>\w+|\s+|.)"
)
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
SANS = "-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif"


def drawing(manifest: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    """The whole picture as SVG."""
    style = (
        f"text{{font:13px {SANS};fill:{colours['text']}}}"
        f".code{{font:12px {MONO};white-space:pre}}.faint{{fill:{colours['faint']}}}"
        ".title{font-weight:600;font-size:15px}"
    )
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 500" width="900" height="500" role="img" '
        'aria-label="A spec of two parties, the two folders it compiles to, and what crosses between them">',
        f"<style>{style}</style>",
        "<defs>",
        *(
            f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            f'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="{colours[name]}"/></marker>'
            for name in ("faint", "alice", "back")
        ),
        "</defs>",
        *_spec(colours),
        f'<path d="M388 250H436" stroke="{colours["faint"]}" stroke-width="2" marker-end="url(#faint)"/>',
        _text(411, 238, "vflc", "faint", "middle"),
        _text(411, 270, "compile", "faint", "middle"),
        *_place(manifest, "alice", 12, 124, colours, "embeddings, and her part of what reads them"),
        *_place(manifest, "bob", 346, 142, colours, "embeddings, his part, the sums, the rest, the loss"),
        *_messages(manifest, colours),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _spec(colours: Mapping[str, str]) -> Iterator[str]:
    yield _box(4, 12, 374, 476, colours["panel"], colours["line"])
    yield _text(20, 38, "one_table.vfl", "title")
    for number, line in enumerate(SHOWN.splitlines()):
        if line:
            spans = "".join(_token(match, colours) for match in TOKEN.finditer(line))
            y = f"{64 + number * 16.3:.1f}"
            yield f'<text class="code" xml:space="preserve" x="20" y="{y}">{spans}</text>'


def _token(match: re.Match[str], colours: Mapping[str, str]) -> str:
    text = escape(match.group(), quote=False)
    kind = match.lastgroup
    return text if kind == "rest" else f'<tspan fill="{colours[str(kind)]}">{text}</tspan>'


def _place(
    manifest: Mapping[str, Any], name: str, y: int, height: int, colours: Mapping[str, str], what: str
) -> Iterator[str]:
    """A party's folder of the bundle: what it reads, and what it computes."""
    party = next(party for party in manifest["parties"] if party["name"] == name)
    yield _box(446, y, 450, height, colours["page"], colours[name])
    yield f'<rect x="446" y="{y}" width="6" height="{height}" rx="3" fill="{colours[name]}"/>'
    yield _text(470, y + 28, f"{name}/", "title")
    yield _text(470, y + 54, "reads", "faint")
    yield _text(530, y + 54, ", ".join(party["features"]))
    if party["labels"]:
        yield _text(530, y + 72, f"label {', '.join(party['labels'])}, from {', '.join(party['columns'])}")
    base = y + (96 if party["labels"] else 78)
    yield _text(470, base, "runs", "faint")
    yield _text(530, base, what)
    yield _text(470, base + 24, "files", "faint")
    yield _text(530, base + 24, "plan.json  encoders.json  forward.onnx  …", "code")


def _messages(manifest: Mapping[str, Any], colours: Mapping[str, str]) -> Iterator[str]:
    """The messages of a training step, each with its bytes a row; forward, with its edges."""
    edges = {edge["id"]: edge for edge in manifest["edges"]}
    places = {"forward": (486, "alice", "144 338"), "backward": (766, "back", "338 144")}
    for message in manifest["messages"]:
        if "train" not in message["programs"]:
            continue
        x, colour, ends = places[message["phase"]]
        start, end = ends.split()
        dashes = ' stroke-dasharray="6 4"' if message["phase"] == "backward" else ""
        yield (
            f'<path d="M{x} {start}V{end}" stroke="{colours[colour]}" stroke-width="2"{dashes} '
            f'marker-end="url(#{colour})"/>'
        )
        carried = [edges[name] for name in message["edges"]]
        total = f"{sum(edge['bytes_per_row'] for edge in carried)} bytes a row"
        if message["phase"] == "backward":
            yield _text(x + 14, 216, "their gradients,")
            yield _text(x + 14, 238, total)
            continue
        yield _text(x + 14, 190, f"activations, {total}")
        for number, edge in enumerate(carried):
            row = " × ".join(str(size) for size in edge["shape"][1:])
            yield _text(x + 14, 216 + number * 22, f"{edge['id']} [{row}]", "code")


def _box(x: int, y: int, width: int, height: int, fill: str, stroke: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}" stroke="{stroke}"/>'


def _text(x: int, y: int, text: str, kind: str = "", anchor: str = "start") -> str:
    shown = escape(text, quote=False)
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}" xml:space="preserve">{shown}</text>'


def pictures() -> dict[Path, str]:
    """Every file and what is to be in it."""
    from vflc import driver

    manifest = driver.compile_spec(SPEC).manifest
    return {HERE / f"one_table-{name}.svg": drawing(manifest, colours) for name, colours in PALETTES.items()}


if __name__ == "__main__":
    for path, content in pictures().items():
        path.write_text(content, "utf-8")
