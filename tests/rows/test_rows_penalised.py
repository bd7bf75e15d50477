"""With penalties on all rows, training that touches only those a batch reads is that of the whole table."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from rows.dense import Dense
from rows.test_rows_dense import (
    ADAM,
    RATES,
    RISING,
    ROWS,
    WIDTH,
    Rule,
    Way,
    compare,
    names,
    optimized,
    rate_of,
    starts,
    touches,
    ways,
)
from vflc_runtime.engines import onnx_replay
from vflc_runtime.run.session import Session

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")

L1, L2 = 2**-6, 2**-4
RULES: list[Rule] = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.875}),
    ("sgd", {"momentum": 0.875, "nesterov": True}),
    ("adagrad", {"initial": 0.25, "eps": 2**-20}),
    ("rmsprop", {"rho": 0.875, "momentum": 0.5, "centered": True, "eps": 2**-10}),
    ("ftrl", {"l1": 2**-6, "l2": 2**-6, "initial": 1.0}),
    ("adam", ADAM),
    ("adamw", {**ADAM, "weight_decay": 2**-5}),
]


def penalised(folder: Path, optimizers: Sequence[str], penalty: str, settings: str = "") -> list[Way]:
    """Ways to train a model of tables with penalties, in which `TABLES` stands for all of them."""
    tables = ", ".join(f"{name}.tables" for name in names(optimizers))
    return ways(folder, optimizers, f" + {penalty.replace('TABLES', tables)}", settings)


def test_rows_follow_keras_with_penalties_on_all(tmp_path: Path) -> None:
    every = penalised(tmp_path, optimized(RULES), f"2 * l2({L2 / 2}, TABLES, rows = all)")
    random = np.random.default_rng()
    dense = [
        Dense(start, name, options, RATES[rate_of(name)], l2=L2)
        for start, (name, options) in zip(starts(random, RULES), RULES, strict=True)
    ]
    compare(every, dense, touches(random), True, looks=False)


def test_both_penalties_and_cut_gradients(tmp_path: Path) -> None:
    """l1 turns on signs and `clip_value` on sizes: then SGD goes through its steps one by one, too."""
    terms = f"l1({L1}, TABLES, rows = all) + l2({L2}, TABLES, rows = all)"
    every = penalised(tmp_path, optimized([("sgd", {"momentum": 0.875})]), terms, f"clip_value {2**-6}")
    random = np.random.default_rng()
    (start,) = starts(random, every[:1])
    dense = Dense(start, "sgd", {"momentum": 0.875, "clipvalue": 2**-6}, RATES[RISING], l1=L1, l2=L2)
    compare(every, [dense], touches(random), True, looks=False)


@pytest.mark.parametrize("optimizer", ["adam(lr = 0.05)", "ftrl(lr = 0.05, initial = 1.0)"])
def test_when_rows_catch_up_changes_no_bit(
    tmp_path: Path, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few rows at a time or all at once, looked at after every step or never."""
    (where, _), *_ = penalised(tmp_path, [optimizer], f"l2({L2}, TABLES, rows = all)")
    whole = Session(where)
    monkeypatch.setattr(onnx_replay, "BLOCK_NUMBERS", 3 * WIDTH)
    small, looked_at = Session(where), Session(where)
    rng = np.random.default_rng()
    for _ in range(40):
        ids = rng.integers(0, ROWS - 1, 2).astype(np.int32)
        for session in (whole, small, looked_at):
            session.step({"a.i": ids, "b.y": np.ones((2, 1))})
        looked_at.weights()
    for session in (small, looked_at):
        for name, weight in session.weights().items():
            assert weight.tobytes() == whole.weights()[name].tobytes(), name
    never = whole.weights()["e0.i"][ROWS - 1]
    assert np.abs(never).max() < np.abs(Session(where).weights()["e0.i"][ROWS - 1]).max()
