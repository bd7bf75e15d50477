"""Every bad example gives exactly the diagnostics beside it, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from snapshot import same_as

from vflc.diagnostics import render_text
from vflc.driver import check

BAD = sorted((Path(__file__).parent / "bad").glob("*.vfl"))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_example(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    found = check(Path(path.name))
    assert any(diagnostic.level == "error" for diagnostic in found)
    assert not any(diagnostic.span is None for diagnostic in found), "a mistake has a place in the text"
    same_as(path.with_suffix(".txt"), render_text.render(found))
