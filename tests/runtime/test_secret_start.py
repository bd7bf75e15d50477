"""Initial weights that only their own place knows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from vflc_runtime.engines.engine import Engine
from vflc_runtime.errors import Failure
from vflc_runtime.run.session import Session
from vflc_runtime.run.start import FILE, begin
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party alice {
  key ID
  feature a: float
}
party bob {
  key ID
  feature b: float
  label y = target > 0
  column target: float
}
h = mlp(alice.a, [8, 4])
fuse at bob { logit = dense(mlp(concat(h, dense(bob.b, 4)), [8]), 1) }
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train { batch 16  epochs 2  %s }
release alice { to bob: a }
release bob { to alice: b, y }
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    import pyarrow as pa

    rng = np.random.default_rng(0)
    key = pa.array(range(80))
    return {
        "alice": pa.table({"ID": key, "a": rng.normal(size=80)}),
        "bob": pa.table({"ID": key, "b": rng.normal(size=80), "target": rng.normal(size=80)}),
    }


def bundle(folder: Path, setting: str = "secret_start true") -> Path:
    compile_source(SourceText("secret.vfl", SPEC % setting)).write(folder)
    return folder


def weights(run: Path) -> dict[str, bytes]:
    last = max((run / "checkpoints").iterdir())
    return {
        name: tensor.tobytes()
        for file in sorted(last.glob("*/model.safetensors"))
        for name, tensor in load_file(file).items()
    }


def engines(folder: Path) -> dict[str, Engine]:
    return Session(folder, seed=0, threads=1).engines


def test_each_run_and_each_place_has_weights_of_its_own(tmp_path: Path) -> None:
    folder, public = bundle(tmp_path / "b"), engines(tmp_path / "b")
    drawn = {}
    for run in ("one", "two"):
        for place in public:
            (tmp_path / run / place).mkdir(parents=True)
        drawn[run] = engines(folder)
        begin(tmp_path / run, drawn[run])
    kernel = "h.mlp.0.kernel"
    values = [made["alice"].weights()[kernel] for made in (public, drawn["one"], drawn["two"])]
    assert all(not np.array_equal(x, y) for i, x in enumerate(values) for y in values[:i])
    bound = np.sqrt(6 / sum(values[0].shape))
    assert all(np.abs(x).max() <= bound for x in values), "the same distribution"
    keys = {(tmp_path / run / place / FILE).read_text() for run in drawn for place in public}
    assert len(keys) == 2 * len(public)
    assert (tmp_path / "one" / "alice" / FILE).stat().st_mode & 0o777 == 0o600


def test_a_run_that_begins_again_begins_with_the_same_weights(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b")
    for place in ("alice", "bob"):
        (tmp_path / "run" / place).mkdir(parents=True)
    first, second = engines(folder), engines(folder)
    begin(tmp_path / "run", first)
    begin(tmp_path / "run", second)
    for place, engine in first.items():
        for name, tensor in engine.weights().items():
            assert np.array_equal(tensor, second[place].weights()[name])


def test_runs_differ_and_a_resumed_one_does_not(tmp_path: Path, tables: dict[str, Any]) -> None:
    folder = bundle(tmp_path / "b")
    for run in ("one", "two"):
        train(folder, tables, tmp_path / run, TrainOptions(threads=1))
    assert weights(tmp_path / "one") != weights(tmp_path / "two")
    train(folder, tables, tmp_path / "cut", TrainOptions(steps=3, threads=1))
    shutil.copytree(tmp_path / "cut", tmp_path / "copy")
    for run in ("cut", "copy"):
        train(folder, tables, tmp_path / run, TrainOptions(resume=True, steps=8, threads=1))
    assert weights(tmp_path / "cut") == weights(tmp_path / "copy")


def test_without_it_plans_say_nothing_of_it_and_runs_are_equal(
    tmp_path: Path, tables: dict[str, Any]
) -> None:
    folder = bundle(tmp_path / "b", "")
    assert "secret_start" not in json.loads((folder / "alice" / "plan.json").read_bytes())["train"]
    for run in ("one", "two"):
        train(folder, tables, tmp_path / run, TrainOptions(threads=1))
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert not (tmp_path / "one" / "alice" / FILE).exists()


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b")
    for place in ("alice", "bob"):
        (tmp_path / "run" / place).mkdir(parents=True)
    (tmp_path / "run" / "alice" / FILE).write_text("42")
    with pytest.raises(Failure) as refused:
        begin(tmp_path / "run", engines(folder))
    assert refused.value.code == "VFL0621"
