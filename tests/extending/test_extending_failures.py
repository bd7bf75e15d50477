"""What another package's record raises as graphs are made, or in a run, names it: it is no bug of vflc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from installing import found, package, spec, tables, vflc

RULE = """
from vflc.ops.optimizer import Optimizer

made = []

def update(b, weight, gradient, step, slots, o):
    made.append(step)
    if len(made) > 1:
        BODY
    return weight, slots

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


WRONG = {
    "slots = None": "'odd' among the optimizers of the package strange 0.3 fails: AttributeError",
    "slots = {'m': 'x'}": "could not convert string to float: 'x'",
    "made = weight, {}": "`odd` of another package gives new values for weight, not for weight, m",
    "made = weight, {'m': weight, 'n': weight}": "gives new values for weight, m, n, not for weight, m",
    "made = b.op('sum', weight, axes=(0,), keep=False), given": "than one number for each of weight",
    "made = weight, {'m': 3}": "it makes 3, which is no value of a graph",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_update_that_is_none_is_a_finding_of_check(wrong: str, tmp_path: Path) -> None:
    code = "from vflc.ops.optimizer import Optimizer\nslots = {'m': 0.0}\n"
    code += wrong * wrong.startswith("slots")
    code += "\ndef update(b, weight, gradient, step, given, o):\n    made = weight, given\n"
    code += f"    {wrong * wrong.startswith('made') or 'pass'}\n    return made\n"
    code += 'OPTIMIZER = Optimizer("odd", "Odd.", {"lr": 0.1}, lambda o: slots, update)\n'
    site = installed(tmp_path, "optimizers", code)
    told = found(OPTIMIZED, tmp_path, site)
    assert "error[VFL0695]" in told and WRONG[wrong] in told and "optimizer odd(0.5)" in told


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
