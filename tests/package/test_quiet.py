"""What reaches a user beside our own words: nothing, whatever a library warns of; and `python -m vflc`."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import vflc

ROOT = Path(vflc.__file__).parent.parent
BENCHMARKS = {"alignment": "grpc", "cluster": "ray", "deepfm": "tensorflow", "transport": "grpc"}

SPEC = """
party shop {
  key id
  feature Region: int -> index(3)
  label Late: int
}
logit = dense(embed(shop.Region, dim = 2), 1)
predict late = sigmoid(logit)
objective bce(logit, shop.Late)
train { batch 4 }
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)


def test_python_m_vflc(tmp_path: Path) -> None:
    assert python(tmp_path, "-m", "vflc", "--version").stdout.startswith("vflc ")
    wrong = python(tmp_path, "-m", "vflc", "chek")
    assert wrong.returncode == 2 and "did you mean 'check'" in wrong.stderr


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs the extra keras")
def test_a_run_with_keras_says_nothing_of_its_libraries(tmp_path: Path) -> None:
    (tmp_path / "m.vfl").write_text(SPEC)
    (tmp_path / "shop.csv").write_text(
        "id,Region,Late\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(9))
    )
    trained = python(
        tmp_path, "-m", "vflc", "train", "m.vfl", "--data", "shop=shop.csv", "--out", "run",
        "--engine", "keras", "--steps", "2",
    )  # fmt: skip
    assert trained.returncode == 0 and trained.stderr == ""
    assert "protobuf" not in trained.stdout.lower()


WITHOUT = """
import importlib.util, runpy, sys

find, missing = importlib.util.find_spec, None
importlib.util.find_spec = lambda name, *more: None if name == missing else find(name, *more)
folder, *names = sys.argv[1:]
sys.path.insert(0, folder)
for each in names:
    name, _, missing = each.partition("=")
    sys.argv = [name]
    try:
        runpy.run_path(f"{folder}/{name}.py", run_name="__main__")
    except SystemExit as ended:
        print(name, ended.code)
"""
"""Runs benchmarks, each as if a package were not installed."""


def test_a_benchmark_names_the_extra_it_needs(tmp_path: Path) -> None:
    asked = [f"{name}={missing}" for name, missing in BENCHMARKS.items()]
    ended = python(tmp_path, "-c", WITHOUT, str(ROOT / "benchmarks"), *asked)
    assert ended.returncode == 0, ended.stderr
    for (name, missing), line in zip(BENCHMARKS.items(), ended.stdout.splitlines(), strict=True):
        extra = {"tensorflow": "keras"}.get(missing, missing)
        assert line == f"{name} this benchmark needs {missing}: pip install 'vflc[{extra}]'"
