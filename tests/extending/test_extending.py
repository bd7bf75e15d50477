"""The example package of docs/extending.md, installed and used; and packages that are no such example."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from installing import finding, found, package, read, spec, tables, vflc
from safetensors.numpy import load_file
from vflc_common.canonical import canonical, digest
from vflc_common.plugins import Plugin
from vflc_runtime.bundle.plugins import read_plugins
from vflc_runtime.bundle.reading import Json
from vflc_runtime.errors import Failure

ROOT = Path(__file__).parents[2]


def test_a_function_and_a_metric_of_another_package(site: Path, tmp_path: Path) -> None:
    (tmp_path / "m.vfl").write_text(spec(), "utf-8")
    made = vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site)
    assert made.returncode == 0, made.stderr
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text("utf-8"))
    assert manifest["plugins"] == [
        {"kind": kind, "name": name, "package": "vflc-example", "version": "1.0"}
        for kind, name in (("functions", "mish"), ("metrics", "cubed_error"))
    ]
    data = tables(tmp_path)
    done = vflc("train", "bundle", *data, "--out", "run", at=tmp_path, site=site)
    assert done.returncode == 0, done.stderr
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    best = min(epoch["validation"]["cubed_error"] for epoch in history)
    kept = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 < best < 1 and kept["best"]["value"] == best
    # a probability is known for each row: the metric is the mean of what it says it is
    scored = vflc("predict", "run", *data, "-o", "out.csv", at=tmp_path, site=site)
    told = vflc("evaluate", "run", *data, "--json", at=tmp_path, site=site)
    assert scored.returncode == told.returncode == 0, scored.stderr + told.stderr
    predicted, labels = (read(tmp_path / name) for name in ("out.csv", "bob.csv"))
    late = {row["ID"]: float(row["late"]) for row in predicted}
    cubes = [abs(late[row["ID"]] - int(row["Late"])) ** 3 for row in labels]
    assert json.loads(told.stdout)["evaluation"]["cubed_error"] == pytest.approx(np.mean(cubes), abs=1e-6)

    without = vflc("train", "bundle", *data, "--out", "other", at=tmp_path)
    assert without.returncode == 1 and "error[VFL0696]" in without.stderr
    assert "vflc-example 1.0, which is not installed here" in without.stderr
    later = package(tmp_path / "later", "", "", "vflc-example", "1.1")
    other = vflc("evaluate", "run", *data, at=tmp_path, site=later)
    assert other.returncode == 1 and "which is 1.1 here" in other.stderr


def test_a_new_python_finds_it(site: Path, tmp_path: Path) -> None:
    """All other tests run commands in processes that have imported vflc before they know of the package."""
    (tmp_path / "m.vfl").write_text(spec(), "utf-8")
    command = [sys.executable, "-m", "vflc", "check", "m.vfl"]
    done = subprocess.run(command, cwd=tmp_path, env=finding(site), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_op_of_another_package_is_pushed_down(site: Path, tmp_path: Path) -> None:
    """Each party sends its own smallest value: what the record says of pieces is enough."""
    text = spec("relu", "auc").replace("fuse at bob {", "").replace("1)\n}", "1)")
    sides = "logit = dense(smallest(concat(dense(alice.Age, 4), dense(bob.Income, 6))), 1)"
    lines = [line for line in text.splitlines() if not line.startswith("a = ")]
    text = "\n".join(sides if "logit = " in line else line for line in lines)
    (tmp_path / "m.vfl").write_text(text.replace("metrics auc, auc", "metrics auc"), "utf-8")
    made = vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site)
    assert made.returncode == 0, made.stdout + made.stderr
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text("utf-8"))
    forward = [edge for edge in manifest["edges"] if edge["phase"] == "forward"]
    assert [(edge["from"], edge["shape"][1:]) for edge in forward] == [("alice", [])]
    compared = vflc("verify", "m.vfl", at=tmp_path, site=site)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert vflc("train", "bundle", *tables(tmp_path), "--out", "run", at=tmp_path, site=site).returncode == 0


def test_what_the_op_says_of_itself_holds(site: Path, tmp_path: Path) -> None:
    """As the page says, in a Python of its own."""
    page = (ROOT / "docs" / "extending.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(from vflc.ops import OPS.+?)```", page, re.DOTALL)
    lie = "from msgspec.structs import replace\nOPS['smallest'] = replace(OPS['smallest'], **%s)\n"
    for field, right in ((None, True), ("{'differs': 'names'}", False), ("{'elementwise': True}", False)):
        tried = code if field is None else code.replace("assert", lie % field + "assert")
        done = subprocess.run(
            [sys.executable, "-c", tried], cwd=tmp_path, env=finding(site), capture_output=True, text=True
        )
        assert (done.returncode == 0) == right, done.stderr


@pytest.mark.parametrize("version", [None, "0.9"])
def test_a_metric_that_the_manifest_does_not_name_is_not_run(
    version: str | None, site: Path, tmp_path: Path
) -> None:
    """Another package's name stands in, or none, and the digest fits: the plan asks for it all the same."""
    (tmp_path / "m.vfl").write_text(spec(), "utf-8")
    assert vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site).returncode == 0
    path = tmp_path / "bundle" / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["plugins"] = [
        {**each, "kind": "losses", "version": version or each["version"]}
        for each in manifest["plugins"]
        if version or each["kind"] != "metrics"
    ]
    del manifest["digest"], manifest["page_sha256"]
    path.write_text(canonical({**manifest, "digest": digest(manifest)}), "utf-8")
    refused = vflc("train", "bundle", *tables(tmp_path), "--out", "run", at=tmp_path, site=site)
    assert refused.returncode == 1, refused.stdout
    assert "error[VFL0613]: 'cubed_error' among the metrics is of the package vflc-example" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_a_spec_that_asks_for_nothing_of_others_has_no_plugins(site: Path, tmp_path: Path) -> None:
    (tmp_path / "m.vfl").write_text(spec("relu", "log_loss"), "utf-8")
    for name, where in (("with", site), ("without", None)):
        assert vflc("compile", "m.vfl", "-o", name, at=tmp_path, site=where).returncode == 0
    one, other = ((tmp_path / name / "manifest.json").read_bytes() for name in ("with", "without"))
    assert one == other and b"plugins" not in one


