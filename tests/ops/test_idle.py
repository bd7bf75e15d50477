"""A row updated only when touched ends where the dense optimizer would have brought it."""

from __future__ import annotations

import numpy as np
import pytest
from op_testing import evaluate

from vflc.emit.update import LAST, build_updates, makes_up, slots_of, update_graph
from vflc.ir.model import OptimizerRule

STEPS, WIDTH = 60, 3
EXACT = [
    ("sgd", {"lr": 0.1, "momentum": 0.9}, 1e-12),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, 1e-12),
    ("rmsprop", {"lr": 0.01}, 1e-12),
    ("rmsprop", {"lr": 0.01, "momentum": 0.5, "centered": True}, 1e-12),
    ("ftrl", {"lr": 0.1, "l1": 0.01, "initial": 1.0}, 1e-12),
    ("adagrad", {"lr": 0.1}, 1e-12),
]
CLOSE = [
    ("adam", {"lr": 0.01, "eps": 1e-9}, 0.02),
    ("adamw", {"lr": 0.01, "weight_decay": 0.1, "eps": 1e-9}, 0.02),
]
"""The bias correction of the steps made up for is that of the step at hand: close, not equal."""


def run(rule: OptimizerRule, rows: bool, gradients: np.ndarray, first: int) -> list[np.ndarray]:
    """The weight after each step, from step `first` on; rows skip steps without a gradient."""
    update = build_updates(rule, None)[update_graph(rule, rows)]
    shape = (1, WIDTH) if rows and makes_up(rule) else (WIDTH,)
    state = {"weight": np.full(shape, 0.5)}
    state |= {name: np.full(shape, init) for name, init in slots_of(rule).items()}
    if rows and makes_up(rule):
        state[LAST] = np.full((1, 1), first - 1.0)
    seen = []
    for step, gradient in enumerate(gradients, start=first):
        if not rows or gradient.any():
            feeds = {**state, "gradient": gradient.reshape(shape), "step": np.asarray(float(step))}
            made = evaluate(
                update.graph, {k: v for k, v in feeds.items() if k in update.inputs}, update.outputs
            )
            state = {
                name.removeprefix("new."): value for name, value in zip(update.outputs, made, strict=True)
            }
        seen.append(state["weight"].reshape(-1))
    return seen


@pytest.mark.parametrize(("name", "options", "tolerance"), EXACT + CLOSE, ids=lambda v: str(v)[:24])
def test_touched_rows_follow_the_dense_optimizer(
    name: str, options: dict[str, float], tolerance: float
) -> None:
    rng = np.random.default_rng(4)
    gradients = rng.normal(size=(STEPS, WIDTH)) * (rng.random(STEPS) < 0.25)[:, None]
    gradients[[0, -1]] = rng.normal(size=(2, WIDTH))
    rule = OptimizerRule(name, name, options, (), None)
    lazy = run(rule, True, gradients, first=2000)
    dense = run(rule, False, gradients, first=2000)
    for step, gradient in enumerate(gradients):
        if gradient.any():
            moved = np.abs(dense[step] - 0.5).max()
            np.testing.assert_allclose(lazy[step], dense[step], rtol=0, atol=tolerance * max(moved, 1e-3))


def test_an_untouched_row_never_moves() -> None:
    rule = OptimizerRule("adam", "adam", {}, (), None)
    assert all((w == 0.5).all() for w in run(rule, True, np.zeros((5, WIDTH)), first=1))


def test_optimizers_that_idle_steps_do_not_change_have_one_graph() -> None:
    for name, options, several in [("sgd", {}, False), ("sgd", {"momentum": 0.5}, True), ("ftrl", {}, False)]:
        rule = OptimizerRule(name, name, options, (), None)
        assert len(build_updates(rule, None)) == 1 + several
