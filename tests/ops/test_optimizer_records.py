"""What optimizers say of themselves: options, what they keep and make up for, and penalties in steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from op_testing import build, evaluate, value

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source
from vflc.ir.model import OptimizerRule, Penalty
from vflc.ops.missed import Power
from vflc.ops.optimizer import RANGES, check_options, less_power, no_eps, times
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.penalised import in_one_go, makes_up, with_penalty
from vflc.ops.rates import rate
from vflc.ops.registry import OpError
from vflc.ops.schedules import SCHEDULES

SMALLEST = 2.0**-126


def test_what_is_close_and_what_is_exact() -> None:
    """Adam's parabola is close; the others make up for missed steps exactly, or have none."""
    assert {rule.name for rule in OPTIMIZERS if rule.close} == {"adam", "adamw"}
    assert {rule.name for rule in OPTIMIZERS if rule.under_l2} == {"sgd"}
    assert {rule.name for rule in OPTIMIZERS if rule.make_missed is None} == {"adagrad"}
    assert {rule.name for rule in OPTIMIZERS if rule.refuses is None} == {"sgd"}
    for rule in OPTIMIZERS:
        assert rule.parameters["lazy"] is False and set(rule.keras_options) <= set(rule.parameters)


@pytest.mark.parametrize(
    ("name", "options", "slots"),
    [
        ("sgd", {}, {}), ("sgd", {"momentum": 0.5}, {"momentum": 0}), ("adam", {}, {"m": 0, "v": 0}),
        ("adamw", {}, {"m": 0, "v": 0}), ("adagrad", {}, {"accumulator": 0.1}),
        ("adagrad", {"initial": 2}, {"accumulator": 2}), ("ftrl", {}, {"accumulator": 0.1, "linear": 0}),
        ("rmsprop", {}, {"velocity": 0}), ("rmsprop", {"momentum": 0.5}, {"velocity": 0, "momentum": 0}),
        ("rmsprop", {"centered": True}, {"velocity": 0, "average": 0}),
    ],
)  # fmt: skip
def test_what_is_kept_of_each_weight(name: str, options: dict[str, Any], slots: dict[str, float]) -> None:
    assert OPTIMIZERS[name].slots(options) == slots


@pytest.mark.parametrize(
    ("name", "options", "missed"),
    [
        ("sgd", {}, {}), ("sgd", {"momentum": 0.5}, {"slower": Power(0.5)}), ("adagrad", {}, {}),
        ("sgd", {"momentum": 0.5, "lazy": True}, {}), ("rmsprop", {}, {"kept": Power(0.9)}),
        ("rmsprop", {"momentum": 0.5}, {"kept": Power(0.9), "slower": Power(0.5)}),
        ("adam", {"beta1": 0}, {"m": Power(0), "v": Power(0.999)}),
    ],
)  # fmt: skip
def test_what_is_known_of_steps_missed(name: str, options: dict[str, Any], missed: dict[str, Any]) -> None:
    rule = OPTIMIZERS[name]
    assert rule.missed(options) == missed
    assert bool(rule.series(options)) == (rule.make_series is not None)


@pytest.mark.parametrize(
    ("name", "options", "takes"),
    [
        ("adam", {"lazy": 1}, "`true` or `false`"), ("sgd", {"nesterov": 0.0}, "`true` or `false`"),
        ("sgd", {"lr": True}, "a number"), ("rmsprop", {"momentum": False}, "a number"),
    ],
)  # fmt: skip
def test_truth_values_are_no_numbers(name: str, options: dict[str, Any], takes: str) -> None:
    with pytest.raises(OpError, match=f"{name}: `{next(iter(options))}` takes {takes}") as refused:
        OPTIMIZERS[name].check(options)
    assert refused.value.code == "VFL0203"
    OPTIMIZERS[name].check({"lazy": True})


@pytest.mark.parametrize(
    ("name", "low", "fits"),
    [
        ("adam", {"eps": 0.99 * SMALLEST}, {"eps": SMALLEST}),
        ("adamw", {"eps": 0.99 * SMALLEST}, {"eps": SMALLEST}),
        ("rmsprop", {"eps": 0.0}, {"eps": SMALLEST}),
        ("adagrad", {"eps": 0.0, "initial": 0.99 * SMALLEST}, {"eps": SMALLEST, "initial": 0.0}),
        ("adagrad", {"eps": 0.99 * SMALLEST, "initial": 0.0}, {"eps": 0.0, "initial": SMALLEST}),
        ("ftrl", {"initial": 0.99 * SMALLEST}, {"initial": SMALLEST}),
        ("ftrl", {"initial": 0.0, "l2": 0.99 * SMALLEST}, {"initial": 0.0, "l2": SMALLEST}),
        ("ftrl", {"lr": 0.0}, {"lr": 1e-9}),
        ("adamw", {"lr": 0.5, "weight_decay": 2.0}, {"lr": 0.5, "weight_decay": 1.99}),
    ],
)  # fmt: skip
def test_divisors_that_are_0_are_refused(name: str, low: dict[str, float], fits: dict[str, float]) -> None:
    OPTIMIZERS[name].check(fits)
    with pytest.raises(OpError, match=f"^{name}: ") as refused:
        OPTIMIZERS[name].check(low)
    assert refused.value.help and refused.value.code == "VFL0205"


