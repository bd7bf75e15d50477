"""The shipped DeepFM and Wide & Deep leak as published, where nothing protects them."""

from __future__ import annotations

from pathlib import Path

import pytest
from audit.auditing import only, recorded, untaught
from specs.examples import prepared, text_of
from vflc_runtime.audit.run import AuditOptions, audit

CURIOUS = {"deepfm": ("alice", "bob.liked"), "wide_deep": ("follower", "leader.click")}


@pytest.mark.parametrize("name", sorted(CURIOUS))
def test_an_unprotected_label_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two with every attack; what networks find is not looked at."""
    untaught(monkeypatch)
    if name == "wide_deep":
        only(monkeypatch, "norm", "sign")
    sources = prepared(name, tmp_path / "rows", "--generate", 600)
    party, label = CURIOUS[name]
    run = recorded(text_of(name, small=True), sources, tmp_path, epochs=1, batch=150)
    report = audit(run, sources, AuditOptions((party,), threads=1, bounds=name == "deepfm"))
    best = {s.attack: s for s in reversed(report.scores) if s.secret == label}
    assert max(best["norm"].quantile, best["sign"].quantile) >= 0.95
    assert best["sign"].level == "recovered"
