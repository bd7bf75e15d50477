"""`vflc audit` and `vflc train --record` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from audit.auditing import LINEAR, spec, tables, untaught
from granting import granted
from vflc_runtime.audit import bounds
from vflc_runtime.run import new_run
from vflc_runtime.run.state import RunFolder

from vflc.cli.main import run


@pytest.fixture(autouse=True)
def no_network_is_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What attacks find is for `tests/audit`; here those that count read the label of an affine model."""
    untaught(monkeypatch)


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """A spec in `planted.vfl`, and the arguments that name its data."""
    (tmp_path / "planted.vfl").write_text(granted(spec(LINEAR)), "utf-8")
    arguments = []
    for party, table in tables(300).items():
        pq.write_table(table, tmp_path / f"{party}.parquet")
        arguments += ["--data", f"{party}={tmp_path / party}.parquet"]
    return arguments


def printed(captured: Any) -> str:
    return " ".join(captured.readouterr().out.split())


def test_a_spec_is_trained_and_attacked(data: list[str], tmp_path: Path, capsys: Any) -> None:
    files = ["--json", str(tmp_path / "audit.json"), "--html", str(tmp_path / "audit.html")]
    assert run(["audit", str(tmp_path / "planted.vfl"), *data, "--epochs", "2", *files]) == 0
    shown = printed(capsys)
    assert "What adversaries learn" in shown and "alice can read bob.y row by row" in shown
    assert "what helps: `protect bob.y with label_dp" in shown
    report = json.loads((tmp_path / "audit.json").read_text("utf-8"))
    assert (report["worst"], report["steps"]) == ("recovered", 10)
    assert "<title>Audit of planted</title>" in (tmp_path / "audit.html").read_text("utf-8")
    assert not list(Path(tmp_path).glob("runs")), "nothing is left behind"


def test_a_recorded_run_is_attacked_as_it_was(data: list[str], tmp_path: Path, capsys: Any) -> None:
    out = str(tmp_path / "run")
    assert run(["train", str(tmp_path / "planted.vfl"), *data, "--out", out, "--record", "2epochs"]) == 0
    assert "recorded for `vflc audit`: 5 steps" in printed(capsys), "the run has one epoch"
    assert run(["audit", out, *data, "--json", "-", "--party", "alice", "--known", "10"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["steps"] == 5 and report["known"]["labels"] == 10
    assert {score["party"] for score in report["scores"]} == {"alice"}
    assert run(["audit", out, *data, "--steps", "3"]) == 2


def test_a_run_without_a_transcript_is_trained_again(data: list[str], tmp_path: Path, capsys: Any) -> None:
    out = str(tmp_path / "run")
    assert run(["train", str(tmp_path / "planted.vfl"), *data, "--out", out, "--batch", "30"]) == 0
    before = sorted(path.name for path in (tmp_path / "run" / "alice").iterdir())
    assert run(["audit", out, *data, "--steps", "7", "--json", str(tmp_path / "audit.json")]) == 0
    assert "was not recorded: training its bundle again" in printed(capsys)
    report = json.loads((tmp_path / "audit.json").read_text("utf-8"))
    assert (report["steps"], report["batch"]) == (7, 30)
    assert before == sorted(path.name for path in (tmp_path / "run" / "alice").iterdir())


@pytest.mark.parametrize("given", ["0", "many", "3 weeks", "epochs", "2epochsx"])
def test_record_says_what_it_takes(data: list[str], tmp_path: Path, capsys: Any, given: str) -> None:
    assert run(["train", str(tmp_path / "planted.vfl"), *data, "--record", given]) == 2
    assert "is not a number of steps, as in 200, or of epochs, as in 3epochs" in capsys.readouterr().err


def test_a_model_at_one_place_has_nothing_to_audit(tmp_path: Path, capsys: Any) -> None:
    text = "\n".join(
        [
            "party bob {",
            "  key ID",
            "  feature z: float",
            "  column  score: float",
            "  label   y = score > 0",
            "}",
            "logit = dense(bob.z, 1)",
            "predict y = sigmoid(logit)",
            "objective bce(logit, bob.y)",
            "train { batch 50 }",
        ]
    )
    (tmp_path / "alone.vfl").write_text(text, "utf-8")
    pq.write_table(tables(100)["bob"], tmp_path / "bob.parquet")
    data = ["--data", f"bob={tmp_path}/bob.parquet"]
    assert run(["audit", str(tmp_path / "alone.vfl"), *data]) == 1
    assert "error[VFL0680]" in capsys.readouterr().err


def test_a_population_is_neither_recorded_nor_audited(capsys: Any) -> None:
    fedrecon = [str(Path(__file__).parents[2] / "specs/fedrecon/fedrecon.vfl"), "--data", "users=none.csv"]
    assert run(["train", *fedrecon, "--record", "3"]) == 1
    assert "error[VFL0691]: --record does not apply to a model over a population" in capsys.readouterr().err
    assert run(["audit", *fedrecon]) == 1
    assert "error[VFL0502]" in capsys.readouterr().err


def test_what_is_trained_again_for_an_audit_keeps_the_same_rows_for_validation(
    data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, spec, seen = str(tmp_path / "run"), str(tmp_path / "planted.vfl"), []
    options = ["--validation", "0.25", "--fold", "3", "--seed", "5", "--batch", "30"]
    assert run(["train", spec, *data, "--out", out, *options]) == 0

    def spied(path: Path, bundle: Any, settings: Any, *rest: Any) -> RunFolder:
        seen.append(settings)
        return new_run.create(path, bundle, settings, *rest)

    monkeypatch.setattr("vflc_runtime.run.train.create", spied)
    assert run(["audit", out, *data, "--steps", "4", "--party", "alice"]) == 0
    (again,), first = seen, RunFolder(Path(out)).settings
    same = ("seed", "batch", "validation", "fold", "data", "digest")
    assert {name: again[name] for name in same} == {name: first[name] for name in same}


def test_an_attack_that_reaches_more_than_is_allowed_fails(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "planted.vfl").write_text(granted(spec(LINEAR)), "utf-8")
    for name, table in tables(300).items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    data = [part for name in ("alice", "bob") for part in ("--data", f"{name}={tmp_path}/{name}.parquet")]
    command = ["audit", str(tmp_path / "planted.vfl"), *data, "--steps", "4", "--party", "alice"]
    assert run([*command, "--at-most", "hints"]) == 1
    shown = capsys.readouterr()
    assert "Attacks compared with what is proven" in shown.out and "its code (1 bit a row)" in shown.out
    assert "error[VFL0682]: an attack reached `recovered`" in shown.err
    assert run(command) == 0, "nothing is refused where nothing was asked for"


def test_a_bound_that_an_attack_refutes_is_a_defect(
    data: list[str], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["audit", str(tmp_path / "planted.vfl"), *data, "--steps", "4", "--party", "alice"]
    monkeypatch.setattr(bounds, "of_unit", lambda *given: bounds.Tested(0.0, 0.0, None, "nothing"))
    assert run([*command, "--no-bounds"]) == 0
    assert "Bounds were not tested" in capsys.readouterr().out
    found = tmp_path / "found.json"
    assert run([*command, "--json", str(found)]) == 4
    shown = capsys.readouterr()
    assert "REFUTED" in shown.out and "error[VFL0687]: a bound does not hold: alice named" in shown.err
    trials = {each["secret"]: each for each in json.loads(found.read_text("utf-8"))["trials"]}
    assert trials["bob.y"]["refuted"] and trials["bob.y"]["p"] < 1e-6
