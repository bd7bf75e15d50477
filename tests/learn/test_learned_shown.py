"""Who may learn what, as a person reads it, for one place and for places that pool what they are sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from vflc.cli.main import run

SPECS = Path(__file__).parents[2] / "specs"


def test_compile_shows_it_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = SPECS / "u_shape" / "u_shape.vfl"
    assert run(["compile", str(spec), "-o", str(tmp_path / "bundle")]) == 0
    shown, _, _ = capsys.readouterr().out.partition("What crosses")
    assert shown.strip().splitlines()[:3] == [
        "Who may learn what, at most",
        " alice of bob's columns",
        "   all: education_num",
    ]
    assert max(map(len, shown.splitlines())) <= 100


def test_places_that_pool_what_they_are_sent(capsys: pytest.CaptureFixture[str]) -> None:
    spec = str(SPECS / "u_shape" / "u_shape.vfl")
    assert run(["check", spec, "--together", "bob, server"]) == 0
    shown = capsys.readouterr().out
    assert " bob+server of alice's columns\n   their codes: workclass (4 bits)" in shown
    assert "of bob's columns" not in shown
    assert run(["check", spec, "--together", "bob,sever"]) == 1
    assert "did you mean `server`?" in capsys.readouterr().err
    assert run(["check", spec, "--together", "bob,server", "--format", "json"]) == 2


def test_users_of_a_population_are_not_put_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(SPECS / "fedrecon" / "fedrecon.vfl"), "--together", "hub"]) == 1
    assert "VFL0502" in capsys.readouterr().err
