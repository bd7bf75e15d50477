"""CI runs all tests, and with the oldest packages those that a version can change."""

from __future__ import annotations

from pathlib import Path

from order import FIRST

ROOT = Path(__file__).parents[2]


def test_ci_runs_all() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    assert "$(python) -m pytest $(CORES) $(PYTEST);" in text  # all: none is left out
    assert "editor lint test-lsp" in text  # beside them: those that need packages of their own
    lines = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert {"make torch", "make moto", "make test", "make test-oldest"} <= {
        each.split(" #")[0].strip() for each in lines
    }


def test_what_comes_first_is_there() -> None:
    assert [each for each in FIRST if not (ROOT / "tests" / each).exists()] == []
