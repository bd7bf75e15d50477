"""With penalties on all rows, training that touches only those a batch reads is that of the whole table."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from granting import granted
from rows.dense import Dense
from rows.test_rows_dense import ADAM, RATES, RISING, ROWS, SPEC, STAGES, WIDTH, compare, touches, written
from vflc_runtime.engines import onnx_replay
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")

L1, L2 = 2**-6, 2**-4
RULES: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.875}),
    ("sgd", {"momentum": 0.875, "nesterov": True}),
    ("adagrad", {"initial": 0.25, "eps": 2**-20}),
    ("rmsprop", {"rho": 0.875, "momentum": 0.5, "centered": True, "eps": 2**-10}),
    ("ftrl", {"l1": 2**-6, "l2": 2**-6, "initial": 1.0}),
    ("adam", ADAM),
    ("adamw", {**ADAM, "weight_decay": 2**-5}),
]


def penalised(folder: Path, optimizer: str, penalties: str, settings: str = "") -> list[tuple[Path, str]]:
    """Ways to train the spec of the rows: split and unsplit by ONNX, and split by Keras."""
    text = SPEC.format(rows=ROWS, width=WIDTH, optimizer=optimizer)
    text = text.replace("objective bce(logit, b.y)", f"objective bce(logit, b.y) + {penalties}")
    text = text.replace("batch 4", f"batch 4\n{settings}")
    for unsplit in (False, True):
        backends = ("onnx",) if unsplit else ("onnx", "keras")
        made = compile_source(
            SourceText("rows.vfl", granted(text)), precision="float64", unsplit=unsplit, backends=backends
        )
        made.write(folder / str(unsplit))
    return [(folder / "False", "onnx"), (folder / "True", "onnx"), (folder / "False", "keras")]


@pytest.mark.parametrize(("name", "options"), RULES, ids=lambda v: v if isinstance(v, str) else "")
def test_rows_follow_keras_with_penalties_on_all(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    rate = STAGES if name == "ftrl" else RISING
    ways = penalised(tmp_path, f"{name}({written(options, rate)})", f"2 * l2({L2 / 2}, e.tables, rows = all)")
    random = np.random.default_rng()
    start = random.uniform(-0.5, 0.5, (ROWS, WIDTH))
    compare(ways, Dense(start, name, options, RATES[rate], l2=L2), touches(random), True, looks=False)


def test_both_penalties_and_cut_gradients(tmp_path: Path) -> None:
    """l1 turns on signs and `clip_value` on sizes: then SGD goes through its steps one by one, too."""
    terms = f"l1({L1}, e.tables, rows = all) + l2({L2}, e.tables, rows = all)"
    ways = penalised(tmp_path, f"sgd({written({'momentum': 0.875}, RISING)})", terms, f"clip_value {2**-6}")
    random = np.random.default_rng()
    start = random.uniform(-0.5, 0.5, (ROWS, WIDTH))
    dense = Dense(start, "sgd", {"momentum": 0.875, "clipvalue": 2**-6}, RATES[RISING], l1=L1, l2=L2)
    compare(ways, dense, touches(random), True, looks=False)


@pytest.mark.parametrize("optimizer", ["adam(lr = 0.05)", "ftrl(lr = 0.05, initial = 1.0)"])
def test_when_rows_catch_up_changes_no_bit(
    tmp_path: Path, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few rows at a time or all at once, looked at after every step or never."""
    (where, _), *_ = penalised(tmp_path, optimizer, f"l2({L2}, e.tables, rows = all)")
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
    never = whole.weights()["e.i"][ROWS - 1]
    assert np.abs(never).max() < np.abs(Session(where).weights()["e.i"][ROWS - 1]).max()
