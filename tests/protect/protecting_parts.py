"""What tests of parts of protections are made of."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vflc_runtime.bundle.plan_guards import Draw, Guard
from vflc_runtime.bundle.protections import read_promised
from vflc_runtime.bundle.reading import Json
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts
from vflc_runtime.protect.draws import Labels
from vflc_runtime.protect.guards import Guards
from vflc_runtime.protect.noise import Noise

FACTS = Facts(rows=10, train_rows=8, batch=3, epochs=4)


def refused(code: str, call: Any, *arguments: Any, **named: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        call(*arguments, **named)
    assert caught.value.code == code, caught.value.message
    return caught.value


# --- what a noise spends ------------------------------------------------------------------------------

GAUSSIAN = {"epsilon": None, "noise": 2.0, "delta": 1e-6, "limit": 100.0}


# --- the ledger -------------------------------------------------------------------------------------

BOB = ("bob", "Age")


# --- what runs are charged ----------------------------------------------------------------------------


def manifest(**parts: Any) -> Any:
    given = {"place": "alice", "privacy": "proven", "promise": "p"}
    read = (read_promised(Json(given | each, "manifest")) for each in parts.get("protections", ()))
    return SimpleNamespace(document=parts, model="m", protections={each.id: each for each in read})


# --- draws that are kept ------------------------------------------------------------------------------

SHIFT = Draw("d", "shift", 1.0, 0.75, 4, "int", None, None)


def labels(keys: list[int], values: list[float], **guard: Any) -> Labels:
    options = guard.pop("options", {})
    about: Any = SimpleNamespace(reads="bob.y", options=options, draws=(replace(SHIFT, **guard), SHIFT))
    return Labels(about, np.array(keys, np.uint64), np.array(values))


# --- guards at work -----------------------------------------------------------------------------------


def guard(*draws: Draw, **changes: Any) -> Guard:
    options = {"clip": 3.0, "noise": 2.0, "delta": 1e-6, "limit": 100.0, "epsilon": None}
    given = Guard(
        "g",
        "gaussian",
        options,
        "forward",
        ("a",),
        ("b",),
        None,
        draws,
        None,
        1,
        ("train",),
        "proven",
        "p",
        None,
        "messages",
        None,
    )
    return replace(given, **changes)


NORMAL = Draw("g.noise", "normal", None, 1.0, 0, "float", 2, None)

MEMORY = Draw("g.memory", "memory", None, 1.0, 0, "float", 2, "g.left")


def guards(*each: Guard, train: int = 1) -> Guards:
    step = SimpleNamespace(do="protect", target="g")
    other = SimpleNamespace(do="run", target="g")
    programs = {"train": [other, *[step] * train], "evaluate": [other]}
    plan: Any = SimpleNamespace(
        guards={one.id: one for one in each}, programs=programs, precision="float64", place="alice"
    )
    return Guards(plan, Noise(np.random.default_rng(0).bytes))


class Engine(dict[str, Any]):
    put = dict.__setitem__
    get = dict.__getitem__  # type: ignore[assignment]
