"""Numbers that are not finite never reach a peer, a checkpoint or a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import handmade
import numpy as np
import pytest
from vflc_runtime import finite
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.files import read_tensors
from vflc_runtime.run.session import Session
from vflc_runtime.run.train import TrainOptions, train
from vflc_runtime.run.training import TrainingLoop

LARGEST = float(np.finfo(np.float32).max)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return handmade.write_bundle(tmp_path / "b")


def batch(rows: int = 8) -> dict[str, Any]:
    return handmade.batch(np.random.default_rng(0), rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 7, 23])
def test_one_number_is_found(dtype: str, number: float, at: int) -> None:
    array = np.ones((2, 3, 4), dtype)
    assert finite.finite(array)
    array.reshape(-1)[at] = number
    assert not finite.finite(array)


def test_the_largest_numbers_are_finite() -> None:
    assert finite.finite(np.full(100, LARGEST, np.float32))
    assert finite.finite(np.array([LARGEST, -LARGEST], np.float32))
    assert finite.finite(np.zeros(0, np.float32)) and finite.finite(np.array(3, np.int32))


@pytest.mark.parametrize("program", ["step", "evaluate", "predict"])
def test_an_activation_that_is_not_finite_does_not_leave(bundle: Path, program: str) -> None:
    session, inputs = Session(bundle), batch()
    inputs["alice.x"][3] = np.inf
    before = session.weights()
    with pytest.raises(Failure, match=r"what 'alice' is about to send to 'bob' on edge 'a\.v'") as caught:
        getattr(session, program)(inputs)
    assert caught.value.code == "VFL0611"
    assert ("learning rate" in str(caught.value.help)) == (program == "step")
    assert all(np.array_equal(before[name], after) for name, after in session.weights().items())


def test_a_gradient_that_is_not_finite_does_not_leave(bundle: Path) -> None:
    session, inputs = Session(bundle), batch()
    inputs["bob.y"][0] = np.nan
    with pytest.raises(Failure, match=r"'bob' is about to send to 'alice' on edge 'gradient\.a\.v'"):
        session.step(inputs)
    assert all(np.isfinite(value).all() for value in session.weights().values())


def test_what_is_unpacked_is_looked_at() -> None:
    """A peer's scale may be anything, where the network sees bytes."""
    with pytest.raises(Failure, match=r"'alice' refused what 'bob' sent: edge 'e' at step 3") as caught:
        finite.check_received("e", "bob", "alice", 3, np.array([1.0, np.inf, np.nan], np.float32))
    assert caught.value.exit_code == PEER and "2 of 3 numbers" in caught.value.message
    finite.check_received("e", "bob", "alice", 3, np.array([1.0], np.float32))


@pytest.mark.parametrize("rate", [np.inf, np.nan])
@pytest.mark.parametrize(
    "options",
    [
        {"steps": 1},
        {"steps": 1, "checkpoint_steps": 1},
        {"epochs": 1, "batch": 197, "validation": 0.0},
        {"epochs": 1, "batch": 158, "validation": 0.2},
    ],
)
def test_divergence_in_the_last_step_leaves_no_model(
    tmp_path: Path, rate: float, options: dict[str, Any]
) -> None:
    """Its loss was computed before its update, and no step comes after it that would tell."""
    bundle = handmade.write_bundle(tmp_path / "wild", rate=rate)
    with pytest.raises(Failure) as caught:
        train(bundle, handmade.tables(), tmp_path / "run", TrainOptions(**options))
    assert caught.value.code == "VFL0611" and "is not finite after step 1" in caught.value.message
    assert str(caught.value.help).endswith("; nothing was saved yet")
    assert not list((tmp_path / "run").rglob("*model.safetensors"))
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize("kind", ["weights", "slots"])
def test_nothing_of_a_broken_state_is_saved(
    tmp_path: Path, bundle: Path, kind: str, monkeypatch: Any
) -> None:
    """Slots count, too: the next update would bring them into the weights."""
    original = TrainingLoop.save

    def broken(self: TrainingLoop) -> Any:
        engine = self.session.engines["alice"]
        state = {"weights": engine.weights(), "slots": engine.slots()}
        if self.progress.epoch == 2:
            next(iter(state[kind].values()))[...] = np.inf
            engine.load(state["weights"], state["slots"])
        return original(self)

    monkeypatch.setattr(TrainingLoop, "save", broken)
    with pytest.raises(Failure, match="'alice' is not finite after step"):
        train(bundle, handmade.tables(), tmp_path / "run", TrainOptions(epochs=3))
    monkeypatch.undo()
    for file in (tmp_path / "run").rglob("*.safetensors"):
        tensors, _ = read_tensors(file)
        assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    train(None, handmade.tables(), tmp_path / "run", TrainOptions(epochs=3, resume=True))
