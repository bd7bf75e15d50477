"""A compilation and a training step do no more than when benchmarks/counts.json was written."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def counts() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
        yield importlib.import_module("counts")
        del sys.modules["counts"]


def test_nothing_grew(counts: Any) -> None:
    """Where it did for a reason: `python benchmarks/counts.py --write`, and the reason in the commit."""
    found = {spec: counts.counts(counts.ROOT / "specs" / spec / f"{spec}.vfl") for spec in counts.SPECS}
    assert counts.compared(found) == []


def test_what_grew_is_found(counts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = tmp_path / "counts.json"
    before.write_text('{"python": "2.7", "specs": {"m": {"step: calls": 100, "messages": 100}}}')
    monkeypatch.setattr(counts, "FILE", before)
    assert counts.compared({"m": {"step: calls": 200, "messages": 105}}) == []
    assert counts.compared({"m": {"step: calls": 200, "messages": 106}}) == ["m: messages 100 → 106"]
    monkeypatch.setattr(counts, "PYTHON", "2.7")
    assert counts.compared({"m": {"step: calls": 106, "messages": 2}}) == ["m: step: calls 100 → 106"]
