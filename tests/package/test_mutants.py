"""The tool that says what tests do not notice: what counts as a change, and the list of equivalent ones."""

from __future__ import annotations

import tomllib

import mutants
import pytest

CODE = """
def least(a: int | None, b: int) -> int:
    return a if a < b else b + 1
"""
TABLE = tomllib.loads(mutants.TABLE.read_text("utf-8"))


def test_places_are_drawn_and_annotations_are_none() -> None:
    pytest.importorskip("cosmic_ray")
    made = [
        [mutants.mutant(CODE, *(path, name, number)) for path, name, number in ways]
        for ways in mutants.places("x.py", CODE)
    ]
    real = [{one.now for one in ways if one is not None} for ways in made]
    assert sum(not ways for ways in real) == 1, "the annotation"
    assert any("return a if a <= b else b + 1" in ways for ways in real)
    assert any("return a if a < b else b - 1" in ways for ways in real)
    assert all(one is None or one.line == 3 for ways in made for one in ways)


def test_a_share_has_an_interval() -> None:
    low, high = mutants.interval(54, 60)
    assert low == pytest.approx(0.7985, abs=1e-3) and high == pytest.approx(0.9534, abs=1e-3)


@pytest.mark.parametrize("name", TABLE["folders"])
def test_folders_are_there(name: str) -> None:
    folder = TABLE["folders"][name]
    assert all((mutants.ROOT / path).exists() for path in folder["sources"] + folder["tests"])


@pytest.mark.parametrize("entry", TABLE.get("equivalent", ()), ids=lambda entry: entry["was"])
def test_what_is_listed_as_unnoticeable_is_still_there(entry: dict[str, str]) -> None:
    lines = (mutants.ROOT / entry["path"]).read_text("utf-8").splitlines()
    assert entry["was"] in map(str.strip, lines) and entry["now"] != entry["was"] and entry["because"]
