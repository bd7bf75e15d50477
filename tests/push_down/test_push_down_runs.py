"""Runs of a model that was pushed down: resumed, in threads, between parties, by Keras, with secrets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from party.partying import tensors, train_alone, train_together
from push_down.one_table import compiled, one_table
from safetensors.numpy import load_file
from verify.verifying import crosswise
from vflc_runtime.events import EpochEnded
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions, train

import vflc
from vflc.emit.bundle import Bundle

MODEL = """
x = flatten(embed(FEATURES, dim = 4))
h = mlp(x, [3], activation = tanh, dropout = 0.2)
logit = dense(h, 1) + sum(x * weight(24))
objective l2(0.01, h.weights)
"""
OPTIONS = TrainOptions(epochs=2, batch=16, validation=0.2, checkpoint_steps=2)
ROWS = 80


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def sources() -> dict[str, Any]:
    """80 rows at each party."""
    rng = np.random.default_rng(0)
    found = {}
    for name in ("alice", "bob"):
        found[name] = pa.table(
            {
                "ID": range(ROWS), "c0": rng.integers(0, 5, ROWS), "c1": rng.integers(0, 6, ROWS),
                "x0": rng.normal(size=ROWS), **({"target": rng.normal(size=ROWS)} if name == "bob" else {}),
            }
        )  # fmt: skip
    return found


def bundle(folder: Path, train: str = "optimizer adam(lr = 0.05)", **options: Any) -> Path:
    made: Bundle = compiled(one_table(MODEL, train=train), **options)
    assert any("slice" in node.attrs for node in made.model.graph) or options
    made.write(folder)
    return folder


def test_it_ends_with_the_same_bits_between_parties_and_in_threads(
    sources: dict[str, Any], tmp_path: Path
) -> None:
    made = bundle(tmp_path / "bundle")
    alone = train_alone(made, sources, tmp_path / "alone", OPTIONS)
    train(made, sources, tmp_path / "threads", replace(OPTIONS, threads=3))
    train_together(made, sources, tmp_path / "parties", OPTIONS)
    for place in ("alice", "bob"):
        expected = tensors(alone, place)
        assert tensors(tmp_path / "threads", place) == expected
        assert tensors(tmp_path / "parties" / place, place) == expected


def test_it_is_resumed_to_the_same_bits(sources: dict[str, Any], tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle")
    alone = train_alone(made, sources, tmp_path / "alone", OPTIONS)

    def stop(event: object) -> None:
        if isinstance(event, EpochEnded):
            raise Stopped

    with pytest.raises(Stopped):
        train(made, sources, tmp_path / "run", OPTIONS, stop)
    train(made, sources, tmp_path / "run", replace(OPTIONS, resume=True))
    assert tensors(tmp_path / "run", "alice", "bob") == tensors(alone, "alice", "bob")


def test_a_run_has_whole_weights_evaluates_and_predicts(sources: dict[str, Any], tmp_path: Path) -> None:
    """As one of the model as it is written."""
    found = []
    for name in ("pushed", "written"):
        made = bundle(tmp_path / f"{name}.b", precision="float64", push_down=name == "pushed")
        run = train_alone(made, sources, tmp_path / name, OPTIONS)
        predict(run, sources, tmp_path / f"{name}.csv")
        predictions = np.loadtxt(tmp_path / f"{name}.csv", delimiter=",", skiprows=1)
        opened = vflc.load(run)
        found.append((opened.weights, predictions, evaluate(run, sources)["evaluation"]["loss"]))
    (ours, predicted, loss), (theirs, expected, same) = found
    assert ours.keys() == theirs.keys()
    for weight in ours:
        np.testing.assert_allclose(ours[weight], theirs[weight], rtol=0, atol=1e-9)
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-9)
    assert loss == pytest.approx(same, abs=1e-9)


def test_secret_starts_are_each_place_s_own(sources: dict[str, Any], tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle", "optimizer sgd(lr = 0.0)  secret_start true")
    runs = [train_alone(made, sources, tmp_path / str(number), OPTIONS) for number in (0, 1)]
    for place in ("alice", "bob"):
        first, second = (load_file(run / place / "model.safetensors") for run in runs)
        (kernel,) = (name for name in first if name.endswith(f"kernel.{place}"))
        assert first[kernel].shape == (12, 3)
        assert (first[kernel] != second[kernel]).all()


def test_noise_on_the_gradients_of_a_slice(sources: dict[str, Any], tmp_path: Path) -> None:
    text = one_table(MODEL) + "protect weights at alice with dp_sgd(clip = 1.0, noise = 0.5)\n"
    made = compiled(text)
    (guard,) = made.model.guards
    assert "h.mlp.0.kernel.alice" in guard.weights
    made.write(tmp_path / "bundle")
    train(tmp_path / "bundle", sources, tmp_path / "run", OPTIONS)


def test_keras_computes_the_same(tmp_path: Path) -> None:
    for each in crosswise(one_table(MODEL), tmp_path):
        assert each.within, (each.ways, each.worst)
