"""Audits of runs whose rows are joined: as of the joined table, in the rows that all parties have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from audit.auditing import LINEAR, compiled, only, recorded, spec, tables
from granting import granted
from vflc_runtime.audit.again import settings_of, trained_again
from vflc_runtime.audit.report import Report
from vflc_runtime.audit.run import AuditOptions, audit
from vflc_runtime.errors import Failure
from vflc_runtime.run.train import TrainOptions, train

PLAIN = spec(LINEAR)
LACKING = PLAIN.replace("party alice {\n  key ID", "party alice {\n  key ID\n  missing party allowed")
MANY = PLAIN.replace("party bob {\n  key ID", "party bob {\n  key ID\n  rows per key many")
ATTACKS = ("sign", "consensus")


def attacked(text: str, sources: dict[str, Any], out: Path, bounds: bool = False, **options: Any) -> Report:
    run = recorded(text, sources, out, **options)
    return audit(run, sources, AuditOptions(threads=1, bounds=bounds))


def of(report: Report, attack: str) -> float:
    return next(s.score for s in report.scores if (s.party, s.secret, s.attack) == ("alice", "bob.y", attack))


def test_where_nothing_is_joined_it_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, *ATTACKS)
    sources = tables(300)
    plain, *others = (
        attacked(text, sources, tmp_path / str(i), bounds=True)
        for i, text in enumerate((PLAIN, LACKING, MANY))
    )
    assert plain.scores
    for other in others:
        assert [(s.party, s.attack, s.channel) for s in other.scores] == [
            (s.party, s.attack, s.channel) for s in plain.scores
        ]
        for one, two in zip(plain.scores, other.scores, strict=True):
            assert two.score == pytest.approx(one.score, abs=1e-6), (one, two)


def test_rows_that_a_party_lacks_and_rows_that_are_dropped_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient of a row that alice has tells its label; were rows mixed up, it would tell nothing."""
    only(monkeypatch, *ATTACKS)
    sources = tables(400)
    has = np.random.default_rng(1).random(400) < 0.6
    sources["alice"] = sources["alice"].filter(pa.array(has))
    text = LACKING.replace("batch     64", "batch     64\n  drop alice 0.3\n  validation 0.1")
    report = attacked(text, sources, tmp_path, epochs=2)
    assert report.rows == int(has.sum())
    assert of(report, "sign") > 0.99 and of(report, "consensus") > 0.99


def test_answers_for_labels_hold_where_a_party_lacks_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Randomised response with ε = 1 leaves the truth in e / (1 + e) of the rows, whoever has them."""
    only(monkeypatch, *ATTACKS)
    sources = tables(600)
    sources["alice"] = sources["alice"].filter(pa.array(np.random.default_rng(1).random(600) < 0.7))
    text = LACKING + "protect bob.y with label_dp(epsilon = 1)\n"
    report = attacked(text, sources, tmp_path, bounds=True)
    assert report.trials and not any(trial.refuted for trial in report.trials)
    assert 0.5 < of(report, "sign") < 0.83
    learned = compiled(granted(text)).manifest["learned"]
    assert {
        r["bound"].get("epsilon") for r in learned if (r["receiver"], r["column"]) == ("alice", "score")
    } == {1.0}


def test_rows_of_one_key_are_told_by_their_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, *ATTACKS)
    sources = tables(400)
    keys = np.random.default_rng(1).integers(0, 200, 400)
    sources["bob"] = sources["bob"].set_column(0, "ID", pa.array([f"k{key:06}" for key in keys]))
    report = attacked(MANY, sources, tmp_path)
    assert report.rows == 400 and 0.7 < of(report, "sign") <= 1


def test_validation_from_a_table_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, *ATTACKS)
    sources = {party: table.slice(0, 400) for party, table in tables(500).items()}
    apart = {party: table.slice(400) for party, table in tables(500).items()}
    run = recorded(PLAIN, sources, tmp_path / "one", validation_data=apart)
    options = AuditOptions(threads=1, bounds=False, apart=apart)
    report = audit(run, sources, options)
    assert report.rows == 500 and of(report, "sign") > 0.99
    with pytest.raises(Failure, match="VFL0748"):
        audit(run, sources, AuditOptions(threads=1))
    with pytest.raises(Failure, match="VFL0626"):
        audit(run, sources, AuditOptions(threads=1, apart=sources))
    compiled(granted(PLAIN)).write(tmp_path / "bundle")
    plain = train(
        tmp_path / "bundle", sources, tmp_path / "plain", TrainOptions(1, threads=1, validation_data=apart)
    ).folder
    with trained_again(
        tmp_path / "bundle", sources, **settings_of(plain) | {"validation_data": apart}
    ) as again:
        assert of(audit(plain, sources, options, again), "sign") > 0.99
