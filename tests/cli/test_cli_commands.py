"""Every command on a new project, from `init` to predictions, as a user runs them."""

import contextlib
import csv
import io
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from forked import typed

from vflc.cli.main import run

ROOT = Path(__file__).parents[2]
DATA = ("--data", "bank=data/bank.csv", "--data", "shop=data/shop.csv")


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str


def vflc(folder: Path, *arguments: str, input: str = "") -> Ended:
    """Runs a command line in this process; the tests below that use a process of its own say why."""
    out, err = io.StringIO(), io.StringIO()
    stdin, sys.stdin = sys.stdin, io.StringIO(input)
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(arguments))
    finally:
        sys.stdin = stdin
    return Ended(code, out.getvalue(), err.getvalue())


def done(folder: Path, *arguments: str) -> str:
    result = vflc(folder, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "project"
    assert "made" in done(folder.parent, "init", "project")
    return folder


@pytest.fixture(scope="module")
def trained(made: Path) -> Path:
    done(made, "train", "model.vfl", *DATA, "--out", "run", "--validation", "0.2", "--epochs", "8")
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    done(tmp_path, "init")
    return tmp_path


def test_init_writes_nothing_over_what_is_there(project: Path) -> None:
    (project / "model.vfl").write_text("mine")
    again = vflc(project, "init")
    assert again.returncode == 1 and "already has model.vfl" in again.stderr
    assert (project / "model.vfl").read_text() == "mine"


def test_new_project_has_nothing_to_complain_about(made: Path) -> None:
    assert "no errors, no warnings" in done(made, "check", "model.vfl")
    assert json.loads(done(made, "check", "model.vfl", "--format", "json")) == []
    assert json.loads(done(made, "check", "model.vfl", "--format", "sarif"))["runs"][0]["results"] == []
    done(made, "fmt", "--check", "model.vfl")


def test_compile_prints_every_edge_and_its_size(project: Path) -> None:
    shown = done(project, "compile", "model.vfl", "-o", "build")
    manifest = json.loads((project / "build" / "manifest.json").read_text())
    assert len(manifest["edges"]) == 2
    for edge in manifest["edges"]:
        (line,) = [line for line in shown.splitlines() if line.split()[:1] == [edge["id"]]]
        assert f"{edge['from']} → {edge['to']}, {edge['phase']}: " in shown
        assert str(edge["bytes_per_row"]) in line.split()
    assert "depends on bank: Age, Income, Region; shop: Product, Visits, came_back" in shown
    assert not [line for line in shown.splitlines() if line != line.rstrip()]


def test_compile_does_not_replace_what_is_no_bundle(project: Path) -> None:
    refused = vflc(project, "compile", "model.vfl", "-o", "data")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert sorted(path.name for path in (project / "data").iterdir()) == ["bank.csv", "shop.csv"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("compile", "model.vfl", "-o", "model.vfl/x"),
        ("graph", "model.vfl", "-o", "no/x"),
        ("init", "model.vfl/x"),
    ],
)
def test_place_that_cannot_be_written(project: Path, arguments: tuple[str, ...]) -> None:
    before = (project / "model.vfl").read_bytes()
    refused = vflc(project, *arguments)
    assert refused.returncode == 1 and "error[VFL0612]: cannot write" in refused.stderr
    assert (project / "model.vfl").read_bytes() == before


def test_train_shows_rows_history_and_bytes(project: Path) -> None:
    done(project, "compile", "model.vfl", "-o", "build")
    shown = done(project, "train", "build", *DATA, "--epochs", "2", "--validation", "0.2")
    words = [line.split() for line in shown.splitlines()]
    assert ["bank", "580", "561", "19"] in words and ["shop", "580", "561", "19"] in words
    assert any(line[:2] == ["bank.Region", "118"] and "'abroad'" in line for line in words)
    assert {"1/2", "2/2"} <= {line[0] for line in words if line}
    metrics = json.loads((project / "runs" / "model" / "metrics.json").read_text())
    for edge, count in metrics["bytes_sent"].items():
        assert any(line[:1] == [edge] and line[-1] == f"{count:,}" for line in words)
    assert "\r" not in shown and "\x1b" not in shown