def test_another_version_is_another_digest(site: Path, tmp_path: Path) -> None:
    """Parties that compiled with different versions find out before anything runs."""
    (tmp_path / "m.vfl").write_text(spec(), "utf-8")
    shutil.copytree(site, tmp_path / "newer")
    about = tmp_path / "newer" / "vflc_example-1.0.dist-info" / "METADATA"
    about.write_text(about.read_text().replace("Version: 1.0", "Version: 1.1"))
    digests = set()
    for name, where in (("one", site), ("other", tmp_path / "newer")):
        assert vflc("compile", "m.vfl", "-o", name, at=tmp_path, site=where).returncode == 0
        digests.add(json.loads((tmp_path / name / "manifest.json").read_text())["digest"])
    assert len(digests) == 2


def test_a_loss_of_another_package(site: Path, tmp_path: Path) -> None:
    """It is used by its name, and the derivative is told of in its own words."""
    text = spec("relu", "mae").replace("bce(logit, bob.Late)", "expectile(logit, bob.Late, q = 0.9)")
    text = text.replace("predict late = sigmoid(logit)", "predict late = logit").replace(", auc", "")
    (tmp_path / "m.vfl").write_text(text, "utf-8")
    made = vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site)
    assert made.returncode == 0, made.stdout + made.stderr
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text("utf-8"))
    assert [each["kind"] for each in manifest["plugins"]] == ["losses"]
    said = " ".join(each["says"] for each in manifest["evidence"])
    assert "its sign tells on which side of the prediction the label lies" in said
    wrong = found(text.replace("q = 0.9", "q = 2"), tmp_path, site)
    assert "expectile with q = 2" in wrong and "error[VFL0205]" in wrong


