"""What another package's record raises as graphs are made, or in a run, names it: it is no bug of vflc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from installing import package, spec, tables, vflc

RULE = """
from vflc.ops.optimizer import Optimizer

def update(b, weight, gradient, step, slots, o):
    BODY

OPTIMIZER = Optimizer("odd", "Odd.", {"lr": 0.1}, lambda o: SLOTS, update)
"""
NOISE = """
from vflc.ops.protection import BOTH, Applied, Mechanism

def apply(b, row, options, draw):
    if row.type.axes[-1].size == 4:
        BODY
    return Applied(row, row)

MECHANISM = Mechanism("odd", "Odd.", {}, BOTH, "noise", "none", lambda o: "odd", apply)
"""
RATE = """
from vflc.ops.rules import number
from vflc.ops.schedule import Schedule

made = []

def make(b, done, o):
    made.append(done)
    if len(made) > 2:
        BODY
    return number(b, 0.1)

SCHEDULE = Schedule("odd", "Odd.", {}, make)
"""
FUNCTION = """
from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops.registry import function

@function
def odd(b: Build, x: Node) -> Node:
    BODY
"""
METRIC = """
from vflc_common.measure import Metric, OfSums, share, weight

def wrong(block):
    BODY

METRIC = Metric("odd", "Odd.", {"binary": OfSums((wrong, weight), share)})
"""
OPTIMIZED = spec("relu", "auc").replace("metrics auc, auc", "optimizer odd(0.5)  metrics auc")
PROTECTED = spec("relu", "auc").replace("predict late", "protect a with odd\npredict late")
SCHEDULED = spec("relu", "auc").replace("metrics auc, auc", "optimizer sgd(lr = odd())  metrics auc")
CASES = {
    "an optimizer": ("optimizers", RULE.replace("SLOTS", "{}"), OPTIMIZED, "optimizer odd(0.5)"),
    "a protection": ("protections", NOISE, PROTECTED, "protect a with odd"),
    "a schedule": ("schedules", RATE, SCHEDULED, "optimizer sgd(lr = odd())"),
    "a function": ("functions", FUNCTION, spec("odd", "auc"), "a = odd(dense(alice.Age, 4))"),
}
OBJECTS = {"optimizers": "OPTIMIZER", "protections": "MECHANISM", "schedules": "SCHEDULE", "functions": "odd"}


def installed(folder: Path, kind: str, code: str) -> Path:
    name = OBJECTS.get(kind, "METRIC")
    return package(folder / "site", f"[vflc.{kind}]\nodd = strange:{name}\n", code)


@pytest.mark.parametrize("body", ["raise ValueError('no such luck')", "return 3"])
@pytest.mark.parametrize("what", CASES)
def test_what_fails_while_graphs_are_made_is_a_finding_at_its_place(
    what: str, body: str, tmp_path: Path
) -> None:
    kind, code, text, line = CASES[what]
    site = installed(tmp_path, kind, code.replace("BODY", body))
    (tmp_path / "m.vfl").write_text(text, "utf-8")
    done = vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site)
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1 and not (tmp_path / "bundle").exists(), told
    assert f"error[VFL0695]: 'odd' among the {kind} of the package strange 0.3 fails" in told
    assert line in told and ("ValueError: no such luck" in told) == body.startswith("raise")


@pytest.mark.parametrize("slots", ["None", "{'m': 'x'}"])
def test_slots_that_are_none_are_a_finding(slots: str, tmp_path: Path) -> None:
    code = RULE.replace("SLOTS", slots).replace("BODY", "return weight, slots")
    site = installed(tmp_path, "optimizers", code)
    (tmp_path / "m.vfl").write_text(OPTIMIZED, "utf-8")
    done = vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site)
    assert done.returncode == 1 and "error[VFL0695]: 'odd' among the optimizers" in done.stdout + done.stderr


def test_what_fails_in_a_run_names_the_package(tmp_path: Path) -> None:
    site = installed(tmp_path, "metrics", METRIC.replace("BODY", "raise ValueError('no such luck')"))
    (tmp_path / "m.vfl").write_text(spec("relu", "odd"), "utf-8")
    done = vflc("train", "m.vfl", *tables(tmp_path), "--out", "run", at=tmp_path, site=site)
    assert done.returncode == 1, done.stderr
    whose = "'odd' among the metrics of the package strange 0.3"
    says = f"error[VFL0695]: {whose} fails: ValueError: no such luck"
    assert says in " ".join(done.stderr.split())
    script = "import vflc\nrun = vflc.compile('m.vfl').fit({'alice': 'alice.csv', 'bob': 'bob.csv'})\n"
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": ":".join([str(site), *sys.path])},
    )  # fmt: skip
    assert f"vflc.api.errors.Error: {says}" in " ".join(told.stderr.split())
