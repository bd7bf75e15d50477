"""The tool that says what tests do not notice: what counts as a change, and the list of equivalent ones."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import mutants
import mutants_plugin
import mutants_run
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
    real = [{one[0].now for one in ways if one is not None} for ways in made]
    assert sum(not ways for ways in real) == 1, "the annotation"
    assert any("return a if a <= b else b + 1" in ways for ways in real)
    assert any("return a if a < b else b - 1" in ways for ways in real)
    assert all(one is None or one[0].line == 3 for ways in made for one in ways)


def test_samples_and_what_draws_them_are_no_sources() -> None:
    code = (
        "register(Sample((3,), {'k': 1}), 2)\n"
        "draw = lambda rng: rng.normal(0, 1)\n"
        "def drawn(rng: Any) -> int:\n    return rng.integers(5)\n"
        "def other(rng, most):\n    return rng.integers(most)\n"
    )
    for was, now in (("3,", "4,"), ("'k': 1", "'k': 2"), ("(0, 1)", "(0, 2)"), ("(5)", "(6)")):
        assert mutants.meaning(code.replace(was, now)) == mutants.meaning(code)
    for was, now in (("), 2)", "), 3)"), ("(most)", "(most + 1)")):
        assert mutants.meaning(code.replace(was, now)) != mutants.meaning(code)


def test_a_mutant_is_found_again_where_lines_have_moved(tmp_path: Path) -> None:
    pytest.importorskip("cosmic_ray")
    place = "core/ReplaceComparisonOperator_Lt_LtE"
    one = mutants.Mutant("x.py", place, 3, "return a if a < b else b + 1", "return a if a <= b else b + 1")
    (tmp_path / "x.py").write_text("import math\n\n\n" + CODE, "utf-8")
    found = mutants.found_again(one, tmp_path)
    assert found is not None and found[0].line == 6 and "a <= b" in found[1]
    (tmp_path / "x.py").write_text(CODE.replace("b + 1", "b"), "utf-8")
    assert mutants.found_again(one, tmp_path) is None


def test_tests_are_chosen_by_the_statement_that_changed() -> None:
    """Those that ran it, the cheapest file first, then those that start processes; at import the cheapest."""
    code = "LEAST = 1\ndef f(a):\n  if (a >\n      LEAST):\n    return 2\n  return g(\n      a)\n"
    assert [list(mutants_run.statement(code, line)) for line in (1, 4, 5, 7)] == [[1], [3, 4], [5], [6, 7]]
    seconds = {"a::1": 5.0, "b::1": 1.0, "b::2": 0.5, "c::1": 0.1, "d::1": 0.2}
    lines = {"f.py": {1: [""], 3: ["a::1", "b::1", "b::2", "failed"], 5: ["b::1"]}}
    tests = mutants_run.Tests([], 60, lines, seconds, ["failed"], ["c::1"])
    assert list(tests.noticing("f.py", range(3, 5))) == ["b::2", "b::1", "a::1", "c::1"]
    assert list(replace(tests, most=1.1).noticing("f.py", range(3, 5))) == ["b::2", "b::1"]
    assert tests.cheapest() == {"a::1": 5.0, "b::2": 0.5, "c::1": 0.1, "d::1": 0.2}
    assert list(replace(tests, most=0.5).noticing("f.py", None)) == ["c::1", "d::1", "b::2"]


def test_what_runs_at_import_is_told_from_what_functions_do() -> None:
    same = [CODE.replace("b + 1", "b + 2"), CODE.replace("<", ">")]
    other = [CODE + "\nleast(1, 2)\n", CODE.replace("b: int)", "b: int = 2)"), CODE + "("]
    assert all(mutants_run.at_import(code) == mutants_run.at_import(CODE) for code in same)
    assert not any(mutants_run.at_import(code) == mutants_run.at_import(CODE) for code in other)


def test_functions_that_are_loaded_are_exchanged() -> None:
    was = "def f(a):\n    def g(b):\n        return a + b\n    return g\n"
    now, loaded = was.replace("+", "-"), dict[str, Any]()
    exec(compile(was, "x.py", "exec", dont_inherit=True), loaded)
    assert [loaded["f"](1)(3) for _ in range(100)] == [4] * 100  # until Python has specialised it
    made_before = loaded["f"](1)
    mutants_plugin.exchange("x.py", was, now)
    assert (made_before(3), loaded["f"](1)(3)) == (-2, -2)


def test_a_share_has_an_interval() -> None:
    low, high = mutants.interval(54, 60)
    assert low == pytest.approx(0.7985, abs=1e-3) and high == pytest.approx(0.9534, abs=1e-3)


@pytest.mark.parametrize("name", TABLE["folders"])
def test_folders_are_there(name: str) -> None:
    folder = TABLE["folders"][name]
    paths = (path.partition("::")[0] for path in folder["sources"] + folder["tests"])
    assert all((mutants.ROOT / path).exists() for path in paths)


@pytest.mark.parametrize("entry", TABLE.get("equivalent", ()), ids=lambda entry: entry["was"])
def test_what_is_listed_as_unnoticeable_is_still_there(entry: dict[str, str]) -> None:
    lines = (mutants.ROOT / entry["path"]).read_text("utf-8").splitlines()
    assert entry["was"] in map(str.strip, lines) and entry["now"] != entry["was"] and entry["because"]
