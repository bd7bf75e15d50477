"""Who may learn what, as a person reads it, for one place and for places that pool what they are sent."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from vflc import driver
from vflc.cli.main import run
from vflc.diagnostics import SourceText
from vflc.ir.graph import Graph
from vflc.passes.levels import levels
from vflc.passes.pipeline import Pipeline

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
    assert run(["check", spec, "--together", " ,"]) == 2
    capsys.readouterr()
    assert run(["check", spec, "--together", "bob,server,bob,"]) == 0
    assert " bob+server of alice's columns" in capsys.readouterr().out


def test_users_of_a_population_are_not_put_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(SPECS / "fedrecon" / "fedrecon.vfl"), "--together", "hub"]) == 1
    assert "VFL0502" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--together", "bob,server"], ["--fix"]])
def test_a_check_goes_through_the_passes_once(more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls, once = [], Pipeline.run

    def counted(*args: Any) -> Any:
        calls.append(args)
        return once(*args)

    monkeypatch.setattr(Pipeline, "run", counted)
    assert run(["check", str(SPECS / "u_shape" / "u_shape.vfl"), *more]) == 0
    assert len(calls) == 1 and gc.isenabled()


def test_what_a_graph_is_asked_is_found_anew_when_it_grows() -> None:
    text = (SPECS / "u_shape" / "u_shape.vfl").read_text(encoding="utf-8")
    model = driver.examine(SourceText("spec.vfl", text)).model
    assert model is not None
    graph = Graph(dict(model.graph.nodes))
    last = list(graph)[-1]
    users, above = graph.users(), graph.ancestors([last.id])
    assert graph.users() is users and graph.ancestors([last.id]) is above
    graph.add(replace(last, id="more", inputs=(last.id,)))
    assert [node.id for node in graph.users()[last.id]] == ["more"]
    assert graph.ancestors(["more"]) == above | {"more"} and "more" in levels(graph)
