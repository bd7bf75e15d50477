"""Functions and losses of other packages: found by name, and refused where they are none."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest
from vflc_common.plugins import BrokenPlugin, Plugin

import vflc.ops
from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops import FUNCTIONS, LOSSES, PLUGINS, find_function, known_functions
from vflc.ops.loss import LossRule, loss
from vflc.ops.registry import function


def twice(b: Build, x: Node) -> Node:
    """Both."""
    return b.op("add", x, x)


class Strange(ModuleType):
    """A package that makes what it says when its entry point is loaded."""

    @property
    def mish(self) -> Any:
        return function(twice, "mish")

    @property
    def odd(self) -> Any:
        return loss(twice, LossRule("twice", "nothing"))

    @property
    def nothing(self) -> Any:
        return twice


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, tuple[EntryPoint, ...]]]:
    """Entry points by group and name; what is registered by them is forgotten in the end."""
    given: dict[str, dict[str, tuple[EntryPoint, ...]]] = {"vflc.functions": {}, "vflc.losses": {}}
    monkeypatch.setattr(vflc.ops, "entry_points", given.__getitem__)
    monkeypatch.setitem(sys.modules, "strange", Strange("strange"))
    before = [(table, dict(table)) for table in (FUNCTIONS, LOSSES, PLUGINS)]
    yield given
    for table, held in before:
        table.clear()
        table.update(held)


def point(kind: str, name: str, attribute: str) -> dict[str, tuple[EntryPoint, ...]]:
    return {name: (EntryPoint(name, f"strange:{attribute}", f"vflc.{kind}"),)}


def test_a_function_of_another_package(points: Any) -> None:
    points["vflc.functions"] |= point("functions", "mish", "mish")
    assert "mish" not in FUNCTIONS and known_functions() == (*FUNCTIONS, "mish")
    found = find_function("mish")
    assert found is FUNCTIONS["mish"] and found.expand is twice and found.doc == "Both."
    assert {"mish": Plugin("functions", "mish", "?", "?")} == PLUGINS
    assert find_function("mish") is found, "it is not loaded a second time"


def test_a_loss_of_another_package(points: Any) -> None:
    points["vflc.losses"] |= point("losses", "twice", "odd")
    assert known_functions()[-1] == "twice"
    found = find_function("twice")
    assert found is FUNCTIONS["twice"] and LOSSES["twice"].tells == "nothing"
    assert {"twice": Plugin("losses", "twice", "?", "?")} == PLUGINS


@pytest.mark.parametrize(
    ("kind", "name", "attribute"),
    [("functions", "mish", "nothing"), ("losses", "mish", "mish"), ("losses", "other", "odd")],
)
def test_an_entry_point_that_makes_something_else(points: Any, kind: str, name: str, attribute: str) -> None:
    points[f"vflc.{kind}"] |= point(kind, name, attribute)
    told = rf"strange:{attribute} of the package \? \? makes none of the {kind} '{name}'"
    with pytest.raises(BrokenPlugin, match=told):
        find_function(name)
    assert not PLUGINS


def test_ours_come_before_those_of_other_packages(points: Any) -> None:
    ours = FUNCTIONS["dense"]
    points["vflc.functions"] |= point("functions", "dense", "broken")
    assert find_function("dense") is ours and not PLUGINS
    assert find_function("no_such_function") is None
