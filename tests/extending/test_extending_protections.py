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
    "has neither": ({", apply)": ")"}, "must have either `apply` or, for gradients alone, `solver`"),
    "has both": ({", apply)": ", apply, solver='odd')"}, "must have either `apply` or"),
    "has an unknown solver": ({", apply)": ", solver='lost')", "BOTH": "GRADIENTS"}, "no package has"),
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


def resealed(folder: Path, change, place: str = "alice") -> None:
    """Changes plan.json of a place and manifest.json, with hashes and the digest that fit."""
    import hashlib

    plan = json.loads((folder / place / "plan.json").read_text())
    told = json.loads((folder / "manifest.json").read_text())
    change(plan, told)
    content = canonical(plan).encode()
    (folder / place / "plan.json").write_bytes(content)
    told["contents"][place]["plan.json"] = hashlib.sha256(content).hexdigest()
    del told["digest"]
    told.pop("page_sha256", None)
    (folder / "manifest.json").write_text(canonical({**told, "digest": digest(told)}), "utf-8")


def other(plan, told) -> None:
    plan["guards"][0]["mechanism"] = "strange"


def proven(plan, told) -> None:
    plan["guards"][0]["privacy"] = "proven"


def calibrated(plan, told) -> None:
    plan["guards"][0]["draws"][0]["scale"] = None


def proven_by_both(plan, told) -> None:
    plan["guards"][0]["privacy"] = told["protections"][0]["privacy"] = "proven"


def counted(plan, told) -> None:
    plan["guards"][0]["accounting"] = told["protections"][0]["accounting"] = "messages"
    plan["guards"][0]["options"] = told["protections"][0]["options"] = {"clip": 1.0, "noise": 1.0}
    proven_by_both(plan, told)


@pytest.mark.parametrize("change", [other, proven, calibrated, proven_by_both, counted])
def test_a_plan_with_more_than_the_manifest_allows_is_refused(change, site: Path, tmp_path: Path) -> None:
    (tmp_path / "m.vfl").write_text(asked("jitter(1)"), "utf-8")
    assert vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site).returncode == 0
    data = tables(tmp_path)
    resealed(tmp_path / "bundle", lambda plan, told: None)
    assert vflc("train", "bundle", *data, "--out", "kept", "--steps", 1, at=tmp_path).returncode == 0
    resealed(tmp_path / "bundle", change)
    done = vflc("train", "bundle", *data, "--out", "run", at=tmp_path, site=site)
    assert done.returncode == 1 and "error[VFL0613]" in done.stderr and not (tmp_path / "run").exists()


# --- one that a step of the run solves --------------------------------------------------------------------

SOLVER = """
from vflc_runtime.protect.solver import Solver
class Halves:
    def __init__(self, guard):
        self.share, self.steps = guard.number("share"), 0
    def __call__(self, rows, label, noise):
        self.steps += 1
        assert label.size == len(rows) and set(label.reshape(-1)) <= {0.0, 1.0}
        return RESULT
    def memory(self):
        return {}
    def counts(self):
        return {"halved": self.steps}
    def restore(self, memory, counts):
        self.steps = counts["halved"]
SOLVER = Solver("halves", Halves)
def __getattr__(name):  # of the compiler alone
    from vflc.ops.protection import GRADIENTS, POSITIVE, Mechanism, Option
    if name == "MECHANISM":
        return Mechanism("smaller", "Smaller.", {"share": Option(*POSITIVE, required=True)}, GRADIENTS,
                         "noise", "none", lambda o: "gradients are smaller", solver="halves")
    raise AttributeError(name)
"""
POINTS = "[vflc.protections]\nsmaller = smaller:MECHANISM\n[vflc.solvers]\nhalves = smaller:SOLVER\n"


def solved(tmp_path: Path, result: str) -> Path:
    """A site with a package whose solver gives `result`, and a bundle that uses it."""
    site = package(tmp_path / "site", POINTS, SOLVER.replace("RESULT", result), "smaller")
    (tmp_path / "m.vfl").write_text(asked("smaller(0.5)", "gradients to alice"), "utf-8")
    made = vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site)
    assert made.returncode == 0, made.stdout + made.stderr
    return site


def test_a_step_of_a_run_solves_it(tmp_path: Path) -> None:
    """It is named by the manifest, counted, goes on where it was, and no party without it runs the bundle."""
    site, data = solved(tmp_path, "rows * self.share"), tables(tmp_path)
    kinds = [(each["kind"], each["name"]) for each in manifest(tmp_path)["plugins"]]
    assert kinds == [("protections", "smaller"), ("solvers", "halves")]
    for more in (["3"], ["5", "--resume"]):
        done = vflc("train", "bundle", *data, "--out", "run", "--steps", *more, at=tmp_path, site=site)
        assert done.returncode == 0, done.stderr
    (ran,) = json.loads((tmp_path / "run" / "metrics.json").read_text())["protections"]
    assert ran["halved"] == ran["steps"] == 5
    alone = vflc("train", "bundle", *data, "--out", "alone", at=tmp_path)
    assert alone.returncode == 1 and "VFL0696" in alone.stderr and "smaller==0.3" in alone.stderr


