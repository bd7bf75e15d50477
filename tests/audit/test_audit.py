"""Runs with a planted leak, or none, audited as a whole."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from audit.auditing import CLASSES, DEEP, LINEAR, NUMBER, only, recorded, spec, tables
from vflc_runtime.audit.attacks.attack import Look
from vflc_runtime.audit.features import Spelling
from vflc_runtime.audit.html import page
from vflc_runtime.audit.judge import Judge
from vflc_runtime.audit.knowledge import AttackedLabel
from vflc_runtime.audit.report import LEVELS, MEANING, AttackScore, Report
from vflc_runtime.audit.run import AuditOptions, audit
from vflc_runtime.errors import Failure

ROWS = 1200


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """Audits of the planted models, each over two epochs.

    One has every attack, and puts bounds to the test as well; the others have those that tests look for.
    """
    made = {}
    for name, text, parties, attacks in (
        ("linear", spec(LINEAR), (), ()),
        ("rare", spec(DEEP, share=3.5), (), ("norm", "spectral")),
        ("classes", spec(CLASSES), ("alice",), ("direction", "sign", "cosine")),
        ("number", spec(NUMBER), ("alice",), ("residual",)),
    ):
        sources = tables(ROWS)
        run = recorded(text, sources, tmp_path_factory.mktemp(name), epochs=2)
        with pytest.MonkeyPatch.context() as patch:
            if attacks:
                only(patch, *attacks)
            made[name] = audit(run, sources, AuditOptions(parties, threads=1, bounds=not attacks))
    return made


def found(report: Report, party: str, attack: str, channel: str | None = None) -> AttackScore:
    return next(
        s for s in report.scores if (s.party, s.attack) == (party, attack) and channel in (None, s.channel)
    )


@pytest.mark.parametrize("attack", ["sign", "consensus", "column", "vote", "cosine"])
def test_an_affine_model_gives_the_label_away(reports: dict[str, Report], attack: str) -> None:
    score = found(reports["linear"], "alice", attack)
    assert (score.secret, score.measure, score.level) == ("bob.y", "auc", "recovered")
    assert score.score > 0.99 and score.chance < 0.75
    assert score.verdict.startswith("alice can read bob.y row by row")
    assert score.advice and "label_dp" in score.advice and "marvell" not in score.advice


def test_rare_labels_leak_by_the_norm(reports: dict[str, Report]) -> None:
    score = found(reports["rare"], "alice", "norm")
    assert score.quantile > 0.95 > score.chance
    assert score.level in ("leaks", "recovered")


def test_classes_leak_by_direction_and_numbers_by_residual(reports: dict[str, Report]) -> None:
    direction = found(reports["classes"], "alice", "direction")
    assert direction.measure == "purity" and direction.quantile > direction.chance + 0.3
    residual = found(reports["number"], "alice", "residual")
    assert residual.measure == "correlation" and residual.score > 0.5 > residual.chance
    assert not [s for s in reports["classes"].scores if s.attack in ("sign", "cosine", "vote")]


def test_features_behind_a_linear_map_are_solved_for(reports: dict[str, Report]) -> None:
    scores = {s.secret: s for s in reports["linear"].scores if s.attack == "linear"}
    assert set(scores) == {"alice.x1", "alice.x2", "alice.x3", "alice.x4"}
    assert all(s.party == "bob" and s.score < 1e-6 and s.level == "recovered" for s in scores.values())
    narrow = [s for s in reports["rare"].scores if s.attack == "linear"]
    assert max(s.score for s in narrow) > 0.1, "four units behind two layers hide more"


def test_the_first_step_tells_features_to_whoever_knows_the_initial_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights start from the seed and their names: nothing else is needed to undo the first step."""
    only(monkeypatch, taught=True)
    text = spec(DEEP).replace("alice.x4)", "alice.x4, flatten(embed([alice.City], dim = 3)))")
    sources = tables(400)
    options = AuditOptions(("bob",), threads=1, bounds=False)
    report = audit(recorded(text, sources, tmp_path), sources, options)
    initial = {s.secret: s for s in report.scores if s.attack == "initial"}
    assert set(initial) == {"alice.City", *(f"alice.x{i}" for i in range(1, 5))}
    assert all(s.knows == "" for s in initial.values())
    assert min(s.score for s in initial.values()) < 0.5
    one_epoch_later = recorded(text, sources, tmp_path / "later", epochs=2)
    (one_epoch_later / "bob" / "transcript" / "step-0000000001.safetensors").unlink()
    later = audit(one_epoch_later, sources, options)
    assert not [s for s in later.scores if s.attack == "initial"], "it is about step 1"


