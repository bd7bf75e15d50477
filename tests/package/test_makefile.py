"""`make test` and `make test-long` together run every test, and CI runs both."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_what_one_leaves_out_the_other_runs() -> None:
    ask = ["make", "--no-print-directory", "--eval", "long: ; @echo $(LONG)", "long"]
    long = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(long) > 5 and [path for path in long if not (ROOT / path).exists()] == []
    text = (ROOT / "Makefile").read_text("utf-8")
    assert "-m pytest $(CORES) $(or $(PYTEST),$(addprefix --ignore=,$(LONG)))" in text
    assert "-m pytest $(CORES) $(or $(PYTEST),$(LONG))" in text


def test_ci_runs_all() -> None:
    lines = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert {"make torch", "make test", "make test-long", "make test-oldest"} <= {
        each.split(" #")[0].strip() for each in lines
    }
