"""docs/benchmarks.md is one command's, README has nothing of speed that it has not, and peers train alike."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
PEERS = ROOT / "build" / "peers"
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
    assert "0.50 | 0.41 to 0.62" in readme and "old" not in readme
    assert readme.startswith("before ") and readme.endswith(" after")


def test_a_benchmark_that_cannot_run_is_left_out_and_says_why(report: Any) -> None:
    section = report.Section("start", "Starting", ("start.py", "--rounds", "none"), (), "")
    results, notes = report.measured(section, quick=False)
    assert results == [] and len(notes) == 1 and "invalid int value" in notes[0]


SAME = """
import sys, json
from pathlib import Path
sys.path.insert(0, "benchmarks")
from contest import Ours, check_same, encoded_rows
from peers import PEERS
from peers.rows import COLUMNS
from vflc.driver import compile_spec
done = []
for model, spec, names in (
    ("deepfm", "specs/deepfm/deepfm.vfl", ("torch", "torch-compiled", "jax", "jax-split")),
    ("wide_deep", "benchmarks/specs/criteo.vfl", ("torch", "keras")),
):
    folder = Path(sys.argv[1]) / model
    compile_spec(spec := Path(spec)).write(folder)
    inputs = encoded_rows(folder, 700)
    peers = {name: PEERS[name].make(model, *COLUMNS[model](inputs), 64) for name in names}
    check_same(Ours(folder, inputs, 64), peers, 700, 64)
    done += names
print(json.dumps(done))
"""


def test_peers_train_as_vflc_does(tmp_path: Path) -> None:
    """Ten steps of each, in the Python of `make peers`."""
    if not list(PEERS.glob("installed*")):
        pytest.skip("PyTorch and JAX are not installed: `make peers`")
    python = [str(PEERS / "bin" / "python"), "-c", SAME, str(tmp_path)]
    done = subprocess.run(python, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout.splitlines()[-1])) == 6
