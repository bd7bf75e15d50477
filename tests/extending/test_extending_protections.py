"""A protection of another package changes what crosses and counts as nothing; none may claim more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from installing import found, package, spec, tables, vflc
from safetensors.numpy import load_file
from vflc_common.canonical import canonical, digest

from vflc.ops.mechanisms import MECHANISMS


def asked(mechanism: str, what: str = "a") -> str:
    return spec("relu", "auc").replace("predict late", f"protect {what} with {mechanism}\npredict late")


def manifest(folder: Path, name: str = "bundle") -> dict:
    return json.loads((folder / name / "manifest.json").read_text("utf-8"))


def test_it_trains_and_whoever_runs_it_needs_no_package(site: Path, tmp_path: Path) -> None:
    """A scale that is nothing beside the values gives the weights of the bare model; a large one does not."""
    data, weights = tables(tmp_path), {}
    for name, text in (
        ("bare", spec("relu", "auc")),
        ("small", asked("jitter(1e-12)")),
        ("large", asked("jitter(9)")),
    ):
        (tmp_path / "m.vfl").write_text(text, "utf-8")
        made = vflc("compile", "m.vfl", "-o", name, "--precision", "float64", at=tmp_path, site=site)
        assert made.returncode == 0, made.stdout + made.stderr
        done = vflc("train", name, *data, "--out", f"run_{name}", at=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        weights[name] = load_file(tmp_path / f"run_{name}" / "bob" / "model.safetensors")
    for name, value in weights["bare"].items():
        np.testing.assert_allclose(weights["small"][name], value, atol=1e-6)
    assert any(np.abs(weights["large"][name] - each).max() > 1e-5 for name, each in weights["bare"].items())
    told = manifest(tmp_path, "large")
    assert [(each["kind"], each["name"]) for each in told["plugins"]] == [("protections", "jitter")]
    (entry,) = told["protections"]
    assert entry["mechanism"] == "jitter" and entry["promise"].startswith("numbers carry noise of 9")
    ran = json.loads((tmp_path / "run_large" / "metrics.json").read_text())
    assert "jitter" in json.dumps(ran)


def test_it_changes_no_bound(site: Path, tmp_path: Path) -> None:
    """All that is said of what may be learned is said as of the bare model."""
    said = {}
    for name, text in (("bare", spec("relu", "auc")), ("jittered", asked("jitter(9)"))):
        (tmp_path / "m.vfl").write_text(text, "utf-8")
        assert vflc("compile", "m.vfl", "-o", name, at=tmp_path, site=site).returncode == 0
        rows = manifest(tmp_path, name)["learned"]
        said[name] = [[row[key] for key in ("receiver", "party", "column", "bound")] for row in rows]
    assert said["bare"] == said["jittered"] and said["bare"]


def test_a_label_is_no_less_told_through_it(site: Path, tmp_path: Path) -> None:
    """A gradient that gives the label away is refused with it as without."""
    bare = spec("relu", "auc").replace(
        "release bob { to alice: Late, Income }", "release bob { to alice: Income }"
    )
    codes = []
    for text in (
        bare,
        bare.replace("predict late", "protect gradients to alice with jitter(9)\npredict late"),
    ):
        told = found(text, tmp_path, site)
        codes.append(
            sorted(
                {word for word in told.replace("[", " ").replace("]", " ").split() if word.startswith("VFL")}
            )
        )
    assert codes[0] and set(codes[0]) <= set(codes[1])


HEAD = """
from dataclasses import dataclass
from vflc.ops.protection import *
from vflc.ops.protection import _rows
def apply(b, row, options, draw):
    APPLY
MECHANISM = Mechanism("odd", "Odd.", {"scale": Option("a number", CHECK)}, BOTH, "ROLE", "PRIVACY",
                      lambda o: "nothing", apply)
