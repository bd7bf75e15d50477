"""Training that touches only the rows a batch reads is training of the whole table, to rounding."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from granting import granted
from rows.dense import Dense, cosine, gradient, steps, warmup
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")

ROWS, WIDTH = 5, 2
SPEC = """
party a {{ key k
  feature i: int -> index({rows}) }}
party b {{ key k
  label y: int }}
e = embed(a.i, dim = {width}, init = uniform, scale = 0.5)
fuse at b {{ logit = sum(e) }}
predict y = sigmoid(logit)
objective bce(logit, b.y)
train {{ optimizer {optimizer}
  batch 4 }}
"""
ADAM = {"beta1": 0.875, "beta2": 1 - 2**-10, "eps": 2**-20}
RISING = "warmup(lr = 0.0625, steps = 9, then = cosine(lr = 0.0625, steps = 30))"
STAGES = "step(lr = 0.0625, every = 7, factor = 0.75)"
RATES = {RISING: warmup(0.0625, 9, cosine(0.0625, 30)), STAGES: steps(0.0625, 7, 0.75)}
EXACT: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.875}),
    ("sgd", {"momentum": 0.875, "nesterov": True}),
    ("adagrad", {"initial": 0.25, "eps": 2**-20}),
    ("rmsprop", {"rho": 0.875, "eps": 2**-20}),
    ("rmsprop", {"rho": 0.875, "momentum": 0.5, "eps": 2**-20}),
    ("rmsprop", {"rho": 0.875, "momentum": 0.5, "centered": True, "eps": 2**-20}),
    ("ftrl", {"l1": 2**-6, "l2": 2**-6, "initial": 1.0}),
    ("ftrl", {"lr_power": -0.375, "initial": 0.25}),
]
CLOSE: list[tuple[str, dict[str, Any]]] = [
    ("adam", ADAM),
    ("adam", {**ADAM, "eps": 2**-8}),
    ("adamw", {**ADAM, "weight_decay": 2**-5}),
]


def touches(random: np.random.Generator) -> list[tuple[list[int], int]]:
    """Batches of ids, and for how many steps each comes again: the rows of the others grow old meanwhile."""
    return [
        (random.integers(0, ROWS, random.integers(1, 4)).tolist(), int(random.integers(1, 13)))
        for _ in range(random.integers(4, 8))
    ]


def written(options: dict[str, Any], rate: str) -> str:
    """The options as a spec has them."""
    words = {name: str(v).lower() if isinstance(v, bool) else v for name, v in options.items()}
    return ", ".join([f"lr = {rate}", *(f"{name} = {value}" for name, value in words.items())])


def bundle(folder: Path, name: str, options: dict[str, Any], rate: str, unsplit: bool) -> Path:
    text = SPEC.format(rows=ROWS, width=WIDTH, optimizer=f"{name}({written(options, rate)})")
    backends = ("onnx",) if unsplit else ("onnx", "keras")
    made = compile_source(
        SourceText("rows.vfl", granted(text)), precision="float64", unsplit=unsplit, backends=backends
    )
    path = folder / ("unsplit" if unsplit else "split")
    made.write(path)
    return path


def labels(ids: list[int], step: int) -> np.ndarray[Any, Any]:
    return np.array([float((row + step) % 3 == 0) for row in ids])


def compare(
    ways: list[tuple[Path, str]],
    dense: Dense,
    drawn: list[tuple[list[int], int]],
    exact: bool,
    looks: bool = True,
) -> None:
    """Trains every way and the dense table on the same batches; all tables are equal after every step.

    Where nobody `looks` at them in between, after the last one.
    """
    sessions = [Session(path, engine, programs=("train",)) for path, engine in ways]
    told = f"{drawn} from {dense.table.tolist()}"
    for session in sessions:
        for engine in session.engines.values():
            engine.load({name: dense.table if name == "e.i" else w for name, w in engine.weights().items()})
    moved = 1e-3
    batches = [ids for ids, times in drawn for _ in range(times)]
    for number, ids in enumerate(batches, 1):
        y = labels(ids, dense.done)
        inputs = {"a.i": np.array(ids, np.int32), "b.y": y[:, None]}
        logits = dense.table[ids].sum(axis=1)
        before = dense.table
        dense.step(ids, gradient(dense.table, ids, y))
        moved += np.abs(dense.table - before).max()
        for session in sessions:
            limit = 1e-9 if exact else 1e-6 * moved
            read = session.step(inputs).predictions["y"][:, 0]
            np.testing.assert_allclose(read, 1 / (1 + np.exp(-logits)), rtol=0, atol=limit, err_msg=told)
            if looks or number == len(batches):
                np.testing.assert_allclose(
                    session.weights()["e.i"], dense.table, rtol=0, atol=limit, err_msg=told
                )


@pytest.mark.parametrize(("name", "options"), EXACT + CLOSE, ids=lambda v: v if isinstance(v, str) else "")
def test_rows_follow_keras(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    rate = STAGES if name == "ftrl" else RISING  # FTRL takes no rate of 0
    ways = [(bundle(tmp_path, name, options, rate, unsplit), "onnx") for unsplit in (False, True)]
    ways.append((ways[0][0], "keras"))
    random = np.random.default_rng()
    start = random.uniform(-0.5, 0.5, (ROWS, WIDTH))
    compare(ways, Dense(start, name, options, RATES[rate]), touches(random), (name, options) in EXACT)


@pytest.mark.parametrize(("name", "options"), [EXACT[1], EXACT[7], CLOSE[0]])
def test_lazy_rows_are_left_alone(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    """Keras again, with what its step did to rows that were not read undone, in weights and slots."""
    rate = STAGES
    path = bundle(tmp_path, name, {**options, "lazy": True}, rate, False)
    random = np.random.default_rng()
    dense = Dense(random.uniform(-0.5, 0.5, (ROWS, WIDTH)), name, options, RATES[rate], lazy=True)
    compare([(path, "onnx"), (path, "keras")], dense, touches(random), True)


def test_ids_that_come_back(tmp_path: Path) -> None:
    """Row 0, twenty times row 1, row 0 again, by Adam with its defaults: where dense Adam has row 0 then."""
    rate, ways = "0.001", []
    for unsplit in (False, True):
        where = bundle(tmp_path, "adam", {}, rate, unsplit)
        ways += [(where, "onnx")] if unsplit else [(where, "onnx"), (where, "keras")]
    sessions = [Session(path, engine, programs=("train",)) for path, engine in ways]
    weight, m, v = np.zeros((2, WIDTH)), np.zeros((2, WIDTH)), np.zeros((2, WIDTH))
    for session in sessions:
        for engine in session.engines.values():
            zero = {n: np.zeros_like(w) for n, w in engine.weights().items()}
            engine.load(zero)
    for step, row in enumerate([0, *[1] * 20, 0], 1):
        slope = np.zeros((2, WIDTH))
        slope[row] = 1 / (1 + np.exp(-weight[row].sum())) - 1
        inputs = {"a.i": np.array([row], np.int32), "b.y": np.ones((1, 1))}
        for session in sessions:
            read = session.step(inputs).predictions["y"].item()
            assert abs(read - 1 / (1 + np.exp(-weight[row].sum()))) < 1e-8
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        weight = weight - 0.001 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step) * m / (np.sqrt(v) + 1e-7)
        for session in sessions:
            np.testing.assert_allclose(session.weights()["e.i"][:2], weight, rtol=0, atol=1e-8)
