"""Training that touches only the rows a batch reads is training of the whole table, to rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
Way = tuple[Path, str]
"""A bundle, and the engine that runs it."""
SPEC = """
party a {{ key k
  feature i: int -> index({rows}) }}
party b {{ key k
  label y: int }}
{tables}
fuse at b {{ logit = {logit} }}
predict y = sigmoid(logit)
objective bce(logit, b.y){penalties}
train {{ {optimizers}
  batch 4
  {settings} }}
"""
TABLE = "{table} = embed(a.i, dim = {width}, init = uniform, scale = 0.5)"
ADAM = {"beta1": 0.875, "beta2": 1 - 2**-10, "eps": 2**-20}
RISING = "warmup(lr = 0.0625, steps = 9, then = cosine(lr = 0.0625, steps = 30))"
STAGES = "step(lr = 0.0625, every = 7, factor = 0.75)"
RATES = {RISING: warmup(0.0625, 9, cosine(0.0625, 30)), STAGES: steps(0.0625, 7, 0.75)}
Rule = tuple[str, dict[str, Any]]
EXACT: list[Rule] = [
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
CLOSE: list[Rule] = [
    ("adam", ADAM),
    ("adam", {**ADAM, "eps": 2**-8}),
    ("adamw", {**ADAM, "weight_decay": 2**-5}),
]


def touches(random: np.random.Generator) -> list[tuple[list[int], int]]:
    """Batches of ids, and for how many steps each comes again: the rows of the others grow old meanwhile."""
    return [
        (random.integers(0, ROWS, random.integers(1, 4)).tolist(), int(random.integers(1, 7)))
        for _ in range(random.integers(4, 8))
    ]


def written(options: dict[str, Any], rate: str) -> str:
    """The options as a spec has them."""
    words = {name: str(v).lower() if isinstance(v, bool) else v for name, v in options.items()}
    return ", ".join([f"lr = {rate}", *(f"{name} = {value}" for name, value in words.items())])


def rate_of(name: str) -> str:
    """A rate for a rule; FTRL takes none of 0."""
    return STAGES if name == "ftrl" else RISING


def names(rules: Sequence[Any]) -> list[str]:
    """The tables, one for each rule."""
    return [f"e{number}" for number in range(len(rules))]


def optimized(rules: Sequence[Rule], rate: Callable[[str], str] = rate_of) -> list[str]:
    """The optimizers of a spec, each table's own."""
    return [f"{name}({written(options, rate(name))})" for name, options in rules]


def ways(folder: Path, optimizers: Sequence[str], penalties: str = "", settings: str = "") -> list[Way]:
    """The ways to train a model of one table for each optimizer: by ONNX split and unsplit, split by Keras.

    Its logit is the sum of what is read of all tables.
    """
    tables = names(optimizers)
    *others, last = [f"optimizer {o} for {t}.*" for t, o in zip(tables, optimizers, strict=True)]
    text = SPEC.format(
        rows=ROWS,
        tables="\n".join(TABLE.format(table=table, width=WIDTH) for table in tables),
        logit=" + ".join(f"sum({table})" for table in tables),
        optimizers="\n  ".join([*others, last.removesuffix(f" for {tables[-1]}.*")]),
        penalties=penalties,
        settings=settings,
    )
    for name, backends in (("split", ("onnx", "keras")), ("unsplit", ("onnx",))):
        made = compile_source(
            SourceText("rows.vfl", granted(text)),
            precision="float64",
            unsplit=name == "unsplit",
            backends=backends,
        )
        made.write(folder / name)
    return [(folder / "split", "onnx"), (folder / "unsplit", "onnx"), (folder / "split", "keras")]


def starts(random: np.random.Generator, rules: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    """Where the tables start."""
    return [random.uniform(-0.5, 0.5, (ROWS, WIDTH)) for _ in rules]


def labels(ids: list[int], step: int) -> np.ndarray[Any, Any]:
    return np.array([float((row + step) % 3 == 0) for row in ids])


def compare(
    ways: list[Way], tables: list[Dense], drawn: list[tuple[list[int], int]], exact: bool, looks: bool = True
) -> None:
    """Trains every way and the dense tables on the same batches; all tables are equal after every step.

    Where nobody `looks` at them in between, after the last one.
    """
    sessions = [Session(path, engine, programs=("train",)) for path, engine in ways]
    dense = {f"{name}.i": each for name, each in zip(names(tables), tables, strict=True)}
    told = f"{drawn} from {[each.table.tolist() for each in tables]}"
    for session in sessions:
        for engine in session.engines.values():
            engine.load({n: dense[n].table if n in dense else w for n, w in engine.weights().items()})
    moved = 1e-3
    batches = [ids for ids, times in drawn for _ in range(times)]
    for number, ids in enumerate(batches, 1):
        y = labels(ids, number - 1)
        inputs = {"a.i": np.array(ids, np.int32), "b.y": y[:, None]}
        logits = np.sum([each.table[ids].sum(axis=1) for each in tables], axis=0)
        before = [each.table for each in tables]
        for each in tables:
            each.step(ids, gradient(each.table, ids, logits, y))
        moved += max(np.abs(each.table - old).max() for each, old in zip(tables, before, strict=True))
        for session in sessions:
            limit = 1e-9 if exact else 1e-6 * moved
            read = session.step(inputs).predictions["y"][:, 0]
            np.testing.assert_allclose(read, 1 / (1 + np.exp(-logits)), rtol=0, atol=limit, err_msg=told)
            found = session.weights() if looks or number == len(batches) else {}
            for name in dense if found else ():
                of = f"{name} by {dense[name].name} {dense[name].options}: {told}"
                np.testing.assert_allclose(found[name], dense[name].table, rtol=0, atol=limit, err_msg=of)


@pytest.mark.parametrize("rules", [EXACT, *([each] for each in CLOSE)], ids=["exact", *"abc"])
def test_rows_follow_keras(tmp_path: Path, rules: list[Rule]) -> None:
    random = np.random.default_rng()
    dense = [
        Dense(start, name, options, RATES[rate_of(name)])
        for start, (name, options) in zip(starts(random, rules), rules, strict=True)
    ]
    compare(ways(tmp_path, optimized(rules)), dense, touches(random), rules is EXACT)


def test_lazy_rows_are_left_alone(tmp_path: Path) -> None:
    """Keras again, with what its step did to rows that were not read undone, in weights and slots."""
    rules, random = [EXACT[1], EXACT[7], CLOSE[0]], np.random.default_rng()
    dense = [
        Dense(start, name, options, RATES[STAGES], lazy=True)
        for start, (name, options) in zip(starts(random, rules), rules, strict=True)
    ]
    lazy = [(name, {**options, "lazy": True}) for name, options in rules]
    split, _, keras = ways(tmp_path, optimized(lazy, lambda name: STAGES))
    compare([split, keras], dense, touches(random), True)


def test_ids_that_come_back(tmp_path: Path) -> None:
    """Row 0, twenty times row 1, row 0 again, by Adam with its defaults: where dense Adam has row 0 then."""
    every = ways(tmp_path, ["adam(lr = 0.001)"])
    sessions = [Session(path, engine, programs=("train",)) for path, engine in every]
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
            np.testing.assert_allclose(session.weights()["e0.i"][:2], weight, rtol=0, atol=1e-8)