"""
NOISY = "return Applied(b.op('add', row, draw(Draw('normal', 1.0), width(row))), row)"
BROKEN = {
    "claims a proof": ({"PRIVACY": "proven"}, "says that its privacy is `proven`"),
    "claims to hide": ({"PRIVACY": "partial"}, "says that its privacy is `partial`"),
    "is a sum": ({"ROLE": "sum"}, "is neither noise nor compression"),
    "is for weights": ({"ROLE": "weights"}, "VFL0333"),
    "raises": ({"APPLY": "raise ValueError('odd one')"}, "strange 0.3 fails: ValueError: odd one"),
    "checks nothing": ({"CHECK": "lambda v: 1 / 0"}, "strange 0.3 fails: ZeroDivisionError"),
    "is of another width": ({"APPLY": "return Applied(b.op('concat', row, row, axis=1), row)"}, "makes"),
    "calibrates": ({"APPLY": NOISY.replace("1.0", "None")}, "keeps or draws something else"),
    "keeps": ({"APPLY": "return Applied(draw(Draw('memory'), width(row)), row, row)"}, "keeps or draws"),
    "draws once": ({"APPLY": NOISY.replace("'normal', 1.0", "'shift', 1.0, 0.5, 2")}, "keeps or draws"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_one_that_may_not_be_is_a_finding_at_its_place(how: str, tmp_path: Path) -> None:
    parts, says = BROKEN[how]
    code = HEAD
    for name, text in (
        {"PRIVACY": "none", "ROLE": "noise", "APPLY": NOISY, "CHECK": "lambda v: True"} | parts
    ).items():
        code = code.replace(name, text)
    site = package(tmp_path / "site", "[vflc.protections]\nodd = strange:MECHANISM\n", code)
    told = found(asked("odd(scale = 1)"), tmp_path, site)
    assert says in told and "odd(scale = 1)" in told
    assert "VFL0695" in told or "VFL0333" in says


def test_ours_are_not_shadowed_and_a_near_name_is_suggested(site: Path, tmp_path: Path) -> None:
    points = "".join(f"{name} = strange:MECHANISM\n" for name in MECHANISMS.ours)
    own = package(tmp_path / "site", f"[vflc.protections]\n{points}", "raise RuntimeError('imported')\n")
    (tmp_path / "m.vfl").write_text(asked("quantize(8)"), "utf-8")
    assert vflc("check", "m.vfl", at=tmp_path, site=own).returncode == 0
    assert "did you mean `jitter`?" in found(asked("jiter(1)"), tmp_path, site)


def resealed(folder: Path, change) -> None:
    """Changes plan.json of alice and manifest.json, with hashes and the digest that fit."""
    import hashlib

    plan = json.loads((folder / "alice" / "plan.json").read_text())
    told = json.loads((folder / "manifest.json").read_text())
    change(plan, told)
    content = canonical(plan).encode()
    (folder / "alice" / "plan.json").write_bytes(content)
    told["contents"]["alice"]["plan.json"] = hashlib.sha256(content).hexdigest()
    del told["digest"]
    (folder / "manifest.json").write_text(canonical({**told, "digest": digest(told)}), "utf-8")


def undeclared(plan, told) -> None:
    del told["plugins"]


def other(plan, told) -> None:
    plan["guards"][0]["mechanism"] = "strange"


def proven(plan, told) -> None:
    plan["guards"][0]["privacy"] = "proven"


def calibrated(plan, told) -> None:
    plan["guards"][0]["draws"][0]["scale"] = None


@pytest.mark.parametrize("change", [undeclared, other, proven, calibrated])
def test_a_plan_with_more_than_the_manifest_allows_is_refused(change, site: Path, tmp_path: Path) -> None:
    (tmp_path / "m.vfl").write_text(asked("jitter(1)"), "utf-8")
    assert vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site).returncode == 0
    data = tables(tmp_path)
    resealed(tmp_path / "bundle", lambda plan, told: None)
    assert vflc("train", "bundle", *data, "--out", "kept", "--steps", 1, at=tmp_path).returncode == 0
    resealed(tmp_path / "bundle", change)
    done = vflc("train", "bundle", *data, "--out", "run", at=tmp_path, site=site)
    assert done.returncode == 1 and "error[VFL0613]" in done.stderr and not (tmp_path / "run").exists()
