"""docs/benchmarks.md is one command's, and README has nothing of speed that the page has not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
FIGURE = re.compile(r"\d[\d,]*(?:\.\d+)?")


@pytest.fixture(scope="module")
def report() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield import_module("report")


def speed_table(readme: str) -> list[str]:
    """The lines of README's table of speed, without its head."""
    start, end = "<!-- benchmarks -->", "<!-- /benchmarks -->"
    return readme.partition(start)[2].partition(end)[0].strip().splitlines()[2:]


def test_readme_has_only_figures_of_the_page() -> None:
    page = FIGURE.findall(PAGE.read_text())
    for line in speed_table((ROOT / "README.md").read_text()):
        assert [each for each in FIGURE.findall(line) if each not in page] == [], line


def test_the_page_has_every_benchmark_and_no_name_of_a_machine(report: Any) -> None:
    page = PAGE.read_text()
    assert re.findall(r"^## (.+)$", page, re.M) == [section.title for section in report.SECTIONS]
    assert os.uname().nodename not in page
    used = {section.command[0] for section in report.SECTIONS}
    assert used <= {path.name for path in (ROOT / "benchmarks").glob("*.py")}


def test_worse_results_are_shown_as_better_ones_are(report: Any) -> None:
    section = report.SECTIONS[0]
    result = {"name": "deepfm beside Keras `fit`", "batch": 1024, "ours": 45678.9, "peer": 91357.8}
    result |= {"ratio": 0.5, "least": 0.41, "most": 0.62, "unit": "rows/s"}
    page = report.page([(section, [result], ["Missed: a goal."])], 0.1, 61.0, quick=False)
    assert "| deepfm beside Keras `fit` | 1,024 | 45,679 | 91,358 | rows/s | 0.50 | 0.41 to 0.62 |" in page
    assert "Missed: a goal." in page and max(map(len, page.splitlines())) <= 120
    readme = report.into_readme("before <!-- benchmarks -->old<!-- /benchmarks --> after", [result])
    assert "| 1,024 | Keras `fit` | " in readme and "0.50 | 0.41 to 0.62" in readme and "old" not in readme
    assert readme.startswith("before ") and readme.endswith(" after")


def test_a_benchmark_that_cannot_run_is_left_out_and_says_why(report: Any) -> None:
    section = report.Section("start", "Starting", ("start.py", "--rounds", "none"), (), "")
    results, notes = report.measured(section, quick=False)
    assert results == [] and len(notes) == 1 and "invalid int value" in notes[0]
