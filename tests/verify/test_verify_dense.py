"""The way whose weights Keras's own optimizers update: all rules that Keras has, and what it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from verify.verifying import ALONE, KERAS, LEAST, verify, worst

from vflc import driver
from vflc.cli.verify_parties import DENSE
from vflc.cli.verify_rules import unlike_keras
from vflc.emit.onnx.update import rates
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.optimizers import adam as optimizers

needs_keras = pytest.mark.skipif(not KERAS, reason="tensorflow is not installed")
FEW = ("--engines", "keras", "--steps", "12", "--rows", "60", "--batch", "4")
ADAM = "optimizer adam(lr = 0.01)"
EXACT = """\
optimizer ftrl(lr = 0.05, l1 = 0.001, l2 = 0.01, initial = 0.3) for b.item
 optimizer sgd(lr = warmup(0.05, 4, then = cosine(0.05, 20)), momentum = 0.9, nesterov = true) for *.user
 optimizer adagrad(lr = step(0.1, every = 5, factor = 0.5)) for *.kernel
 optimizer rmsprop(lr = 0.01, momentum = 0.3, centered = true)
 clip_norm 0.05"""
CLOSE = """\
optimizer rmsprop(lr = 0.01, momentum = 0.3) for b.item
 optimizer adamw(lr = 0.01, weight_decay = 0.1) for *.kernel
 optimizer adam(lr = cosine(0.01, 20), eps = 0.0001)
 clip_value 0.01"""
PENALISED = """\
optimizer sgd(lr = cosine(0.05, 20), momentum = 0.9) for b.item
 optimizer adam(lr = 0.01, eps = 0.001)
 clip_value 0.05"""
PENALTIES = " + 0.5 * l2(0.1, a.weights, rows = all) + l1(0.01, a.tables, b.tables, rows = all)"
LAZY = "optimizer sgd(lr = 0.1, momentum = 0.9, lazy = true)"
BOTH = "optimizer sgd(lr = 0.1)\n clip_norm 1.0\n clip_value 0.5"
FORGETFUL = "optimizer adam(lr = 0.01, beta2 = 0.99)"


def spec(folder: Path, training: str, penalties: str = "", text: str = ALONE) -> Path:
    path = folder / "small.vfl"
    loss = "objective bce(logit, bob.liked)"
    assert loss in text and ADAM in text
    path.write_text(text.replace(ADAM, training).replace(loss, loss + penalties))
    return path


@needs_keras
@pytest.mark.parametrize(("training", "limit"), [(EXACT, 1e-9), (CLOSE, 1e-6)], ids=["exact", "close"])
def test_the_rules_are_those_of_keras(tmp_path: Path, training: str, limit: float) -> None:
    ended = verify(spec(tmp_path, training), "--json", "--precision", "float64", *FEW)
    assert ended.code == 0, ended.stderr or worst(ended.found)
    pairs = {tuple(p["ways"]): p for p in ended.found["precisions"]["float64"]["pairs"]}
    assert set(pairs) == {("unsplit keras", "split keras"), ("unsplit keras", DENSE)}
    assert pairs["unsplit keras", DENSE]["limit"] == limit
    assert pairs["unsplit keras", DENSE]["worst"]["weight"] is not None


@needs_keras
def test_penalties_on_all_rows_are_those_of_keras(tmp_path: Path) -> None:
    """To rounding for Adam, too: every step is gone through, and no constant is rounded to float32."""
    ended = verify(spec(tmp_path, PENALISED, PENALTIES), "--json", "--precision", "float64", *FEW)
    assert ended.code == 0, ended.stderr or worst(ended.found)
    pairs = {tuple(p["ways"]): p for p in ended.found["precisions"]["float64"]["pairs"]}
    assert pairs["unsplit keras", DENSE]["limit"] == 1e-9
    assert pairs["unsplit keras", DENSE]["worst"]["weight"]["absolute"] < 1e-14


def too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam moves weights by a thousandth of a percent too much."""
    right = optimizers.adam_size
    monkeypatch.setattr(
        optimizers, "adam_size", lambda b, step, o: b.op("mul", right(b, step, o), b.constant(1.00001))
    )


def not_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a row missed is forgotten."""
    forgotten: dict[str, Any] = {"make_missed": None, "make_catch_up": None}
    monkeypatch.setitem(OPTIMIZERS._found, "sgd", replace(OPTIMIZERS["sgd"], **forgotten))


@needs_keras
@pytest.mark.parametrize(
    ("training", "mistake"),
    [(ADAM, too_far), ("optimizer sgd(lr = 0.1, momentum = 0.9)", not_made_up_for)],
    ids=["too-far", "not-made-up-for"],
)
def test_a_mistake_that_all_our_ways_share_is_found(
    tmp_path: Path, training: str, mistake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    ended = verify(spec(tmp_path, training, text=LEAST), "--json", "--precision", "float64", *FEW)
    assert ended.code == 1
    beyond = worst(ended.found)["float64"]
    assert beyond and all(DENSE in ways for ways, _ in beyond)
    assert "weight" in {difference["kind"] for _, difference in beyond}


@needs_keras
def test_what_keras_cannot_do_is_said_and_left_out(tmp_path: Path) -> None:
    ended = verify(spec(tmp_path, LAZY, text=LEAST), "--precision", "float64", *FEW)
    assert ended.code == 0 and f"{DENSE}, by Keras's own optimizers, was left out" in ended.stdout
    assert "lazy = true" in ended.stdout and f"| {DENSE}" not in ended.stdout


@pytest.mark.parametrize(
    ("training", "why"),
    [(LAZY, "lazy = true"), (BOTH, "not by both"), (FORGETFUL, "beta2"), (EXACT, None), (CLOSE, None)],
)
def test_what_keras_cannot_do(tmp_path: Path, training: str, why: str | None) -> None:
    found = unlike_keras(driver.unsplit_model(spec(tmp_path, training)))
    assert (found is None) if why is None else (found is not None and why in found)


def test_schedules_as_numbers() -> None:
    options = {"lr": 0.5, "steps": 2, "then": {"schedule": "step", "options": {"lr": 0.5, "every": 2}}}
    assert rates(0.25, 3) == [0.25] * 3
    found = rates({"schedule": "warmup", "options": options}, 6)
    assert found == pytest.approx([0, 0.25, 0.5, 0.5, 0.05, 0.05], rel=1e-15)
