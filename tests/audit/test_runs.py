"""Several runs attacked together: noise that each draws anew averages out, what is drawn once does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from audit.auditing import LINEAR, only, protected, recorded, tables
from audit.test_audit import found
from vflc_runtime.audit.attacks.attack import Look
from vflc_runtime.audit.html import page
from vflc_runtime.audit.report import Report
from vflc_runtime.audit.run import AuditOptions, audit
from vflc_runtime.audit.runs import added_up, ranks
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import epsilon_of
from vflc_runtime.protect.costs import of_runs
from vflc_runtime.protect.ledger import Entry, Ledger, name_of

ROWS = 1500
RUNS = 4


def together(text: str, folder: Path, kept: bool) -> Report:
    """Four runs of a spec, with one ledger or one each, audited together."""
    sources = tables(ROWS)
    runs = []
    for seed in range(RUNS):
        own = folder / f"ledger-{0 if kept else seed}"
        runs.append(recorded(text, sources, folder / f"{seed}", seed=seed, ledger=own))
    return audit(runs[0], sources, AuditOptions(("alice",), threads=1, bounds=False, runs=tuple(runs[1:])))


def test_noise_of_each_run_averages_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "sign")
    mechanism = "protect gradients to alice with gaussian(clip = 0.001, noise = 0.7)"
    report = together(protected(LINEAR, mechanism), tmp_path, kept=True)
    score = found(report, "alice", f"vote, {RUNS} runs", "h.gradient.protected")
    assert score.secret == "bob.y" and score.details["runs"] == RUNS
    assert score.score > score.details["first run"] + 0.05 and score.details["first run"] < 0.92
    assert score.bound == found(report, "alice", "sign").bound == "its code (1 bit a row)", "of all runs"
    assert f"and {RUNS - 1} more runs" in page(report) and report.data()["runs"] == RUNS


@pytest.mark.parametrize("kept", [True, False])
def test_a_label_that_is_drawn_once_is_not_found_by_a_vote(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a ledger the answers are those of the first run; four ledgers answer four times, and cost that."""
    only(monkeypatch)
    text = protected(LINEAR, "protect bob.y with label_dp(epsilon = 1)")
    text += "\nrelease bob { to alice: y at most epsilon 1 }\n"
    score = found(together(text, tmp_path, kept), "alice", f"vote, {RUNS} runs", "h.gradient")
    grown = score.score - score.details["first run"]
    assert (abs(grown) < 0.03) if kept else (grown > 0.05)
    assert score.bound == ("ε = 1" if kept else f"ε = {RUNS}")
    shutil.rmtree(tmp_path / "ledger-0")
    options = AuditOptions(("alice",), threads=1, bounds=False, runs=(tmp_path / "1" / "run",))
    again = audit(tmp_path / "0" / "run", tables(ROWS), options)
    assert found(again, "alice", "vote, 2 runs").bound.endswith("the ledger that adds them up is not here")


def test_epsilon_of_gaussian_runs_is_what_the_ledger_adds_up(tmp_path: Path) -> None:
    """Two runs in one ledger are one Gaussian together; a second ledger adds its ε."""
    keys, reach = np.arange(8).astype(np.uint64), ("alice", "y")
    name = name_of(keys)
    for folder, runs in (("one", ("a", "b", "c")), ("two", ("d",))):
        for run in runs:
            entry = Entry(run, "m", "g", "gaussian", "train", name, 8, (reach,), 3, 5.0, 0.0, 1e-6)
            Ledger(tmp_path / folder, "bob").change(lambda old, e=entry: {e.key: e}, {name: keys}, {})

    def spent(*runs: str) -> tuple[float, float]:
        settings = [
            {"ledger": {"folder": str(tmp_path / ("two" if run == "d" else "one")), "run": run, "draws": {}}}
            for run in runs
        ]
        found = of_runs([*settings, {}], "bob", reach)
        return found.epsilon, found.delta

    def alone(messages: int, delta: float) -> float:
        return epsilon_of(2 * np.sqrt(messages) / 5.0, delta)

    assert spent("a") == pytest.approx((alone(3, 1e-6), 1e-6))
    assert spent("a", "b") == pytest.approx((alone(6, 2e-6), 2e-6))
    assert spent("b", "d") == pytest.approx((2 * alone(3, 1e-6), 2e-6))
    assert spent() == (0.0, 0.0)
    with pytest.raises(Failure, match="VFL0686"):
        spent("e")


def test_ranks_are_added_up_by_row() -> None:
    assert ranks(np.array([3.0, -1.0, 3.0, 9.0])) == pytest.approx([0.0, -0.5, 0.0, 0.5])
    assert ranks(np.array([7.0])) == pytest.approx([-0.5])
    first = [Look(np.array([0, 2]), np.array([1.0, 5.0])), Look(np.array([1, 3]), np.array([2.0, 2.0]))]
    second = [Look(np.array([2, 1, 0]), np.array([0.1, 0.3, 0.2]))]
    rows, sums = added_up([first, second], 5)
    assert rows.tolist() == [0, 1, 2], "seen in both runs"
    assert sums == pytest.approx(np.array([[-0.5, -0.5], [0.0, 0.5], [0.5, 0.0]]))
    assert added_up([[], first], 5)[0].tolist() == []


def test_runs_of_other_specs_and_other_tables_are_refused(tmp_path: Path) -> None:
    sources = tables(ROWS)
    one = recorded(protected(LINEAR, ""), sources, tmp_path / "one")
    two = recorded(protected(LINEAR, "", share=1.0), sources, tmp_path / "two")
    three = recorded(protected(LINEAR, ""), tables(ROWS, seed=1), tmp_path / "three")
    with pytest.raises(Failure, match="VFL0689"):
        audit(one, sources, AuditOptions(runs=(two,)))
    with pytest.raises(Failure, match="VFL0626"):
        audit(one, sources, AuditOptions(runs=(three,)))
