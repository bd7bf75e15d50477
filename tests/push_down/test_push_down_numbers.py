"""A model that was pushed down computes and learns what is written, under the names that are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiler.random_specs import batch
from push_down.one_table import compiled, one_table
from vflc_runtime.run.session import Session

from vflc.emit.bundle import Bundle

ROWS, STEPS = 7, 3
MODELS = {
    "a layer over all fields": "logit = dense(mlp(flatten(embed(FEATURES, dim = 3)), [2]), 1)",
    "a product with a weight": "logit = sum(matmul(flatten(embed(FEATURES, dim = 3)), weight(18, 2)))",
    "a weighted sum": "logit = sum(flatten(embed(FEATURES, dim = 3)) * weight(18))",
    "sums, squares and means": """
        e = embed(FEATURES, dim = 3)
        logit = mean(e) + sum(square(sum(e, axis = field))) - 0.5 * sum(mean(square(e), axis = field))
    """,
    "the largest": "logit = dense(max(tanh(embed(FEATURES, dim = 3)), axis = field), 1)",
    "a part of the fields": """
        e = embed(FEATURES, dim = 4)
        logit = dense(flatten(slice(e, field, 1, 5)), 1) + sum(slice(e, field, 0, 2)) - sum(e) / 3
    """,
    "penalties on a kernel that lies in slices": """
        h = dense(flatten(embed(FEATURES, dim = 3)), 2, activation = relu)
        logit = dense(h, 1)
        objective l2(0.1, h.weights) + l1(0.01, h.weights)
    """,
    "a norm over all parties": "logit = dense(mlp(layer_norm(flatten(embed(FEATURES, dim = 16))), [2]), 1)",
    "shares of all parties": """
        x = flatten(embed(FEATURES, dim = 16))
        logit = sum(softmax(x) * x) + sum(log_softmax(tanh(x)) * weight(96)) + dense(x, 1)
    """,
    "a gate over all fields": """
        e = embed(FEATURES, dim = 16)
        logit = sum(softmax(dense(e, 1), axis = field) * e)
    """,
    "a kernel that two layers share": """
        w = weight(18, 2)
        x = flatten(embed(FEATURES, dim = 3))
        logit = sum(matmul(x, w)) + sum(matmul(relu(x), w))
    """,
}


def trained(
    text: str, folder: Path, data: list[dict[str, Any]], **options: Any
) -> tuple[Session, list[float]]:
    return run(compiled(text, precision="float64", **options), folder, data)


def run(bundle: Bundle, folder: Path, data: list[dict[str, Any]]) -> tuple[Session, list[float]]:
    bundle.write(folder)
    session = Session(folder, seed=3, threads=1, programs=("train",))
    return session, [session.step(rows).loss for rows in data]


SGD = "sgd(lr = 0.1)"
RULES = ("adam(lr = 0.05)", f"{SGD}  clip_norm 0.01", f"{SGD}  clip_value 0.01")
RULED = (
    "a layer over all fields", "the largest", "penalties on a kernel that lies in slices",
    "a norm over all parties", "a kernel that two layers share",
)  # fmt: skip
"""Models that every rule trains: what a rule can get wrong are slices, what is added up of several, and
what is whole."""


@pytest.mark.parametrize(
    ("name", "optimizer"), [*((name, SGD) for name in MODELS), *((n, rule) for n in RULED for rule in RULES)]
)
def test_it_trains_as_the_unsplit_model(name: str, optimizer: str, tmp_path: Path) -> None:
    batch_size = "batch 4096"  # of which bytes count, where messages do in small ones
    text = one_table(MODELS[name], train=f"optimizer {optimizer}  {batch_size}")
    whole, split = (compiled(text, precision="float64", unsplit=unsplit) for unsplit in (True, False))
    encoders = json.loads(whole.files["unsplit/encoders.json"])
    data = [batch(encoders, ROWS, seed) for seed in range(STEPS)]
    assert split.model.pushed or "clip_norm" in optimizer
    pushed, losses = run(split, tmp_path / "pushed", data)
    unsplit, expected = run(whole, tmp_path / "unsplit", data)
    written, same = trained(text, tmp_path / "written", data, push_down=False)
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(losses, same, rtol=0, atol=1e-9)
    ours, theirs = pushed.weights(), unsplit.weights()
    assert ours.keys() == theirs.keys() == written.weights().keys()
    for weight in ours:
        np.testing.assert_allclose(ours[weight], theirs[weight], rtol=0, atol=1e-9, err_msg=weight)


def test_split_and_unsplit_start_equal_to_the_bit(tmp_path: Path) -> None:
    text = one_table(MODELS["a layer over all fields"])
    ours, _ = trained(text, tmp_path / "pushed", [])
    theirs, _ = trained(text, tmp_path / "unsplit", [], unsplit=True)
    for name, value in theirs.weights().items():
        np.testing.assert_array_equal(ours.weights()[name], value)
    slices = [name for engine in ours.engines.values() for name in engine.weights() if "kernel." in name]
    assert slices == ["logit.mlp.0.kernel.alice", "logit.mlp.0.kernel.bob"]


def test_an_optimizer_finds_slices_by_the_name_of_the_whole(tmp_path: Path) -> None:
    text = one_table(
        "h = dense(flatten(embed(FEATURES, dim = 3)), 2)\nlogit = dense(h, 1)",
        train="optimizer sgd(lr = 0.1)  optimizer adagrad(lr = 0.5) for *.kernel",
    )
    bundle = compiled(text)
    rules = {tuple(update.arrays): update.optimizer for update in bundle.model.updates}
    assert {rule for arrays, rule in rules.items() if any("kernel" in name for name in arrays)} == {"adagrad"}


ONCE = {
    "a penalty on tables of several parties": (
        "e = embed(bob.features + alice.features, dim = 3)\nlogit = dense(flatten(e), 1)\n"
        "objective l1(0.01, e.weights)",
        0,
    ),
    "a product of two parties' means": (
        "a = dense(alice.x0, 2)\nb = dense(bob.x0, 2)\nlogit = sum(a + b)\nobjective mse(a, 0) * mse(b, 0)",
        2,
    ),
}
"""And how many numbers without axes cross for it once a step: forward, and back."""


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("push_down", [True, False])
def test_what_is_one_number_a_step_stays_one(name: str, push_down: bool, tmp_path: Path) -> None:
    """It has no axes, and gets none on its way. A penalty is a term where its weights are."""
    model, crossing = ONCE[name]
    text = one_table(model, ids=1)
    edges = compiled(text, push_down=push_down).manifest["edges"]
    assert len([edge for edge in edges if edge["shape"] == []]) == crossing
    encoders = json.loads(compiled(text, unsplit=True).files["unsplit/encoders.json"])
    data = [batch(encoders, ROWS, seed) for seed in range(STEPS)]
    split, losses = trained(text, tmp_path / "split", data, push_down=push_down)
    split.engines["bob"].put("number", np.array(2.0))
    assert split.engines["bob"].get("number").shape == ()
    _, expected = trained(text, tmp_path / "unsplit", data, unsplit=True)
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-9)


def test_weights_of_what_is_cut_off_are_not_lost(tmp_path: Path) -> None:
    """Alice's fields are read, though nothing depends on them: `adamw` decays their weights."""
    model = "logit = sum(tanh(slice(embed(FEATURES, dim = 3), field, 3, 5)))"
    text = one_table(model, train="optimizer adamw(lr = 0.1, weight_decay = 0.1)")
    encoders = json.loads(compiled(text, unsplit=True).files["unsplit/encoders.json"])
    data = [batch(encoders, ROWS, seed) for seed in range(STEPS)]
    ours, theirs = (
        trained(text, tmp_path / str(unsplit), data, unsplit=unsplit)[0].weights()
        for unsplit in (False, True)
    )
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=0, atol=1e-9, err_msg=name)
