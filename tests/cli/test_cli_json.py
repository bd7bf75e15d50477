"""Every command that prints a result prints it as one JSON object, too; docs/json.md has them all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from vflc.cli.commands import COMMANDS, vflc
from vflc.cli.main import run

TEXT_ALONE = {"graph", "fmt", "lsp"}
"""Commands whose result is a text of a form of its own, or a conversation."""
PAGE = Path(__file__).parents[2] / "docs" / "json.md"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_the_page_has_every_command(name: str) -> None:
    command = vflc.get_command(click.Context(vflc), name)
    assert command is not None
    options = {each for parameter in command.params for each in parameter.opts}
    assert ("--json" in options) != (name in TEXT_ALONE)
    assert (f"\n| `{name}` |" in PAGE.read_text()) != (name in TEXT_ALONE)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code = run([*arguments, "--json"])
    out = capsys.readouterr().out
    assert code == 0, (arguments, out)
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def test_stdout_is_one_object(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = printed(capsys, "init", "p")
    spec = made["spec"]
    data = ["--data", f"bank={made['bank']}", "--data", f"shop={made['shop']}"]
    assert printed(capsys, "check", spec) == {"spec": spec, "findings": []}
    assert printed(capsys, "compile", spec, "-o", "b")["manifest"]["model"] == "model"
    trained = printed(
        capsys, "train", "b", *data, "--out", "r", "--validation", "0.2", "--epochs", "1", "--threads", "1"
    )
    assert trained["run"] == "r" and trained["epochs"] == 1 and trained["validation"]["loss"] > 0
    assert printed(capsys, "evaluate", "r", *data)["rows"] == trained["rows"]
    assert printed(capsys, "predict", "r", *data, "-o", "p.csv")["file"] == "p.csv"
    assert len(printed(capsys, "importance", "r", *data, "--repeats", "1")["features"]) == 5
    assert printed(capsys, "compare", "r")["rows"] == "validation"
    assert printed(capsys, "explain", "VFL0101")["code"] == "VFL0101"
    folds = printed(
        capsys, "train", "b", *data, "--out", "f", "--folds", "2", "--epochs", "1", "--threads", "1"
    )
    assert len(folds["folds"]) == 2 and folds["mean"]["loss"] > 0
    tuned = printed(
        capsys, "tune", spec, *data, "--search", "batch=32,64", "--trials", "2", "--validation", "0.2",
        "--epochs", "1", "--out", "t",
    )  # fmt: skip
    assert [each["number"] for each in tuned["trials"]] == [1, 2] and tuned["run"] == "t/best"


def test_an_error_leaves_stdout_empty(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["train", str(tmp_path / "none.vfl"), "--data", "a=b.csv", "--json"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "VFL0016" in said.err
