"""What protections leave of the leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from audit.auditing import DEEP, LINEAR, only, protected, recorded, tables
from vflc_runtime.audit.report import AttackScore, Report
from vflc_runtime.audit.run import AuditOptions, audit
from vflc_runtime.protect.noise import Noise


@pytest.fixture(autouse=True)
def the_same_noise_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds on what noise leaves are about most draws, not about all."""
    monkeypatch.setattr(Noise.__init__, "__defaults__", (np.random.default_rng(0).bytes,))


def audited(text: str, sources: dict[str, Any], out: Path, epochs: int, **options: Any) -> Report:
    run = recorded(text, sources, out, epochs, **options)
    return audit(run, sources, AuditOptions(("alice",), threads=1, bounds=False))


def found(report: Report, attack: str) -> AttackScore:
    return next(score for score in report.scores if score.attack == attack)


def test_marvell_hides_the_norm_and_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Li et al. (ICLR 2022) publish .951 at a task AUC of .781 down to .558 at .759, on Criteo."""
    only(monkeypatch, "norm", "sign")
    sources = tables(8000)
    reports = {
        name: audited(protected(DEEP, mechanism, 2.0), sources, tmp_path / name, 10, validation=0.25)
        for name, mechanism in (
            ("bare", ""),
            ("marvell", "protect gradients to alice with marvell(sum_kl = 0.25)"),
        )
    }
    bare, marvell = (found(report, "norm") for report in reports.values())
    assert bare.quantile >= 0.95 and bare.score > 0.85
    assert marvell.quantile <= 0.65 and marvell.score < 0.6
    assert found(reports["marvell"], "sign").score < 0.75 < 0.95 < found(reports["bare"], "sign").score
    task = [report.task["validation"]["auc"] for report in reports.values()]
    assert task[0] - task[1] < 0.03


def test_a_label_flipped_once_stays_flipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Randomised response at ε = 1 keeps e/(1+e) = 73 % of labels; ten epochs find no more of them."""
    only(monkeypatch)
    sources = tables(1500)
    text = protected(LINEAR, "protect bob.y with label_dp(epsilon = 1.0)")
    vote = found(audited(text, sources, tmp_path, 10), "vote")
    assert vote.details["epochs"] == 10
    assert vote.score == pytest.approx(0.731, abs=0.06)
    assert vote.score == pytest.approx(vote.details["first epoch"], abs=0.005)


def test_compression_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six bits a number leave every sign as it was; what travels packed is read as its receiver does."""
    only(monkeypatch, "sign")
    sources = tables(1000)
    text = protected(LINEAR, "protect gradients to alice with quantize(bits = 6)")
    report = audited(text, sources, tmp_path, 1)
    assert found(report, "sign").level == "recovered"


SUM = """
party alice { key ID  feature x{1..4}: float  feature City: string -> vocab("a", "b", "c") }
party carol { key ID  feature u: float }
party bob { key ID  feature z: float  column score: float  label y = score > 0  column grade: int }
a     = dense(concat(alice.x1, alice.x2, alice.x3, alice.x4), 3)
c     = dense(carol.u, 3)
logit = dense(relu(a + c + dense(bob.z, 3)), 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train { batch 100 }
release alice { to carol, bob: x1, x2, x3, x4 }
release bob { to alice, carol: z, y }
release carol { to alice, bob: u }
"""


def test_a_masked_term_says_nothing_and_the_sum_is_attacked_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch)
    sources = tables(600)
    sources["carol"] = pa.table({"ID": sources["bob"]["ID"], "u": sources["bob"]["z"]})
    linear: dict[str, dict[tuple[str, str], float]] = {}
    for name, text in (("bare", SUM), ("masked", SUM + "protect a with secure_sum\n")):
        run = recorded(text, sources, tmp_path / name)
        report = audit(run, sources, AuditOptions(("bob",), threads=1, bounds=False))
        linear[name] = {(s.secret, s.channel): s.score for s in report.scores if s.attack == "linear"}
    alone = [error for (secret, channel), error in linear["masked"].items() if channel != "sum of 2"]
    assert alone and min(alone) > 0.9
    of_sum = linear["masked"]["alice.x1", "sum of 2"]
    assert linear["bare"]["alice.x1", "all"] < of_sum < 1, "a sum of two still says something of each"