@pytest.mark.parametrize("key", ["00", "01"])
def test_a_secret_start_shuts_the_way_back_through_the_initial_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """The keys are given: among keys as they fall, one in five lets one of four features come out by luck."""
    only(monkeypatch, taught=True)
    monkeypatch.setattr("vflc_runtime.run.start.secrets.token_hex", lambda length: key * length)
    text = spec(DEEP).replace("batch     64", "batch     64\n  secret_start true")
    sources = tables(400)
    options = AuditOptions(("bob",), threads=1, bounds=False)
    report = audit(recorded(text, sources, tmp_path), sources, options)
    initial = [s for s in report.scores if s.attack == "initial"]
    assert len(initial) == 4 and min(s.score for s in initial) > 0.9, "no better than guessing the mean"


def test_features_are_spelled_by_the_values_that_are_known() -> None:
    ids = np.array([5, 5, 2, 9, -1])
    spelling = Spelling.of(ids)
    assert spelling(np.array([2, 5, 7, -1])).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert spelling(np.array([[2, 9], [-1, 5]])).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert Spelling.of(np.array([[0.5]]))(np.array([[2.5], [1.0]])).tolist() == [[2.5], [1.0]]
    assert Spelling.of(np.array([-1]))(np.array([3, 4])).shape == (2, 0)


def test_completion_is_held_against_the_same_labels_without_the_bottom(reports: dict[str, Report]) -> None:
    score = found(reports["linear"], "alice", "completion")
    assert score.knows == "100 labels" and score.batches == 5
    assert abs(score.score - score.chance) < 0.05 and score.level == "quiet"
    assert score.advice is None


def test_a_class_that_no_batch_has_enough_of_is_left_out() -> None:
    truth = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 2.0, 0.0])
    judge = Judge(AttackedLabel("bob.grade", "classes", 4), truth)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spread = judge.looks([Look(np.arange(8), truth)])
        assert judge.looks([Look(np.array([0, 1]), np.zeros(2))]) is None, "too few rows to judge"
    assert spread is not None and (spread.mean, spread.batches) == (1.0, 1)


def test_nobody_attacks_what_is_his_own(reports: dict[str, Report]) -> None:
    for report in reports.values():
        for score in report.scores:
            assert score.secret.split(".")[0] != score.party
            assert score.level in LEVELS and min(score.score, score.chance) >= 0


def test_the_report_as_json_and_as_a_page(reports: dict[str, Report]) -> None:
    report = reports["linear"]
    data = json.loads(json.dumps(report.data(), allow_nan=False))
    assert data["worst"] == "recovered" and data["steps"] == 38 and data["rows"] == ROWS
    assert data["task"]["train"]["loss"] == report.task["train"]["loss"]
    assert {edge["id"] for edge in data["edges"]} == {"h", "h.gradient"}
    html = page(report)
    assert MEANING["recovered"] in html and "h.gradient" in html
    assert not any(word in html for word in ("<script", "http", "src=", "@import", "url("))


def test_nothing_that_crosses_is_dropped_silently(reports: dict[str, Report]) -> None:
    """Every edge was looked at by an attack, or stands with a reason; control messages as well."""
    for report in reports.values():
        attacked = {edge for score in report.scores for edge in score.edges}
        assert {edge["id"] for edge in report.edges} <= attacked | set(report.passed)
        assert not attacked & set(report.passed)
        assert "hello" in report.passed["control messages"]
    told = {(each["party"], each["secret"]): each for each in reports["linear"].data()["reached"]}
    assert told["alice", "bob.y"]["level"] == "recovered" and told["alice", "bob.y"]["bound"].startswith(
        "its code"
    )


def test_what_the_manifest_says_is_escaped(reports: dict[str, Report]) -> None:
    report = reports["linear"]
    evil: dict[str, Any] = {**report.edges[0], "id": "<img onerror=x>"}
    assert "<img" not in page(replace(report, model="<img>", edges=(evil,)))


def test_no_leak_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that have nothing to do with any column, behind a wide mixing layer."""
    only(monkeypatch, "spectral", taught=True)
    sources = tables(ROWS)
    labels = np.random.default_rng(9).normal(size=ROWS)
    sources["bob"] = sources["bob"].set_column(2, "score", pa.array(labels))
    options = AuditOptions(("alice",), threads=1, bounds=False)
    report = audit(recorded(spec(LINEAR), sources, tmp_path), sources, options)
    assert {"spectral", "completion"} <= {score.attack for score in report.scores}
    for score in report.scores:
        if score.attack in ("spectral", "completion"):
            assert score.level == "quiet", score
            assert score.quantile < score.chance + 0.05


def test_wrong_use(tmp_path: Path) -> None:
    sources = tables(200)
    run = recorded(spec(LINEAR), sources, tmp_path)
    for options, data, code in (
        (AuditOptions(("carol",)), sources, "VFL0681"),
        (AuditOptions(), tables(200, seed=1), "VFL0626"),
    ):
        with pytest.raises(Failure) as failure:
            audit(run, data, options)
        assert failure.value.code == code
    for folder in ("alice", "bob"):
        for file in (run / folder / "transcript").iterdir():
            file.unlink()
    with pytest.raises(Failure) as failure:
        audit(run, sources)
    assert failure.value.code == "VFL0680"
