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

from vflc.diagnostics import Source
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
            Source("rows.vfl", granted(text)), precision="float64", unsplit=unsplit, backends=backends
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