@pytest.mark.parametrize(
    ("result", "says"), [("rows[:, :1]", "makes (50, 1) of rows (50, 4)"), ("1 / 0", "ZeroDivisionError"),
                         ("None", "makes None of rows")],
)  # fmt: skip
def test_one_that_solves_nothing_stops_the_run(result: str, says: str, tmp_path: Path) -> None:
    site = solved(tmp_path, result)
    done = vflc("train", "bundle", *tables(tmp_path), "--out", "run", at=tmp_path, site=site)
    told = " ".join(done.stderr.split())
    assert done.returncode != 0 and "VFL0695" in told and says in told and "Traceback" not in told


def test_a_solver_that_the_manifest_does_not_name_is_not_called(tmp_path: Path) -> None:
    site, data = solved(tmp_path, "rows"), tables(tmp_path)
    for plan in (tmp_path / "bundle").glob("*/plan.json"):
        found = json.loads(plan.read_text())
        if found["guards"]:
            place = plan.parent.name
    for change in (lambda plan, told: told.pop("plugins"), unknown):
        resealed(tmp_path / "bundle", change, place)
        done = vflc("train", "bundle", *data, "--out", "run", at=tmp_path, site=site)
        assert done.returncode == 1 and "error[VFL0613]" in done.stderr and "halves" in done.stderr


def unknown(plan, told) -> None:
    plan["guards"][0]["solver"] = "halves of it"


# --- one whose rows cross in fewer bytes ------------------------------------------------------------------

CODEC = """
from vflc_common.codec import Codec, Unreadable
def pack(form, rows, between):
    return PACKED
def unpack(form, packed, between, dtype):
    if (packed == 255).any():
        raise Unreadable("255")
    return UNPACKED
CODEC = Codec("bytes", {"most": (1, 200)}, lambda form, by_range: form.width, pack, unpack)
def __getattr__(name):  # of the compiler alone
    from vflc.ops.protection import BOTH, Applied, Mechanism, Packs
    if name == "MECHANISM":
        def whole(b, row, options, draw):
            sign = b.op("maximum", b.constant(0.0), b.op("minimum", b.constant(9.0), b.op("floor", row)))
            return Applied(sign, sign)
        return Mechanism("whole", "Whole.", {}, BOTH, "compression", "none", lambda o: "whole numbers", whole,
                         packs=Packs("bytes", lambda options, width: {"most": 9}))
    raise AttributeError(name)
"""


def crossing(tmp_path: Path, packed: str, unpacked: str) -> Path:
    points = "[vflc.protections]\nwhole = whole:MECHANISM\n[vflc.codecs]\nbytes = whole:CODEC\n"
    code = CODEC.replace("UNPACKED", unpacked).replace("PACKED", packed)
    site = package(tmp_path / "site", points, code, "whole")
    (tmp_path / "m.vfl").write_text(asked("whole"), "utf-8")
    made = vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site)
    assert made.returncode == 0, made.stdout + made.stderr
    return site


def test_rows_cross_as_its_codec_has_it(tmp_path: Path) -> None:
    site, data = crossing(tmp_path, "rows.astype('u1')", "packed.astype(dtype)"), tables(tmp_path)
    kinds = [(each["kind"], each["name"]) for each in manifest(tmp_path)["plugins"]]
    assert kinds == [("codecs", "bytes"), ("protections", "whole")]
    (edge,) = (each for each in manifest(tmp_path)["edges"] if each["id"] == "a.protected")
    assert (edge["shape"], edge["packing"]) == (["batch", 4], {"as": "bytes", "most": 9, "row": [4]})
    done = vflc("train", "bundle", *data, "--out", "run", at=tmp_path, site=site)
    assert done.returncode == 0, done.stderr
    alone = vflc("train", "bundle", *data, "--out", "alone", at=tmp_path)
    assert alone.returncode == 1 and "VFL0696" in alone.stderr and "whole==0.3" in alone.stderr
    for name, value in (("most", 201), ("row", [5]), ("as", "other")):

        def change(plan, told, name=name, value=value) -> None:
            (edge,) = (each for each in told["edges"] if each["id"] == "a.protected")
            edge["packing"][name] = value

        resealed(tmp_path / "bundle", change)
        done = vflc("train", "bundle", *data, "--out", "other", at=tmp_path, site=site)
        assert done.returncode == 1 and "error[VFL0613]" in done.stderr, name


@pytest.mark.parametrize(
    ("packed", "unpacked", "code", "says"),
    [
        ("rows.astype('u1') * 0 + 255", "packed.astype(dtype)", "VFL0677", "255"),
        ("rows.astype('u1')", "packed[:, :2].astype(dtype)", "VFL0695", "ValueError"),
        ("1 / 0", "packed", "VFL0695", "ZeroDivisionError"),
    ],
)
def test_a_codec_that_fails_stops_the_run(
    packed: str, unpacked: str, code: str, says: str, tmp_path: Path
) -> None:
    site = crossing(tmp_path, packed, unpacked)
    done = vflc("train", "bundle", *tables(tmp_path), "--out", "run", at=tmp_path, site=site)
    told = " ".join(done.stderr.split())
    assert done.returncode != 0 and code in told and says in told and "Traceback" not in told