def test_options_of_schedules_within_schedules_are_in_range() -> None:
    inner = {"schedule": "cosine", "options": {"lr": 0.1, "steps": 9, "alpha": 2}}
    outer = {"schedule": "warmup", "options": {"lr": 0.1, "steps": 5, "then": inner}}
    with pytest.raises(OpError, match="cosine: `alpha` is 2") as refused:
        OPTIMIZERS["sgd"].check({"lr": outer})
    assert refused.value.help == f"`alpha` is {RANGES['alpha'][1]}"
    check_options("x", {"unheard": -1})
    assert no_eps({"eps": 1e-7}) is None


def test_helpers_of_updates() -> None:
    b = build()
    x, step = value(b, "x", 2), value(b, "step")
    nodes = [times(b, 3.0, x).id, less_power(b, 0.5, step).id]
    three, rest = evaluate(b.graph, {"x": np.array([1.0, -2.0]), "step": np.asarray(3.0)}, nodes)
    assert three.tolist() == [3.0, -6.0] and rest == 1 - 0.5**3


def schedule(name: str, **options: Any) -> dict[str, Any]:
    return {"schedule": name, "options": options}


@pytest.mark.parametrize(
    ("value_", "rates"),
    [
        (0.25, [0.25] * 6),
        (schedule("constant", lr=0.25), [0.25] * 6),
        (schedule("step", lr=1.0, every=2, factor=0.5), [1, 1, 0.5, 0.5, 0.25, 0.25]),
        (schedule("step", lr=1.0, every=5), [1, 1, 1, 1, 1, 0.1]),
        (schedule("cosine", lr=2.0, steps=4), [2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5, 0, 0]),
        (schedule("cosine", lr=2.0, steps=2, alpha=0.5), [2, 1.5, 1, 1, 1, 1]),
        (schedule("warmup", lr=1.0, steps=4), [0, 0.25, 0.5, 0.75, 1, 1]),
        (schedule("warmup", lr=1.0, steps=2, then=0.5), [0, 0.5, 0.5, 0.5, 0.5, 0.5]),
        (
            schedule("warmup", lr=1.0, steps=2, then=schedule("step", lr=3.0, every=1, factor=2.0)),
            [0, 0.5, 3, 6, 12, 24],
        ),
    ],
)
def test_a_rate_of_every_step(value_: Any, rates: list[float]) -> None:
    b = build()
    step = value(b, "step", len(rates))
    node = rate(b, step, value_)
    (found,) = evaluate(b.graph, {"step": np.arange(1.0, len(rates) + 1)}, [node.id])
    np.testing.assert_allclose(np.broadcast_to(found, len(rates)), rates, atol=1e-15)


def test_options_of_schedules() -> None:
    assert {each.name: each.parameters for each in SCHEDULES} == {
        "constant": {"lr": None}, "cosine": {"lr": None, "steps": None, "alpha": 0.0},
        "step": {"lr": None, "every": None, "factor": 0.1},
        "warmup": {"lr": None, "steps": None, "then": "lr"},
    }  # fmt: skip


# --- penalties on all rows ---------------------------------------------------------------------------


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.25), (0.5, 0.25)])
def test_a_gradient_has_that_of_the_penalty(l1: float, l2: float) -> None:
    b = build()
    w, g = value(b, "w", 3), value(b, "g", 3)
    made = with_penalty(b, w, g, Penalty(l1=l1, l2=l2))
    assert (made is g) == (not l1 and not l2)
    feeds = {"w": np.array([2.0, 0.0, -4.0]), "g": np.array([1.0, 1.0, 1.0])}
    (found,) = evaluate(b.graph, feeds, [made.id])
    np.testing.assert_allclose(found, 1 + l2 * feeds["w"] + l1 * np.sign(feeds["w"]))


def test_what_goes_in_one_go() -> None:
    def rule(name: str, penalty: Penalty, **options: Any) -> OptimizerRule:
        return OptimizerRule(name, name, options, (), None, penalty)

    for name in OPTIMIZERS.ours:
        plain = rule(name, Penalty())
        assert in_one_go(plain, None) is in_one_go(plain, 1.0) is OPTIMIZERS[name]
        assert makes_up(plain) == (name not in ("sgd", "adagrad")) and makes_up(rule(name, Penalty(l2=0.1)))
        found = in_one_go(rule(name, Penalty(l2=0.1)), None)
        assert (found is not None) == (name == "sgd") and found is not OPTIMIZERS[name]
        assert in_one_go(rule(name, Penalty(l2=0.1)), 1.0) is None
        assert in_one_go(rule(name, Penalty(l1=0.1, l2=0.1)), None) is None


@pytest.mark.parametrize(
    ("ratio", "more", "fits"),
    [
        (0.9994, "", True), (0.9996, "", False), (1.0, "", False), (1.1, ", lazy = true", True),
        (0.9996, ", weight_decay = 0.01", False), (0.0, "", True),
    ],
)  # fmt: skip
def test_momentum_of_rows_ends(ratio: float, more: str, fits: bool) -> None:
    """That of Adam by the step, on rows that no batch reads: some 80,000 steps at most."""
    name, beta1 = "adamw" if "decay" in more else "adam", ratio * 0.81**0.5
    text = f"""party bob {{
  key ID
  feature item: int -> index(5)
  label y: float
}}
logit = dense(embed(bob.item, dim = 2), 1)
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train {{ optimizer {name}(beta1 = {beta1}, beta2 = 0.81{more}) }}
"""
    if fits:
        compile_source(SourceText("m.vfl", text))
        return
    with pytest.raises(Refused) as refused:
        compile_source(SourceText("m.vfl", text))
    (found,) = refused.value.diagnostics
    assert found.code == "VFL0208" and f"{ratio:.4g} times the square root" in found.message
