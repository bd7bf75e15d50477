"""`precision bfloat16`: what training rounds, what it does not, and what is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vflc_kernels
from vflc_runtime import events
from vflc_runtime.bundle.folder import opened
from vflc_runtime.data.batches import gather
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.engines import kernels
from vflc_runtime.run.session import Session
from vflc_runtime.run.train import TrainOptions, train
from vflc_runtime.verify.ways import VerifySettings, Way, verify

from vflc.diagnostics import SourceText
from vflc.driver import compile_source, examine

SPEC = """
party alice {{
  key ID
  feature Age:  float
  feature Size: float
}}
party bob {{
  key ID
  feature Wage:  float
  label   liked: bool
}}
h = mlp(concat(alice.Age, alice.Size), [24, 16])
fuse at bob {{
  logit = dense(mlp(concat(h, bob.Wage), [16]), 1)
}}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release alice {{ to bob: Age, Size }}
release bob {{ to alice: liked, Wage }}
train {{
  optimizer sgd(lr = 0.1)
  batch 100
  precision {precision}
}}
"""
ROWS = 300
needs = pytest.mark.skipif(vflc_kernels.products(True) is None, reason="nothing here multiplies bfloat16")


def source(precision: str) -> SourceText:
    return SourceText("model.vfl", SPEC.format(precision=precision))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for precision in ("float32", "bfloat16"):
        made[precision] = tmp_path_factory.mktemp(precision)
        compile_source(source(precision)).write(made[precision])
    return made


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3))
    rows = {
        "alice": ["ID,Age,Size", *(f"{i},{a:.6f},{b:.6f}" for i, (a, b, _) in enumerate(x))],
        "bob": ["ID,Wage,liked", *(f"{i},{c:.6f},{str(a + c > 0).lower()}" for i, (a, _, c) in enumerate(x))],
    }
    for party, lines in rows.items():
        (folder / f"{party}.csv").write_text("\n".join(lines))
    return {party: str(folder / f"{party}.csv") for party in rows}


def weights(bundle: Path, tables: dict[str, str], threads: int = 1) -> dict[str, Any]:
    session = Session(bundle, programs=("train", "predict"), threads=threads)
    data = Dataset.load(
        {"parties": {p: e for plan in session.bundle.plans.values() for p, e in plan.encoders.items()}},
        tables,
    )
    for start in range(0, ROWS, 100):
        session.step(gather(data.inputs, np.arange(start, start + 100)), 100)
    return session.weights()


@needs
def test_training_rounds_products(bundles: dict[str, Path], tables: dict[str, str]) -> None:
    plain, rounded = (weights(bundles[each], tables) for each in ("float32", "bfloat16"))
    off = {name: float(np.abs(plain[name] - rounded[name]).max()) for name in plain}
    assert max(off.values()) < 0.01
    assert max(off.values()) > 1e-5
    for threads in (2, 4):
        again = weights(bundles["bfloat16"], tables, threads)
        assert all(np.array_equal(again[name], rounded[name]) for name in rounded)


def test_without_kernels_it_is_float32(
    bundles: dict[str, Path], tables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFLC_KERNELS", "off")
    plain, same = (weights(bundles[each], tables) for each in ("float32", "bfloat16"))
    assert all(np.array_equal(plain[name], same[name]) for name in plain)


def test_what_is_said(
    bundles: dict[str, Path], tables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFLC_KERNELS", "avx2")
    heard: list[events.Event] = []
    done = train(bundles["bfloat16"], tables, tmp_path / "run", TrainOptions(), heard.append)
    told = [event for event in heard if isinstance(event, events.Warned) and event.code == "VFL0781"]
    assert len(told) == 1 and "no effect" in told[0].message
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["factors"] == "float32"
    assert done.metrics["factors"] == "float32"


@pytest.mark.parametrize(
    ("engine", "change", "why"),
    [
        ("keras", lambda patch: None, "the engine keras has no products in bfloat16"),
        ("onnx", lambda patch: patch.setenv("VFLC_KERNELS", "off"), "VFLC_KERNELS is off"),
        ("onnx", lambda patch: patch.setattr(vflc_kernels, "products", lambda bfloat16: None), "AVX512_BF16"),
    ],
)
def test_why_it_has_no_effect(
    bundles: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    change: Callable[[pytest.MonkeyPatch], None],
    why: str,
) -> None:
    if engine == "onnx" and why == "AVX512_BF16" and vflc_kernels.why_not():
        pytest.skip("the extension is not built")
    change(monkeypatch)
    plan = opened(bundles["bfloat16"], "onnx").plans["bob"]
    used, warned = kernels.factors(plan, engine)
    assert used == "float32" and warned is not None and why in warned.message
    assert kernels.factors(opened(bundles["float32"], "onnx").plans["bob"], engine) == ("float32", None)


def test_verify_multiplies_in_float32(
    bundles: dict[str, Path], tables: dict[str, str], tmp_path: Path
) -> None:
    compile_source(source("bfloat16"), unsplit=True).write(tmp_path)
    ways = [Way("unsplit", opened(tmp_path, "onnx")), Way("split", opened(bundles["bfloat16"], "onnx"))]
    encoders = {p: e for plan in ways[1].bundle.plans.values() for p, e in plan.encoders.items()}
    data = Dataset.load({"parties": encoders}, tables)
    found = verify(ways, data, VerifySettings(steps=3, batch=100, seed=0, threads=None))
    assert all(each.within for each in found.comparisons)


@pytest.mark.parametrize(
    ("value", "help"),
    [
        ("float16", "write precision bfloat16"),
        ("16", "write precision bfloat16"),
        ("float64", "--precision float64"),
    ],
)
def test_other_precisions_are_refused(value: str, help: str) -> None:
    found = examine(source(value)).diagnostics
    assert [each.code for each in found] == ["VFL0205"] and help in (found[0].help or "")
    assert found[0].span is not None and found[0].span.text == value
