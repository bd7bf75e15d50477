"""Split training equals unsplit training, on random specs."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiler.random_specs import batch, specs
from granting import granted
from hypothesis import HealthCheck, given, settings, target
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.emit.bundle import Bundle

STEPS, ROWS = 4, 7


@lru_cache(maxsize=2)
def compiled(text: str, unsplit: bool) -> Bundle:
    return compile_source(SourceText("random.vfl", text), precision="float64", unsplit=unsplit)


def trained(
    text: str, folder: Path, unsplit: bool, batches: list[dict[str, Any]]
) -> tuple[Session, list[float]]:
    """A session after some updates in float64, and the losses on the way."""
    compiled(text, unsplit).write(folder)
    session = Session(folder, seed=3, threads=1)
    return session, [session.step(inputs).loss for inputs in batches]


def encoders_of(text: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(compiled(text, True).files["unsplit/encoders.json"])
    return data


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=specs())
def test_split_equals_unsplit(text: str, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("split")
    encoders = encoders_of(text)
    batches = [batch(encoders, ROWS, seed) for seed in range(STEPS)]
    split, losses = trained(text, folder / "split", False, batches)
    whole, expected = trained(text, folder / "whole", True, batches)
    np.testing.assert_allclose(losses, expected, rtol=1e-9, atol=1e-9)
    ours, theirs = split.weights(), whole.weights()
    assert ours.keys() == theirs.keys()
    worst = max(float(np.abs(ours[name] - theirs[name]).max(initial=0)) for name in ours)
    target(worst)
    assert worst < 1e-9
    inputs = batch(encoders, ROWS, 99)
    np.testing.assert_allclose(split.predict(inputs)["y"], whole.predict(inputs)["y"], rtol=0, atol=1e-9)


HEAD = """
party alice {
  key ID
  feature c: int -> index(9)
  feature x: float
}
party bob {
  key ID
  feature c: int -> index(9)
  feature many: string -> split(" ") -> hash(9)
  label y = target > 0
  column target: float
}
party hub {}
"""
SHAPES = {
    "a table and a kernel shared by two parties": """
        t = table(9, 3)
        w = weight(3)
        a = dense(lookup(t, alice.c) * w, 2)
        b = dense(lookup(t, bob.c) * w, 2)
        fuse at bob { logit = dense(a * b, 1) }
        predict y = sigmoid(logit)
        objective bce(logit, bob.y) + l1(0.1, w)
    """,
    "a table read as a whole and by rows": """
        t = table(9, 3)
        a = dense(lookup(t, alice.c), 2) + dense(sum(square(t), axis = row), 2)
        fuse at bob { logit = dense(a, 1) }
        predict y = sigmoid(logit)
        objective bce(logit, bob.y)
    """,
    "the prediction away from its label": """
        a = dense(alice.x, 3, activation = tanh)
        b = embed(bob.features, 3)
        fuse at alice { logit = dense(a + sum(b, axis = field), 1) }
        predict y = sigmoid(logit) at alice
        objective bce(logit, bob.y)
    """,
    "there and back again": """
        a = dense(alice.x, 3, activation = tanh)
        b = embed(bob.c, 3)
        fuse at hub { h = dense(a * b, 4, activation = relu) }
        fuse at alice { g = dense(concat(h, a), 3, activation = tanh) }
        fuse at hub { k = dense(concat(g, h), 2) }
        fuse at bob { logit = dense(k, 1) + sum(b) }
        predict y = sigmoid(logit)
        objective 0.5 * bce(logit, bob.y) + 2 * mse(sum(k), bob.y)
    """,
    "one value read at three places": """
        a = dense(alice.x, 3, activation = tanh)
        fuse at hub { h = dense(a, 2) }
        fuse at bob { logit = dense(a, 1) + dense(h, 1) + dense(embed(bob.many, 2), 1) }
        s = dense(a, 2)
        predict y = sigmoid(logit)
        predict other = s
        objective bce(logit, bob.y) + 0.1 * mse(dense(h, 1), bob.y)
    """,
    "a loss at each of two parties": """
        party carol {
          key ID
          feature z: float
          label v: float
        }
        a = dense(concat(alice.x, 2 * alice.x), 3)
        z = dense(carol.z, 3)
        fuse at hub { h = softplus(a + z) }
        fuse at bob { logit = dense(h, 1) }
        fuse at carol { value = dense(h, 1) }
        predict y = sigmoid(logit)
        predict v = value
        objective bce(logit, bob.y) + huber(value, carol.v)
    """,
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("optimizer", ["adam(lr = 0.05)", "sgd(lr = 0.1, momentum = 0.9)"])
def test_unusual_shapes_split_as_well(name: str, optimizer: str, tmp_path: Path) -> None:
    text = granted(f"{HEAD}{SHAPES[name]}\ntrain {{ optimizer {optimizer}  metrics auc }}\n")
    encoders = encoders_of(text)
    batches = [batch(encoders, ROWS, seed) for seed in range(2 * STEPS)]
    split, losses = trained(text, tmp_path / "split", False, batches)
    whole, expected = trained(text, tmp_path / "whole", True, batches)
    np.testing.assert_allclose(losses, expected, rtol=1e-9, atol=1e-9)
    ours, theirs = split.weights(), whole.weights()
    assert ours.keys() == theirs.keys()
    for weight in ours:
        np.testing.assert_allclose(ours[weight], theirs[weight], rtol=0, atol=1e-9, err_msg=weight)
    inputs = batch(encoders, ROWS, 99)
    here, there = split.evaluate(inputs), whole.evaluate(inputs)
    assert np.isclose(here.loss, there.loss, rtol=0, atol=1e-9)
    for prediction in there.predictions:
        np.testing.assert_allclose(
            here.predictions[prediction], there.predictions[prediction], rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("optimizer", ["sgd(lr = 0.1)", "adam(lr = 0.05)"])
@pytest.mark.parametrize("place", ["alice", "bob"])
def test_a_table_that_only_a_prediction_reads_lies_beside_one_that_is_trained(
    place: str, optimizer: str, tmp_path: Path
) -> None:
    """At bob, training measures the prediction, at alice it does not."""
    text = f"""{HEAD}
    c = dense(embed({place}.c, 2), 1)
    other = dense(embed({place}.c, 2), 1)
    a = dense(embed(alice.c, 3), 1)
    b = dense(embed(bob.c, 3), 1)
    fuse at bob {{ logit = a + b + c }}
    predict y = sigmoid(logit)
    predict untrained = other of y
    objective bce(logit, bob.y)
    train {{ optimizer {optimizer} }}
    """
    text = granted(text)
    batches = [batch(encoders_of(text), ROWS, seed) for seed in range(STEPS)]
    _, losses = trained(text, tmp_path / "split", False, batches)
    _, expected = trained(text, tmp_path / "whole", True, batches)
    np.testing.assert_allclose(losses, expected, rtol=1e-9, atol=1e-9)
