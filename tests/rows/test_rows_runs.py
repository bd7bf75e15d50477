"""Rows in a run's life: interrupted and gone on with, saved, predicted from, exported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from granting import granted
from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.run.predict import predict
from vflc_runtime.run.session import Session
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party a { key k
  feature i: int -> index(60)
  feature j: int -> index(40) }
party b { key k
  label y: int }
e = embed([a.i, a.j], dim = 3)
fuse at b { logit = dense(flatten(e), 1) }
predict y = sigmoid(logit)
objective bce(logit, b.y)PENALTY
train { optimizer OPTIMIZER
  batch 2
  validation 0.25
  shuffle false }
"""
ALL = " + l2(0.05, e.tables, rows = all)"
COUNT = 40
OPTIMIZERS = (
    "adamw(lr = warmup(lr = 0.05, steps = 5), weight_decay = 0.1)",
    "sgd(lr = 0.1, momentum = 0.9)",
    "ftrl(lr = 0.1)",
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ids that come back after a while: what a row misses is several steps."""
    folder = tmp_path_factory.mktemp("tables")
    order = np.arange(COUNT)
    columns: Mapping[str, Mapping[str, Any]] = {
        "a": {"k": order, "i": order % 17, "j": (order * 7) % 11},
        "b": {"k": order, "y": order % 2},
    }
    for party, made in columns.items():
        pq.write_table(pa.table({name: pa.array(v) for name, v in made.items()}), folder / f"{party}.parquet")
    return {party: str(folder / f"{party}.parquet") for party in columns}


def bundle(folder: Path, optimizer: str, penalty: str = "") -> Path:
    text = granted(SPEC.replace("OPTIMIZER", optimizer).replace("PENALTY", penalty))
    compile_source(SourceText("runs.vfl", text), precision="float64").write(folder / "bundle")
    return folder / "bundle"


def saved(run: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The model as others read it."""
    places = [files.read_tensors(run / place / "model.safetensors")[0] for place in ("a", "b")]
    return {name: weight for place in places for name, weight in place.items()}


def taken_up(where: Path, run: RunFolder) -> Session:
    """A session that goes on where the run's last checkpoint left it."""
    checkpoint, session = run.latest(), Session(where)
    assert checkpoint is not None
    for place, kinds in checkpoint.tensors.items():
        weights = {**kinds["model"], **kinds.get("stored", {})}
        session.engines[place].load(weights, kinds["slots"], checkpoint.progress.step)
    session.steps = checkpoint.progress.step
    return session


@pytest.mark.parametrize("penalty", ["", ALL], ids=["plain", "penalised"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda text: text.split("(")[0])
def test_a_run_that_goes_on_has_the_same_bits(
    tmp_path: Path, tables: dict[str, str], optimizer: str, penalty: str
) -> None:
    """Checkpoints in the middle of epochs, with evaluations between: they change nothing that follows."""
    where = bundle(tmp_path, optimizer, penalty)
    whole = TrainOptions(epochs=2, steps=23)
    train(where, tables, tmp_path / "whole", whole)
    for steps in (4, 9, 17, 23):
        parts = TrainOptions(epochs=2, steps=steps, resume=steps > 4, checkpoint_steps=3)
        train(where, tables, tmp_path / "parts", parts)
    for place in ("a", "b"):
        one, other = (tmp_path / name / place / "model.safetensors" for name in ("whole", "parts"))
        for name, weight in files.read_tensors(one)[0].items():
            assert weight.tobytes() == files.read_tensors(other)[0][name].tobytes(), name


def test_what_is_saved_is_what_the_session_reads(tmp_path: Path, tables: dict[str, str]) -> None:
    """A saved model, and what is made of it, has every row as it is after the last step."""
    where = bundle(tmp_path, OPTIMIZERS[0])
    train(where, tables, tmp_path / "run", TrainOptions(epochs=1, steps=13))
    run = RunFolder(tmp_path / "run")
    session, model = taken_up(where, run), saved(tmp_path / "run")
    for name, weight in session.weights().items():
        assert weight.tobytes() == model[name].tobytes(), name
    stored = session.engines["a"].stored()
    assert any(np.abs(stored[name] - model[name]).max() > 1e-6 for name in stored)


def test_a_checkpoint_with_steps_to_come_is_refused(tmp_path: Path, tables: dict[str, str]) -> None:
    where = bundle(tmp_path, OPTIMIZERS[0])
    session = Session(where)
    engine = session.engines["a"]
    slots = {name: value.copy() for name, value in engine.slots().items()}
    (last,) = {name for name in slots if name.endswith("e.i/last")}
    for wrong in (np.full(60, 8), np.full(60, -1), np.zeros(60)):
        with pytest.raises(Failure) as caught:
            engine.load(engine.weights(), {**slots, last: wrong}, 7)
        assert caught.value.code == "VFL0621"
    engine.load(engine.weights(), {**slots, last: np.full(60, 7)}, 7)


def test_weights_alone_are_those_after_the_steps_done(tmp_path: Path) -> None:
    """Whoever sets weights in the middle of a training finds them there, and momentum goes on from them."""
    where = bundle(tmp_path, OPTIMIZERS[1])
    session = Session(where, programs=("train",))
    inputs = {"a.i": np.array([1], np.int32), "a.j": np.array([2], np.int32), "b.y": np.ones((1, 1))}
    other = {**inputs, "a.i": np.array([5], np.int32), "a.j": np.array([6], np.int32)}
    for batch in (inputs, other, other):
        session.step(batch)
    engine = session.engines["a"]
    chosen = {name: np.full_like(weight, 0.25) for name, weight in engine.weights().items()}
    engine.load(chosen)
    for name, weight in engine.weights().items():
        np.testing.assert_array_equal(weight, chosen[name])
    moving = session.engines["a"].slots()["e.i/momentum"][1].copy()
    session.step(other)
    np.testing.assert_allclose(session.weights()["e.i"][1], 0.25 + 0.9 * moving, rtol=0, atol=1e-12)


@pytest.mark.parametrize("penalty", ["", ALL], ids=["plain", "penalised"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[:2], ids=lambda text: text.split("(")[0])
def test_predictions_have_current_rows(
    tmp_path: Path, tables: dict[str, str], optimizer: str, penalty: str
) -> None:
    """Of the saved model, and of the session that trained, which goes on as if nobody had asked."""
    where = bundle(tmp_path, optimizer, penalty)
    train(where, tables, tmp_path / "run", TrainOptions(epochs=1, steps=13))
    predict(tmp_path / "run", tables, tmp_path / "found.parquet")
    found = pq.read_table(tmp_path / "found.parquet")
    order = np.array(found["k"]).astype(int)
    inputs = {"a.i": (order % 17).astype(np.int32), "a.j": ((order * 7) % 11).astype(np.int32)}
    asked, left = (taken_up(where, RunFolder(tmp_path / "run")) for _ in range(2))
    expected = asked.predict(inputs)["y"][:, 0]
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(np.array(found["y"]), expected, rtol=0, atol=1e-12)
    inputs |= {"b.y": (order % 2)[:, None].astype(float)}
    asked.evaluate(inputs)
    for session in (asked, left):
        session.step({name: values[:3] for name, values in inputs.items()})
    for name, weight in asked.weights().items():
        assert weight.tobytes() == left.weights()[name].tobytes(), name