def test_an_optimizer_of_another_package(site: Path, tmp_path: Path) -> None:
    """Every step has the size of its rate; who only runs the bundle does not need the package."""
    text = spec("relu", "auc").replace("metrics auc, auc", "optimizer signsgd(0.25)  metrics auc")
    (tmp_path / "m.vfl").write_text(text, "utf-8")
    assert vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site).returncode == 0
    data = tables(tmp_path)
    values = []
    for steps in (1, 2):
        options = ["--steps", steps, "--epochs", 9, "--out", f"run{steps}"]
        done = vflc("train", "bundle", *data, *options, at=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        values.append(load_file(tmp_path / f"run{steps}" / "bob" / "model.safetensors"))
    moved = {name: np.abs(values[1][name] - values[0][name]) for name in values[0]}
    assert all(np.isin(each, (0.0, 0.25)).all() for each in moved.values()) and len(moved) == 2
    assert any(each.any() for each in moved.values())


def test_a_schedule_of_another_package(site: Path, tmp_path: Path) -> None:
    """Two steps with rates 0.25 and 0.125, by which each weight moves where its gradient has a sign."""
    text = spec("relu", "auc").replace(
        "metrics auc, auc", "optimizer signsgd(lr = halving(0.25, every = 1))  metrics auc"
    )
    (tmp_path / "m.vfl").write_text(text, "utf-8")
    assert vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path, site=site).returncode == 0
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text("utf-8"))
    assert [each["kind"] for each in manifest["plugins"]] == ["optimizers", "schedules"]
    values = []
    for steps in (1, 2):
        options = ["--steps", steps, "--epochs", 9, "--out", f"run{steps}"]
        done = vflc("train", "bundle", *tables(tmp_path), *options, at=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        values.append(load_file(tmp_path / f"run{steps}" / "bob" / "model.safetensors"))
    moved = {name: np.abs(values[1][name] - values[0][name]) for name in values[0]}
    assert all(np.isin(each, (0.0, 0.125)).all() for each in moved.values()) and len(moved) == 2
    assert any(each.any() for each in moved.values())


def test_a_schedule_knows_how_far_it_goes(site: Path, tmp_path: Path) -> None:
    """`halving` says what it never exceeds, and not that it stays above 0."""
    text = spec("relu", "auc").replace("metrics auc, auc", "optimizer OPTIMIZER  metrics auc")
    allowed = text.replace("OPTIMIZER", "adamw(lr = halving(0.25, 9), weight_decay = 3.9)")
    (tmp_path / "m.vfl").write_text(allowed, "utf-8")
    assert vflc("check", "m.vfl", at=tmp_path, site=site).returncode == 0
    told = found(text.replace("OPTIMIZER", "adamw(lr = halving(0.25, 9), weight_decay = 4)"), tmp_path, site)
    assert "`weight_decay` times the highest `lr` is 1" in told
    told = found(text.replace("OPTIMIZER", "ftrl(lr = halving(0.25, 9))"), tmp_path, site)
    assert "`lr` is or becomes 0" in told


SCHEDULES = {
    "raise ValueError('odd')": "'odd' among the schedules of the package strange 0.3 fails: ValueError: odd",
    "return b.op('less', done, done)": "not one number a step",
    "return b.op('nothing_like_it', done)": "fails: KeyError",
    "return 3": "fails: TypeError: it makes 3, which is no value of a graph",
}


@pytest.mark.parametrize("body", SCHEDULES)
def test_a_schedule_that_fails_is_a_finding_at_its_place(body: str, tmp_path: Path) -> None:
    code = f"from vflc.ops.schedule import Schedule\ndef make(b, done, o):\n    {body}\n"
    code += "SCHEDULE = Schedule('odd', 'Odd.', {'lr': None}, make)\n"
    site = package(tmp_path / "site", "[vflc.schedules]\nodd = strange:SCHEDULE\n", code)
    told = found(spec("relu", "auc").replace("metrics auc, auc", "optimizer adam(odd(0.1))"), tmp_path, site)
    assert SCHEDULES[body] in told and "optimizer adam(odd(0.1))" in told


BROKEN = {
    "does not import": ("import nothing_like_it\n", "loaded from strange:METRIC: ModuleNotFoundError"),
    "ends the process": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "has no record": ("", "AttributeError"),
    "is no record": ("METRIC = 7\n", "is no Metric of that name: 7"),
    "is of another name": (
        "from vflc_common.metrics.auc import METRIC\n", "is no Metric of that name: Metric(name='auc'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_metric_is_a_finding_at_its_place(how: str, tmp_path: Path) -> None:
    code, says = BROKEN[how]
    site = package(tmp_path / "site", "[vflc.metrics]\nodd = strange:METRIC\n", code)
    told = found(spec("relu", "odd"), tmp_path, site)
    assert "error[VFL0695]: 'odd' among the metrics of the package strange 0.3" in told and says in told
    assert "metrics odd, auc" in told


def test_a_broken_function_is_a_finding_at_its_place(tmp_path: Path) -> None:
    site = package(tmp_path / "site", "[vflc.functions]\nodd = strange:odd\n", "odd = 3\n")
    told = found(spec("odd", "auc"), tmp_path, site)
    assert "error[VFL0695]" in told and "strange 0.3 makes none of the functions 'odd'" in told
    assert "a = odd(dense(alice.Age, 4))" in told


def test_a_name_of_two_packages_is_none(tmp_path: Path) -> None:
    for name in ("one", "other"):
        package(tmp_path / "site", f"[vflc.metrics]\nodd = {name}:METRIC\n", "", name)
    told = found(spec("relu", "odd"), tmp_path, tmp_path / "site")
    assert "one and other both have metrics 'odd'" in told


def test_what_is_not_asked_for_is_not_imported(tmp_path: Path) -> None:
    points = "[vflc.metrics]\nauc = strange:METRIC\nodd = strange:METRIC\n"
    points += "[vflc.functions]\nrelu = strange:relu\n"
    site = package(tmp_path / "site", points, "raise RuntimeError('imported')\n")
    (tmp_path / "m.vfl").write_text(spec("relu", "auc"), "utf-8")
    done = vflc("check", "m.vfl", at=tmp_path, site=site)
    assert done.returncode == 0, done.stdout


def test_a_near_name_is_suggested(site: Path, tmp_path: Path) -> None:
    told = found(spec("misch", "cubed_eror"), tmp_path, site)
    assert "did you mean `cubed_error`?" in told and "did you mean `mish`?" in told


@pytest.mark.parametrize(
    ("field", "value"),
    [("package", "../vflc"), ("package", ""), ("package", "a b"), ("version", "1; rm -r /"), ("name", 7),
     ("version", "1" * 101), ("kind", None)],
)  # fmt: skip
def test_a_manifest_that_names_no_package_is_damaged(field: str, value: object) -> None:
    entry: dict[str, object] = {"kind": "metrics", "name": "odd", "package": "strange", "version": "1"}
    with pytest.raises(Failure) as refused:
        read_plugins(Json([entry | {field: value}], "manifest.json.plugins"))
    assert refused.value.code == "VFL0613"


@pytest.mark.parametrize("items", [3, {"a": 1}, [3], ["odd"], [{}]])
def test_a_manifest_whose_plugins_are_no_list_is_damaged(items: object) -> None:
    with pytest.raises(Failure) as refused:
        read_plugins(Json(items, "manifest.json.plugins"))
    assert refused.value.code == "VFL0613"


def test_what_has_become_graphs_needs_no_package() -> None:
    entry = {"kind": "losses", "name": "odd", "package": "not-installed-anywhere", "version": "1"}
    assert read_plugins(Json([entry], "plugins")) == (Plugin(**entry),)
    with pytest.raises(Failure, match="which is not installed here"):
        read_plugins(Json([entry | {"kind": "metrics"}], "plugins"))