def test_evaluate_and_predict(trained: Path) -> None:
    found = json.loads(done(trained, "evaluate", "run", *DATA, "--json"))
    assert found["rows"] == 561 and found["evaluation"]["auc"] > 0.85
    assert "561 rows" in done(trained, "evaluate", "run", *DATA)
    done(trained, "predict", "run", *DATA, "-o", "predictions.csv")
    with (trained / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 561 and list(rows[0]) == ["customer", "came_back"]
    assert all(0 < float(row["came_back"]) < 1 for row in rows)


def test_a_prediction_for_a_single_row_is_warned_of(trained: Path) -> None:
    lines = {party: (trained / f"data/{party}.csv").read_text().splitlines() for party in ("bank", "shop")}
    key = lines["bank"][1].split(",")[lines["bank"][0].split(",").index("customer")]
    for party, (head, *rest) in lines.items():
        column = head.split(",").index("customer")
        row = next((line for line in rest if line.split(",")[column] == key), rest[0])
        (trained / f"one_{party}.csv").write_text(f"{head}\n{row}\n")
    data = ("--data", "bank=one_bank.csv", "--data", "shop=one_shop.csv")
    shown = vflc(trained, "predict", "run", *data, "-o", "one.csv")
    assert shown.returncode == 0 and "1 rows" in shown.stdout
    assert "warning[VFL0326]" in shown.stderr


def test_a_merged_model_is_warned_of(trained: Path) -> None:
    parts = vflc(trained, "export", "run", "-o", "parts")
    whole = vflc(trained, "export", "run", "--merged", "-o", "whole")
    assert parts.returncode == whole.returncode == 0
    assert "VFL0325" not in parts.stderr and "warning[VFL0325]" in whole.stderr


def test_a_run_is_not_overwritten_and_can_be_resumed(trained: Path) -> None:
    before = (trained / "run" / "metrics.json").read_bytes()
    refused = vflc(trained, "train", "model.vfl", *DATA, "--out", "run")
    assert refused.returncode == 1 and "error[VFL0624]" in refused.stderr and "--resume" in refused.stderr
    assert (trained / "run" / "metrics.json").read_bytes() == before
    shown = done(trained, "train", *DATA, "--out", "run", "--resume", "--epochs", "9")
    assert "9/9" in shown and "8/9" not in shown


@pytest.mark.parametrize(("number", "inherited"), [("INT", "DFL"), ("TERM", "DFL"), ("TERM", "IGN")])
def test_interrupted_run_goes_on(project: Path, number: str, inherited: str) -> None:
    """In a process of its own, which gets the signal; scripts start theirs with Ctrl-C ignored."""
    command = [sys.executable, "-m", "vflc.cli.main", "train", "model.vfl", *DATA, "--out", "run"]
    process = subprocess.Popen(
        [*command, "--epochs", "5000"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.Handlers[f"SIG_{inherited}"]),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 300
        while not (project / "run" / "history.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.Signals[f"SIG{number}"])
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, errors
    assert errors.startswith("stopped after step") and "--resume" in errors and "Traceback" not in errors
    epochs = len((project / "run" / "history.jsonl").read_text().splitlines())
    done(project, "train", *DATA, "--out", "run", "--resume", "--epochs", str(epochs + 1))


def test_mistakes_are_all_shown_and_the_bundle_is_untouched(project: Path) -> None:
    done(project, "compile", "model.vfl", "-o", "build")
    before = (project / "build" / "manifest.json").read_bytes()
    spec = project / "model.vfl"
    spec.write_text(spec.read_text().replace("embed(fields", "embed(fieldss").replace("adam", "adamm"))
    refused = vflc(project, "compile", "model.vfl", "-o", "build")
    assert refused.returncode == 1
    assert refused.stderr.count("error[VFL01") == 2 and "model.vfl:22:" in refused.stderr
    assert (project / "build" / "manifest.json").read_bytes() == before
    found = vflc(project, "check", "model.vfl", "--format", "json")
    assert found.returncode == 1 and len(json.loads(found.stdout)) == 2


def test_runtime_mistake_is_shown_at_the_line_of_the_spec(project: Path) -> None:
    table = project / "data" / "bank.csv"
    table.write_text(table.read_text().replace("Income", "Wage", 1))
    refused = vflc(project, "train", "model.vfl", *DATA)
    assert refused.returncode == 1
    assert "error[VFL0602]" in refused.stderr and "feature Income: float" in refused.stderr
    assert "model.vfl:7:" in refused.stderr and not (project / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "model.vfl", "--data", "bank"), "PARTY=SOURCE"),
        (("train", "model.vfl", "--data", "bank=a", "--data", "bank=b"), "two sources"),
        (("train", "model.vfl"), "--data"),
        (("train", *DATA), "SPEC"),
        (("compile", "model.vfl"), "give the folder for the bundle: -o FOLDER"),
        (("train", "model.vfl", *DATA, "--epochs", "0"), "--epochs"),
    ],
)
def test_usage(made: Path, arguments: tuple[str, ...], said: str) -> None:
    result = vflc(made, *arguments)
    assert result.returncode == 2 and said in result.stderr


