"""The page of a run: what it holds, and that no name in a file becomes markup or a traceback."""

from __future__ import annotations

import copy
import json
import random
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from vflc_common.canonical import digest
from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.run.train import TrainOptions, train

import vflc
from vflc.cli.main import run
from vflc.report.charts import Chart, ChartAxis, Series
from vflc.report.numbers import padded, tick, ticks
from vflc.report.report import report

HOSTILE = "\"'><script>document.title='owned'</script><img src=x onerror=alert(1)>\u202e&amp;|n"
ELEMENTS = {
    "body", "header", "h1", "h2", "h3", "p", "nav", "ul", "li", "a", "main", "section", "div", "table",
    "caption", "thead", "tbody", "tr", "th", "td", "b", "code", "figure", "figcaption", "svg", "g", "path",
    "line", "circle", "rect", "text", "title", "details", "summary", "span", "i", "footer",
}  # fmt: skip


def body(page: str) -> ElementTree.Element:
    """What the page shows; it is XML, too. Only elements that show something are in it."""
    found = ElementTree.fromstring(page[page.index("<body>") : page.index("</html>")])
    for element in found.iter():
        assert element.tag in ELEMENTS
        assert not any(name.startswith("on") or name == "src" for name in element.attrib)
        assert element.get("href", "#").startswith("#")
    return found


def words(page: str) -> str:
    return " ".join("".join(body(page).itertext()).split())


def section(page: str, id: str) -> ElementTree.Element:
    found = body(page).find(f".//section[@id='{id}']")
    assert found is not None
    return found


def test_the_page_has_what_the_run_has(project: dict[str, Any]) -> None:
    page = report([project["run"]])
    metrics = json.loads((project["run"] / "metrics.json").read_text())
    results = "".join(section(page, "results").itertext())
    assert f"{metrics['validation']['auc']:.4f}" in results and f"{metrics['train']['loss']:.4f}" in results
    crossing = "".join(section(page, "crossing").itertext())
    assert all(edge in crossing for edge in metrics["bytes_sent"])
    assert f"{sum(metrics['bytes_sent'].values()) / 1000:,.1f} kB in all" in crossing
    assert "shop.Spent (came_back)" in "".join(section(page, "learned").itertext())
    made = "".join(section(page, "made").itertext())
    assert metrics["digest"] in made and metrics["environment"]["packages"]["numpy"] in made
    assert len(section(page, "quality").findall(".//figure")) == 4
    assert "abroad" in "".join(section(page, "data").itertext())
    assert "bank.Income" in "".join(section(page, "drift").itertext())
    assert "secret" not in page and str(project["folder"]) not in made


def test_it_loads_nothing(project: dict[str, Any]) -> None:
    page = report([project["run"]])
    assert "default-src 'none'" in page and "<script" not in page and "<link" not in page
    assert not re.search(r"https?:|url\(|@import", page)


def test_a_run_that_goes_on_keeps_the_curves_of_one_that_was_not_interrupted(
    project: dict[str, Any], tmp_path: Path
) -> None:
    for epochs, resume in ((1, False), (2, True)):
        options = TrainOptions(threads=1, epochs=epochs, validation=0.2, resume=resume)
        train(project["bundle"], project["data"], tmp_path / "run", options)
    for name in ("shop/curves.json", "shop/columns.json", "bank/columns.json"):
        assert (tmp_path / "run" / name).read_bytes() == (project["run"] / name).read_bytes()
        assert (project["run"] / name).stat().st_mode & 0o077 == 0
    assert not (project["run"] / "bank" / "curves.json").exists()


