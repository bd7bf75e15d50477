"""What a guard claims is what the manifest says, and what its draws are: a run counts nothing else."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
from protecting_parts import MEMORY, NORMAL, SHIFT, guard, refused
from vflc_runtime.bundle.plan_guards import Draw, Guard
from vflc_runtime.bundle.protections import Promised, check_guard

EPSILON, CLASSES = 1.5, 4
TRUE = math.exp(EPSILON) / (math.exp(EPSILON) + CLASSES - 1)
ANSWERS = guard(
    replace(SHIFT, keep=TRUE, classes=CLASSES), mechanism="m", accounting="draw", options={"epsilon": EPSILON}
)
CALIBRATED = guard(NORMAL, options={"clip": 3.0, "noise": None, "epsilon": 2.0})
NOISE = guard(replace(NORMAL, scale=6.0))
PARTIAL = guard(MEMORY, NORMAL, privacy="partial", accounting=None)


def promised(of: Guard, **changes: Any) -> Promised:
    given = {field.name: getattr(of, field.name) for field in fields(Promised) if hasattr(of, field.name)}
    return Promised(**{"place": "alice", "guards": of.releases, **given, **changes})


def check(of: Guard, plugins: tuple[str, ...] = (), **changes: Any) -> None:
    check_guard(of, "alice", promised(of, **changes), of.mechanism in plugins)


@pytest.mark.parametrize("of", [ANSWERS, CALIBRATED, NOISE, PARTIAL])
def test_what_is_drawn_is_what_is_counted(of: Guard) -> None:
    check(of)


@pytest.mark.parametrize("name", [field.name for field in fields(Promised) if field.name != "id"])
def test_the_manifest_says_the_same(name: str) -> None:
    refused("VFL0613", check, NOISE, **{name: {} if name == "options" else "other"})


def drawing(of: Guard, *draws: Draw) -> Guard:
    return replace(of, draws=draws)


@pytest.mark.parametrize(
    "of",
    [
        replace(PARTIAL, privacy="proven"),
        replace(PARTIAL, privacy="none", accounting="messages"),
        replace(ANSWERS, privacy="none"),
        drawing(CALIBRATED),
        drawing(CALIBRATED, replace(NORMAL, scale=1e-9)),
        drawing(CALIBRATED, NORMAL, replace(NORMAL, scale=1.0)),
        drawing(CALIBRATED, NORMAL, MEMORY),
        drawing(NOISE, NORMAL),
        drawing(NOISE, replace(NORMAL, scale=5.9)),
        drawing(ANSWERS),
        drawing(ANSWERS, SHIFT),
        drawing(ANSWERS, replace(ANSWERS.draws[0], keep=TRUE + 1e-3)),
        drawing(ANSWERS, replace(ANSWERS.draws[0], classes=CLASSES - 1)),
        drawing(ANSWERS, replace(ANSWERS.draws[0], classes=1, keep=1.0)),
        drawing(ANSWERS, ANSWERS.draws[0], NORMAL),
        replace(ANSWERS, options={"epsilon": 0.1}),
        replace(ANSWERS, options={"epsilon": float("nan")}),
        replace(ANSWERS, options={}),
        replace(NOISE, options={"noise": 2.0}),
    ],
)
def test_no_more_is_claimed_than_is_drawn(of: Guard) -> None:
    refused("VFL0613", check, of)


@pytest.mark.parametrize(
    ("of", "may"),
    [
        (guard(replace(NORMAL, scale=1.0), privacy="none", accounting=None), True),
        (guard(privacy="none", accounting=None, reads="y", solver="s"), True),
        (guard(privacy="none", accounting=None, reads="y"), False),
        (guard(NORMAL, privacy="none", accounting=None), False),
        (guard(MEMORY, privacy="none", accounting=None), False),
        (guard(replace(NORMAL, scale=1.0), privacy="partial", accounting=None), False),
        (NOISE, False),
    ],
)
def test_another_package_adds_noise_and_no_more(of: Guard, may: bool) -> None:
    if may:
        check(of, (of.mechanism,))
    else:
        refused("VFL0613", check, of, (of.mechanism,))