@pytest.mark.parametrize("name", ["nowhere.vfl", "data"])
def test_spec_that_cannot_be_read(made: Path, name: str) -> None:
    result = vflc(made, "check", name)
    assert result.returncode == 1 and "error[VFL" in result.stdout and name in result.stdout


def test_party_without_data(made: Path) -> None:
    result = vflc(made, "train", "model.vfl", *DATA[:2])
    assert result.returncode == 1 and "error[VFL0618]" in result.stderr and "shop" in result.stderr


def test_fmt_in_place_and_from_stdin(project: Path) -> None:
    spec = project / "model.vfl"
    good = spec.read_text()
    spec.write_text(good.replace("  key customer", "      key    customer"))
    assert vflc(project, "fmt", "--check", "model.vfl").returncode == 1
    assert "-      key    customer" in vflc(project, "fmt", "--diff", "model.vfl").stdout
    assert spec.read_text() != good
    done(project, "fmt", "model.vfl")
    assert spec.read_text() == good
    assert vflc(project, "fmt", "-", input=good.replace("  key", "key")).stdout == good


def test_graph_and_explain(made: Path) -> None:
    assert done(made, "graph", "model.vfl").startswith("flowchart TB\n")
    done(made, "graph", "model.vfl", "--format", "dot", "-o", "model.dot")
    assert (made / "model.dot").read_text().startswith("digraph")
    assert "VFL0602" in done(made, "explain")
    assert "VFL0602" in done(made, "explain", "vfl0602")
    unknown = vflc(made, "explain", "VFL9999")
    assert unknown.returncode == 1 and "Traceback" not in unknown.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "specs").rglob("*.vfl")), ids=lambda path: path.stem)
def test_specs_are_formatted(path: Path) -> None:
    assert vflc(ROOT, "fmt", "--check", str(path)).stdout == ""


def test_commands_of_the_template(project: Path) -> None:
    """What the README of a new project tells its user to type."""
    text = (project / "README.md").read_text()
    script = text.split("```sh\n")[1].split("```")[0]
    for line in script.splitlines():
        done = typed(line, project)
        assert done.returncode == 0, line + done.stdout + done.stderr
    assert (project / "predictions.csv").exists()


def test_a_vocabulary_that_knows_none_of_the_values_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console
    from vflc_runtime.events import Loaded

    from vflc.cli.progress import loaded

    counts = {"unknown": 1200, "missing": 0, "examples": ["female", "male"]}
    for known, code in (({}, False), ({"expected": ["F", "M"]}, True)):
        report = {"parties": {}, "encoders": {"alice.Gender": {**counts, **known}}}
        loaded(Console(quiet=True), Loaded(1200, report, 0.1))
        said = capsys.readouterr().err
        assert ("warning[VFL0633]" in said) == code
        assert not code or ("'F', 'M'" in said and "'female', 'male'" in said and "alice.Gender" in said)