def test_the_command_evaluates_compares_and_refuses(
    project: dict[str, Any], options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, details, out = str(project["run"]), tmp_path / "details.json", tmp_path / "report.html"
    assert run(["evaluate", folder, *options, "--details", str(details), "--threads", "1"]) == 0
    assert run(["report", folder, "--evaluation", str(details), "-o", str(out)]) == 0
    again = tmp_path / "again.html"
    assert run(["report", folder, *options, "--threads", "1", "-o", str(again), "--json"]) == 0
    assert '"file": ' in capsys.readouterr().out
    assert out.read_bytes() == again.read_bytes()
    assert "evaluation of 561 rows" in words(out.read_text())
    assert out.stat().st_mode & 0o077 == 0
    both = tmp_path / "both.html"
    other = shutil.copytree(folder, tmp_path / "other")
    assert run(["report", folder, str(other), "-o", str(both)]) == 0
    assert "★" in words(both.read_text()) and "not measured on the same rows" not in words(both.read_text())
    rewritten(Path(other), "run.json", lambda settings: settings | {"seed": 9})
    assert "not measured on the same rows" in words(report([project["run"], Path(other)]))
    for words_, code in (
        (["report", folder, "-o", str(out)], "VFL0623"),
        (["report", folder, "-o", str(tmp_path / "x"), "--audit", str(details)], "VFL0805"),
        (["report", folder, "-o", str(tmp_path / "x"), "--evaluation", str(tmp_path / "no")], "VFL0805"),
        (["report", folder, "-o", str(tmp_path / "x"), *["--evaluation", str(details)] * 2], "VFL0805"),
        (["report", str(project["bundle"]), "-o", str(tmp_path / "x")], "VFL0614"),
        (["report", folder, "--live-port", "1", "-o", str(tmp_path / "x")], "no other option"),
        (["report", folder], "-o report.html"),
    ):
        assert run(words_) in (1, 2)
        assert code in capsys.readouterr().err, words_


def test_python_makes_the_same_page(project: dict[str, Any], tmp_path: Path) -> None:
    opened = vflc.load(project["run"])
    made = opened.report()
    assert words(made.html) == words(report([project["run"]], names=["run"]))
    assert "<iframe sandbox" in made._repr_html_() and "<script" not in made._repr_html_()
    assert made.save(tmp_path / "page.html").read_text() == made.html
    assert "1: run" in words(opened.report(vflc.load(project["run"])).html)


def rewritten(run: Path, name: str, change: Callable[[Any], Any]) -> None:
    """A file of a run with other content, and checksums and digest that fit it."""
    file = run / name
    found = change(json.loads(file.read_text()))
    if name.endswith("manifest.json") and isinstance(found, dict):
        with suppress(ValueError, TypeError, OverflowError):
            found["digest"] = digest({key: each for key, each in found.items() if key != "digest"})
        settings = json.loads((run / "run.json").read_text()) | {"digest": found.get("digest")}
        (run / "run.json").write_text(json.dumps(settings))
    file.write_text(json.dumps(found))
    sums = files.read_sums(run)
    files.replace_with(run / files.SUMS, files.sums_content({**sums, **files.checksums(run, sums)}))


NAMED = {"auc", "bank.Region"}
SAID = {"abroad", "all epochs are done", "linux", "north"}


def renamed(content: Any) -> Any:
    """The same with hostile names and texts, but for words that mean something."""
    if isinstance(content, dict):
        return {f"{key}{HOSTILE}" if key in NAMED else key: renamed(each) for key, each in content.items()}
    if isinstance(content, list):
        return [renamed(each) for each in content]
    return f"{content}{HOSTILE}" if content in SAID else content


def test_hostile_names_are_shown_as_they_are(copied: Path) -> None:
    for name in ("metrics.json", "shop/curves.json", "bank/columns.json"):
        rewritten(copied, name, renamed)
    lines = [
        json.dumps(renamed(json.loads(line))) for line in (copied / "history.jsonl").read_text().splitlines()
    ]
    (copied / "history.jsonl").write_text("\n".join(lines))

    def change(manifest: Any) -> Any:
        manifest["evidence"][0]["says"] = manifest["edges"][0]["id"] = HOSTILE
        manifest["messages"][0]["edges"] = [HOSTILE]
        manifest["learned"][0]["column"] = manifest["model"] = HOSTILE
        return manifest

    rewritten(copied, "bundle/manifest.json", change)
    page = report([copied], names=[HOSTILE])
    shown = words(page)
    assert shown.count("<script>document.title") > 8 and "\u202e" not in page
    assert page.count("<script") == 0


ODD: list[Any] = [
    None,
    -1,
    0,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    [],
    [[]],
    {},
    {"": None},
    True,
]


def spoiled(content: Any, draw: random.Random) -> Any:
    """The content with one of its parts gone, doubled, or something else."""
    content = copy.deepcopy(content)
    places: list[tuple[Any, Any]] = []

    def walk(part: Any) -> None:
        for key in (
            list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
        ):
            places.append((part, key))
            walk(part[key])

    walk(content)
    part, key = draw.choice(places)
    if draw.random() < 0.2:
        del part[key]
    else:
        part[key] = draw.choice(ODD)
    return content


NAMES = ("metrics.json", "shop/curves.json", "shop/columns.json", "run.json", "bundle/manifest.json")


@pytest.mark.parametrize("name", NAMES)
def test_whatever_a_file_holds_is_shown_or_refused(name: str, copied: Path) -> None:
    draw = random.Random(7)
    good = (copied / name).read_bytes()
    kept = {each: (copied / each).read_bytes() for each in ("run.json", files.SUMS)}
    refused = 0
    for _ in range(20):
        for each, content in kept.items():
            (copied / each).write_bytes(content)
        (copied / name).write_bytes(good)
        try:
            rewritten(copied, name, lambda content: spoiled(content, draw))
            body(report([copied]))
        except Failure as failure:
            refused += 1
            assert failure.code in ("VFL0805", "VFL0613", "VFL0614", "VFL0621", "VFL0625"), failure
    assert refused
    for cut in (0, 1, len(good) // 2, len(good) - 2):
        (copied / name).write_bytes(good[:cut])
        with pytest.raises(Failure):
            report([copied])


@pytest.mark.parametrize("epoch", [{}, "\ud800"], ids=["object", "surrogate"])
def test_a_checkpoint_that_holds_nonsense_is_passed_over(copied: Path, epoch: Any) -> None:
    (copied / "metrics.json").unlink()
    last = max((copied / "checkpoints").iterdir())
    progress = json.loads((last / "checkpoint.json").read_bytes())
    progress["history"][0]["epoch"], progress["best"] = epoch, {"epoch": 1}
    (last / "checkpoint.json").unlink()
    (last / "checkpoint.json").write_text(json.dumps(progress))
    assert "the run has not ended" in words(report([copied]))


def test_a_run_without_results_shows_what_there_is(copied: Path) -> None:
    (copied / "metrics.json").unlink()
    (copied / "shop" / "curves.json").unlink()
    page = words(report([copied]))
    assert "the run has not ended; 2 epochs are measured" in page and "in all" in page
    (copied / "history.jsonl").unlink()
    shutil.rmtree(copied / "checkpoints")
    assert "nothing is measured yet" in words(report([copied]))


def test_a_chart_of_any_points_can_be_drawn() -> None:
    draw = random.Random(3)
    for _ in range(60):
        scale, start = 10 ** draw.uniform(-12, 12), draw.uniform(-1, 1) * 10 ** draw.uniform(-3, 12)
        points = [(float(i), start + scale * draw.random()) for i in range(draw.randint(1, 5))]
        chart = Chart(
            "t", ChartAxis("x", whole=True), ChartAxis("y"), [Series("s", [*points, None, points[0]], best=0)]
        )
        assert "nan" not in ElementTree.tostring(ElementTree.fromstring(chart.figure()), "unicode")
        low, high = padded(min(y for _, y in points), max(y for _, y in points))
        found = ticks(low, high)
        assert len(found) <= 8 and len({tick(value, found) for value in found}) == len(found)
