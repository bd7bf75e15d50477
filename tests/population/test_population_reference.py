"""Vectorised rounds against one user at a time in numpy, in float64, for every option."""

from __future__ import annotations

import numpy as np
import pytest
from population.population_testing import compiled, ratings, rounds_of, table
from population.reference import GLOBALS, Adagrad, Adam, Options, Reference, Sgd, spec

BASE = (
    "rounds 3  cohort 6  batch 3  test 0.2  validation 0.0  "
    "rebuild sgd(0.1)  client sgd(0.1)  server sgd(1.0)"
)
CASES = {
    "default": ("", {}),
    "batches": ("halves batches", {"halves": "batches"}),
    "fraction": ("halves fraction(0.3)", {"halves": "fraction", "fraction": 0.3}),
    "same": ("halves same", {"halves": "same"}),
    "epochs": ("rebuild_epochs 3  client_epochs 2", {"rebuild_epochs": 3, "client_epochs": 2}),
    "caps": (
        "rebuild_epochs 2  rebuild_steps 3  client_steps 1",
        {"rebuild_epochs": 2, "rebuild_steps": 3, "client_steps": 1},
    ),
    "limit": ("limit 7", {"limit": 7}),
    "seed": ("seed 5", {"seed": 5}),
    "uniform": ("weighting uniform", {"weighting": "uniform"}),
    "uniform, one too small": (
        "weighting uniform  cohort 14  test 0.0",
        {"weighting": "uniform", "cohort": 14},
    ),
    "joint": ("joint true", {"joint": True}),
    "kept": ("keep_local true", {"keep_local": True}),
    "kept_joint": ("keep_local true  joint true", {"keep_local": True, "joint": True}),
    "clipped": ("clip_norm 0.05", {"clip_norm": 0.05}),
    "regularised": ("", {"l2_local": 0.3, "l2_global": 0.2}),
    "momentum": (
        "rebuild sgd(0.1, momentum = 0.5)  client sgd(0.1, momentum = 0.5)",
        {"rebuild": lambda: Sgd(0.1, 0.5), "client": lambda: Sgd(0.1, 0.5)},
    ),
    "adam": (
        "rebuild adam(0.05)  client adam(0.02)  rebuild_epochs 2  client_epochs 2",
        {
            "rebuild": lambda: Adam(0.05),
            "client": lambda: Adam(0.02),
            "rebuild_epochs": 2,
            "client_epochs": 2,
        },
    ),
    "adagrad": ("server adagrad(0.5)", {"server": lambda: Adagrad(0.5)}),
    "server_momentum": (
        "cohort 3  server sgd(0.7, momentum = 0.6)",
        {"cohort": 3, "server": lambda: Sgd(0.7, 0.6)},
    ),
    "server_adam": ("cohort 3  server adam(0.05)", {"cohort": 3, "server": lambda: Adam(0.05)}),
    "everything_adam": (
        "server adam(0.05)  rebuild adam(0.05)  client adam(0.02)  keep_local true",
        {
            "server": lambda: Adam(0.05),
            "rebuild": lambda: Adam(0.05),
            "client": lambda: Adam(0.02),
            "keep_local": True,
        },
    ),
    "all_at_once": (
        "halves batches  client_epochs 2  weighting uniform  joint true  clip_norm 0.2  client adam(0.02)",
        {
            "halves": "batches",
            "client_epochs": 2,
            "weighting": "uniform",
            "joint": True,
            "clip_norm": 0.2,
            "client": lambda: Adam(0.02),
            "l2_local": 0.1,
            "l2_global": 0.1,
        },
    ),
}


def settings(changes: str) -> str:
    """The base settings with those that are set again left out."""
    names = {part.split()[0] for part in changes.split("  ") if part}
    return "  ".join([p for p in BASE.split("  ") if p.split()[0] not in names] + [changes])


@pytest.mark.parametrize(
    ("name", "again"), [*((name, True) for name in CASES), ("default", False), ("epochs", False)]
)
def test_rounds_are_those_of_the_reference(name, again, tmp_path):
    changes, given = CASES[name]
    options = Options(**given)
    users = ratings(again=again)
    plan = compiled(spec(settings(changes), options.l2_local, options.l2_global), tmp_path)
    ours = rounds_of(plan, table(users))
    keys = ours.users.keys.to_pylist()
    reference = Reference(options, users, [keys[i] for i in ours.split.train])
    for number in range(4):
        done = ours.step(number)
        assert done.small == (1 if options.cohort == len(users) else done.small)
        assert done.scores["loss"] == pytest.approx(reference.round(number), rel=1e-9)
        for weight in GLOBALS:
            np.testing.assert_allclose(
                ours.hub.weights[weight], reference.weights[weight], rtol=1e-9, atol=1e-9, err_msg=weight
            )
    if not options.keep_local and len(ours.split.test):
        test = [keys[i] for i in ours.split.test]
        assert ours.measure(ours.split.test).scores["loss"] == pytest.approx(
            reference.evaluate(test), rel=1e-9
        )
    for user, found in reference.kept.items():
        at = keys.index(user)
        for weight, value in found.items():
            np.testing.assert_allclose(ours.kept[weight][at], value, rtol=1e-9, atol=1e-9)
