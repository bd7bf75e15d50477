"""Pictures in a browser: text fits in real fonts, keys do what they say, and hostile names are only text."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from picture.drawn import random_sketch
from vflc_common.bound import Bound

from vflc import driver
from vflc.diagnostics import SourceText
from vflc.picture.dot import dot
from vflc.picture.folding import diagram
from vflc.picture.html import html
from vflc.picture.layout import lay_out
from vflc.picture.mermaid import mermaid
from vflc.picture.of_model import sketch_model
from vflc.picture.sketch import CrossingValue, DrawnValue, MayLearn, Sketch, SourceLine
from vflc.picture.svg import resource, svg

HOSTILE = (
    '<script>document.title="owned"</script>',
    '"><img src=x onerror="document.title=\'owned\'">',
    "</title></svg></style><script>document.body.innerHTML='owned'</script>",
    "\u202egnp.exe \u2066isolated\u2069 \u200bzero",
    "x" * 10_000,
    "\x00\x1b[31m\ud800\uffff",
    'a"]; click box0 "javascript:alert(1)"; --> b\\',
    "`code` #35; &lt; %% end",
    "漢字" * 40 + "שלום",
)
SPEC = Path(__file__).parents[2] / "specs" / "deepfm" / "deepfm.vfl"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
browser = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")


def hostile() -> Sketch:
    """Every name that somebody else can choose is hostile."""
    values = [
        DrawnValue(f"{name}.{n}", HOSTILE[n % 3], "value", name, (name,), (name,), SourceLine(name, 1, 1))
        for n, name in enumerate(HOSTILE)
    ]
    reads = [(values[0].id, value.id) for value in values[1:]]
    learn = (MayLearn(HOSTILE[0], Bound("all")),)
    crossings = [
        CrossingValue(name, values[0].id, HOSTILE[0], HOSTILE[1], name, 4, 0, learn=learn, known=(name,))
        for name in HOSTILE
    ]
    places = HOSTILE[:3]
    return Sketch(HOSTILE[0], places, tuple(values), tuple(reads), tuple(crossings), {HOSTILE[0]: HOSTILE[1]})


def dom(page: Path) -> str:
    """The page as the browser has it when its scripts have run."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions"]
    flags += [f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=2000", "--dump-dom"]
    ran = subprocess.run(
        [CHROMIUM, *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return ran.stdout


def test_hostile_names_are_text() -> None:
    made = diagram(hostile(), frozenset())
    for text in (svg(lay_out(made)), html(hostile(), SourceText(HOSTILE[2], "\n".join(HOSTILE[:3])))):
        assert "<script>document" not in text and "<img" not in text and "\u202e" not in text
        assert "x" * 500 not in re.sub(r'data-\w+="[^"]*"', "", text)
        text.encode()
    for line in mermaid(made).splitlines()[1:]:
        assert re.fullmatch(
            r"  +(?:end|box\d+ (?:-->|==>|<==>) box\d+|(?:subgraph place|box)\d+"
            r'(?:\[\[|\[|\{\{|\(\[)"[^"`<\\]*(?:<br>[^"`<\\]*)*"[\])}]+)',
            line,
        ), line  # fmt: skip
    assert all(text.count('"') % 2 == 0 for text in re.sub(r"\\.", "", dot(made)).splitlines())


@pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz is not installed")
def test_graphviz_reads_hostile_names() -> None:
    made = diagram(hostile(), frozenset())
    subprocess.run(["dot", "-Tcanon"], input=dot(made).encode(), check=True, capture_output=True)


@browser
def test_a_page_makes_its_picture_and_runs_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(html(hostile(), SourceText("spec.vfl", HOSTILE[2])), "utf-8")
    found = dom(page)
    assert "vfl-interactive" in found, "the page's own script did not run"
    assert not re.search(r"<title>\s*owned|<body>owned|<img", found)
    assert found.count("<script") == 1


PROBE = """
const found = {wide: [], told: []};
const svg = document.querySelector("svg");
for (const box of svg.querySelectorAll(".vfl-box")) {
  const rect = box.querySelector("rect:not(.vfl-behind)").getBBox();
  for (const text of box.querySelectorAll("text")) {
    const own = text.getBBox();
    const below = own.y + own.height > rect.y + rect.height + 1;
    if (own.x + own.width > rect.x + rect.width || own.y < rect.y || below) found.wide.push(text.textContent);
  }
}
for (const lane of svg.querySelectorAll(".vfl-lane")) {
  const [title, rect] = ["text", "rect"].map((name) => lane.querySelector(name).getBBox());
  if (title.width > rect.width) found.wide.push("lane");
}
const frame = document.getElementById("frame");
for (const name of ["vfl-open", "vfl-fold", "vfl-focus"]) {
  frame.addEventListener(name, (event) => found.told.push([name, event.detail.name || event.detail.block]));
}
const picture = vflGraph(svg, {frame});
const event = (key) => new KeyboardEvent("keydown", {key, bubbles: true});
const press = (key) => document.activeElement.dispatchEvent(event(key));
picture.focus("first");
press("Enter"); press("ArrowDown"); press("ArrowDown"); press(" "); press("ArrowUp"); press("ArrowUp");
press("ArrowRight"); press("ArrowLeft");
const before = svg.getAttribute("viewBox");
press("+");
found.zoomed = svg.getAttribute("viewBox") !== before;
const zoomed = svg.getAttribute("viewBox");
const view = picture.view();
picture.dispose();
vflGraph(svg, {frame, view});
found.kept = svg.getAttribute("viewBox") === zoomed;
found.focusable = svg.querySelectorAll('[tabindex="0"]').length;
document.getElementById("out").textContent = JSON.stringify(found);
"""


@browser
def test_text_fits_and_keys_work_in_a_browser(tmp_path: Path) -> None:
    """Real fonts are measured: those of the machine, as a user's page has them."""
    wide = hostile()
    more = random_sketch(3, 60, 3)
    mine = (
        DrawnValue("first", "alice", "feature", "WWWWWWW mmmm @@@", at=SourceLine("spec.vfl", 3, 1)),
        DrawnValue("second", "alice", "feature", "il"),
        DrawnValue("block.one", "bob", "value", "x", ("block",)),
        DrawnValue("block.two", "bob", "value", "x", ("block",)),
    )
    sketch = Sketch(
        "page",
        ("alice", "bob", *wide.places, *more.places),
        (*mine, *wide.values, *more.values),
        (("first", "block.one"), *more.reads),
        (CrossingValue("first", "first", "alice", "bob", "[1]", 4, 0), *wide.crossings, *more.crossings),
    )
    shown = svg(lay_out(diagram(sketch, frozenset({"block"}))))
    page = tmp_path / "page.html"
    parts = f'<div id="frame" style="width:800px;height:600px">{shown}</div><pre id="out"></pre>'
    page.write_text(
        f'<!doctype html><meta charset="utf-8">{parts}<script>{resource("graph.js")}{PROBE}</script>', "utf-8"
    )
    out = re.search(r'<pre id="out">(.*?)</pre>', dom(page), re.DOTALL)
    assert out is not None
    found = json.loads(unescape(out.group(1)))
    assert found["wide"] == []
    assert found["zoomed"] and found["kept"] and found["focusable"] == 1
    assert (
        found["told"]
        == [
            ["vfl-focus", "first"],
            ["vfl-open", "first"],
            ["vfl-focus", "first"],  # the box at the border is named by what crosses
            ["vfl-focus", "block"],
            ["vfl-fold", "block"],
            ["vfl-focus", "first"],
            ["vfl-focus", "first"],
            *found["told"][7:],
        ]
    )
    assert len(found["told"]) == 9


WALK = """
const found = {levels: document.querySelectorAll(".level").length};
const shown = () => Array.from(document.querySelectorAll(".level")).findIndex((level) => !level.hidden);
const event = (key) => new KeyboardEvent("keydown", {key, bubbles: true});
const press = (key) => document.activeElement.dispatchEvent(event(key));
const box = (name) => Array.from(document.querySelectorAll(".level:not([hidden]) .vfl-box"))
  .find((each) => each.dataset.name === name && each.dataset.folded !== undefined);
found.first = shown();
box("logit.mlp").focus();
press(" ");
found.unfolded = shown() > found.first && document.activeElement.dataset.block.startsWith("logit.mlp");
press("Backspace");
found.folded = shown();
found.told = document.getElementById("told").textContent;
box("logit.dense.linear").focus();
press("Enter");
found.line = document.querySelector("#source .shown").textContent;
document.body.dataset.found = JSON.stringify(found);
"""


@browser
def test_the_page_folds_and_shows_lines(tmp_path: Path) -> None:
    examined = driver.examine_file(SPEC)
    assert examined.model is not None
    text = html(sketch_model(examined.model), examined.source)
    page = tmp_path / "page.html"
    page.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text) + f"<script>{WALK}</script>", "utf-8")
    out = re.search(r'data-found="([^"]*)"', dom(page))
    assert out is not None
    found = json.loads(unescape(out.group(1)))
    assert 3 <= found["levels"] <= 5
    assert found["unfolded"] and found["folded"] == found["first"] and "logit.mlp" in found["told"]
    assert found["line"].strip().startswith("logit = fm + dense(")
