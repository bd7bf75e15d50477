"""An engine of another package runs the bundles that ours run; one that cannot is said to be none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from installing import package, read, spec, vflc
from safetensors.numpy import load_file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `vflc init` makes, compiled."""
    folder = tmp_path_factory.mktemp("mine")
    assert vflc("init", "mine", at=folder).returncode == 0
    made = vflc("compile", "mine/model.vfl", "-o", "bundle", at=folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> list[str]:
    """The same in the test's own folder, and the options that name its tables."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return ["--data", "bank=mine/data/bank.csv", "--data", "shop=mine/data/shop.csv"]


def weights(run: Path) -> dict[str, np.ndarray]:
    return {
        name: value
        for path in sorted(run.glob("*/model.safetensors"))
        for name, value in load_file(path).items()
    }


def test_it_trains_to_the_weights_of_ours(site: Path, project: list[str], tmp_path: Path) -> None:
    """Also where it goes on with a run of its own; with ours it does not, whose rows may be behind."""
    for name, epochs, options in (
        ("onnx", 2, ["--engine", "onnx"]), ("reference", 2, ["--engine", "reference"]),
        ("both", 1, ["--engine", "reference"]),
        ("both", 2, ["--engine", "reference", "--resume"]),
    ):  # fmt: skip
        data = project if "--resume" in options else ["bundle", *project]
        done = vflc("train", *data, "--out", name, "--epochs", epochs, *options, at=tmp_path, site=site)
        assert done.returncode == 0, done.stdout + done.stderr
    ours = weights(tmp_path / "onnx")
    for name in ("reference", "both"):
        theirs = weights(tmp_path / name)
        assert theirs.keys() == ours.keys() and len(ours) > 10
        for weight, value in ours.items():
            np.testing.assert_allclose(theirs[weight], value, atol=2e-5, err_msg=f"{name} {weight}")
    options = ["--resume", "--out", "onnx", "--epochs", 3, "--engine", "reference"]
    other = vflc("train", *project, *options, at=tmp_path, site=site)
    assert other.returncode == 1 and "error[VFL0621]" in other.stderr
    for engine in ("onnx", "reference"):
        made = vflc(
            "predict", "onnx", *project, "-o", f"{engine}.csv", "--engine", engine, at=tmp_path, site=site
        )
        assert made.returncode == 0, made.stderr
    one, other = (read(tmp_path / f"{engine}.csv") for engine in ("onnx", "reference"))
    assert [row["customer"] for row in one] == [row["customer"] for row in other] and len(one) > 500
    for row, same in zip(one, other, strict=True):
        assert [float(value) for value in row.values()] == pytest.approx(
            [float(v) for v in same.values()], abs=1e-5
        )


def test_verify_compares_it(site: Path, tmp_path: Path) -> None:
    (tmp_path / "m.vfl").write_text(spec("relu", "auc"), "utf-8")
    options = ["--engines", "onnx,reference", "--steps", 6, "--rows", 100, "--json"]
    done = vflc("verify", "m.vfl", *options, at=tmp_path, site=site)
    assert done.returncode == 0, done.stdout + done.stderr
    ways = json.loads(done.stdout)["precisions"]["float64"]["ways"]
    assert {*ways} == {
        f"{split} {engine}" for split in ("split", "unsplit") for engine in ("onnx", "reference")
    }


def test_an_engine_that_there_is_not(project: list[str], tmp_path: Path) -> None:
    done = vflc("train", "bundle", *project, "--out", "run", "--engine", "reference", at=tmp_path)
    assert done.returncode == 2 and "there is no engine 'reference'; engines: " in " ".join(
        done.stderr.split()
    )


def test_it_runs_no_population_unless_it_says_so(site: Path, tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "specs" / "fedrecon" / "fedrecon.vfl"
    done = vflc("verify", path, "--engines", "reference", "--steps", 1, at=tmp_path, site=site)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error[VFL0691]: the engine 'reference' does not run models over populations" in done.stderr


HEAD = """
from vflc_common.engine import EngineRecord
from vflc_runtime.engines.onnx import OnnxEngine
class Odd(OnnxEngine):
    BODY
ENGINE = EngineRecord("odd", "odd", "onnx", Odd, "onnx")
"""
BROKEN = {
    "def run(self, graph): raise ValueError('odd one')": "strange 0.3 fails: ValueError: odd one",
    "def __init__(self, *args): raise OSError('no device')": "strange 0.3 fails: OSError: no device",
    "def get(self, value): return [1.0]": "of the package strange 0.3 gives for",
    "def weights(self): return {}": "strange 0.3 has other weights than the plan",
    "def weights(self): return {n: w.astype('float16') for n, w in OnnxEngine.weights(self).items()}":
        "strange 0.3 has weights that are not float32",
    "def update(self, update): return self.nothing": "fails: AttributeError",
}  # fmt: skip


@pytest.mark.parametrize("body", BROKEN)
def test_a_broken_engine_ends_the_run(body: str, project: list[str], tmp_path: Path) -> None:
    site = package(tmp_path / "site", "[vflc.engines]\nodd = strange:ENGINE\n", HEAD.replace("BODY", body))
    done = vflc("train", "bundle", *project, "--out", "run", "--engine", "odd", at=tmp_path, site=site)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "error[VFL0695]" in done.stderr and BROKEN[body] in done.stderr


def test_wrong_shapes_do_not_cross(project: list[str], tmp_path: Path) -> None:
    body = "def get(self, value): return OnnxEngine.get(self, value)[..., :1]"
    site = package(tmp_path / "site", "[vflc.engines]\nodd = strange:ENGINE\n", HEAD.replace("BODY", body))
    done = vflc("train", "bundle", *project, "--out", "run", "--engine", "odd", at=tmp_path, site=site)
    assert done.returncode in (1, 3) and "error[VFL06" in done.stderr, done.stderr


def test_ours_cannot_be_shadowed(project: list[str], tmp_path: Path) -> None:
    site = package(
        tmp_path / "site", "[vflc.engines]\nonnx = strange:ENGINE\n", "raise RuntimeError('imported')"
    )
    done = vflc("train", "bundle", *project, "--out", "run", "--steps", 1, at=tmp_path, site=site)
    assert done.returncode == 0, done.stderr
