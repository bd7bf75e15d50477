"""Batches with more ids than a table has rows update all rows; others between them let rows catch up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from granting import granted
from vflc_runtime.engines import onnx_rows
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party a { key k
  feature i: int -> index(30)
  feature j: int -> index(20) }
party b { key k
  label y: int }
e = embed([a.i, a.j], dim = 3)
fuse at b { logit = dense(flatten(e), 1) }
predict y = sigmoid(logit)
objective bce(logit, b.y)
train { optimizer OPTIMIZER batch 2 }
"""
ROWS = (2, 70, 70, 3, 3, 90, 1, 49, 50, 2)
"""Of batches: from 50 on, of two ids a row, all 50 rows are updated."""
Batch = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module", params=["adam(lr = 0.05)", "adamw(lr = 0.05, weight_decay = 0.1)"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "bundle"
    text = granted(SPEC.replace("OPTIMIZER", request.param))
    compile_source(SourceText("whole.vfl", text), precision="float64").write(folder)
    return folder


def batches() -> list[Batch]:
    rng = np.random.default_rng(0)
    return [
        {
            "a.i": rng.integers(0, 25, rows).astype(np.int32),
            "a.j": rng.integers(0, 20, rows).astype(np.int32),
            "b.y": rng.integers(0, 2, (rows, 1)).astype(np.float64),
        }
        for rows in ROWS
    ]


def trained(bundle: Path, threads: int = 1) -> Session:
    session = Session(bundle, threads=threads, programs=("train",))
    for batch in batches():
        session.step(batch)
    return session


def test_rows_are_as_if_each_had_caught_up(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    original = onnx_rows.RowsUpdater.apply

    def apply(self: Any, values: Any, step: int, batch: int) -> None:
        if self._reads is None and self._batch != batch:
            made.append(step)
        original(self, values, step, batch)

    monkeypatch.setattr(onnx_rows.RowsUpdater, "apply", apply)
    found = trained(bundle).weights()
    assert made == [index for index, rows in enumerate(ROWS, 1) if rows >= 50]
    monkeypatch.setattr(onnx_rows, "MANY_IDS", 1000)
    for name, weight in trained(bundle).weights().items():
        np.testing.assert_allclose(found[name], weight, rtol=1e-9, atol=1e-12)
    assert len(made) == 4


def test_bits_depend_neither_on_threads_nor_on_interruptions(bundle: Path) -> None:
    due = trained(bundle).weights()
    for name, weight in trained(bundle, threads=2).weights().items():
        assert weight.tobytes() == due[name].tobytes(), name
    session = Session(bundle, programs=("train", "evaluate"))
    for number, batch in enumerate(batches(), 1):
        session.step(batch)
        if number not in (2, 4):  # after a batch that updates all rows, and after one that does not
            continue
        session.evaluate(batch)
        later = Session(bundle, programs=("train", "evaluate"))
        for place, engine in session.engines.items():
            slots = {name: slot.copy() for name, slot in engine.slots().items()}
            weights = {
                name: weight.copy() for name, weight in {**engine.weights(), **engine.stored()}.items()
            }
            later.engines[place].load(weights, slots, number)
        later.steps, session = number, later
    for name, weight in session.weights().items():
        assert weight.tobytes() == due[name].tobytes(), name
