"""Optimizers and schedules against Keras' own, over several steps."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from op_testing import build, evaluate, keras, run_onnx, value
from vflc_runtime.engines.updates import clip_parts

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source
from vflc.ops.optimizer import RANGES, check_options
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.rates import rate
from vflc.ops.registry import OpError
from vflc.ops.schedules import SCHEDULES

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"
)

KERAS = {
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "adagrad": "Adagrad",
    "ftrl": "Ftrl",
    "rmsprop": "RMSprop",
}
RENAMED = {
    "lr": "learning_rate",
    "beta1": "beta_1",
    "beta2": "beta_2",
    "eps": "epsilon",
    "l1": "l1_regularization_strength",
    "l2": "l2_regularization_strength",
    "initial": "initial_accumulator_value",
    "lr_power": "learning_rate_power",
}
CASES = [
    ("sgd", {"lr": 0.125}),
    ("sgd", {"lr": 0.125, "momentum": 0.875}),
    ("sgd", {"lr": 0.125, "momentum": 0.875, "nesterov": True}),
    ("adam", {"lr": 2**-10, "beta1": 0.875, "beta2": 1 - 2**-10, "eps": 2**-24}),
    ("adamw", {"lr": 2**-6, "beta1": 0.875, "beta2": 1 - 2**-10, "weight_decay": 2**-5}),
    ("adagrad", {"lr": 0.125, "initial": 0.25}),
    ("ftrl", {"lr": 0.0625, "l1": 2**-6, "l2": 2**-6, "initial": 1.0}),
    ("ftrl", {"lr": 0.0625, "lr_power": -0.375}),
    ("rmsprop", {"lr": 2**-6, "rho": 0.875}),
    ("rmsprop", {"lr": 2**-6, "rho": 0.875, "momentum": 0.5, "centered": True}),
]
"""Powers of two, because Keras rounds its options to float32 whatever the precision."""
STEPS = 5


def ours(name, options, weight, gradients, run):
    """The weight after each step, by the update graph."""
    optimizer = OPTIMIZERS[name]
    b = build()
    w, g, step = value(b, "weight", 4), value(b, "gradient", 4), value(b, "step")
    slots = {n: value(b, n, 4) for n in optimizer.slots(options)}
    new_weight, new_slots = optimizer.update(b, w, g, step, slots, options)
    assert set(new_slots) == set(slots)
    outputs = [new_weight.id, *(new_slots[n].id for n in slots)]
    state = [weight, *(np.full(4, start) for start in optimizer.slots(options).values())]
    history = []
    for count, gradient in enumerate(gradients, 1):
        feeds = dict(
            zip(["weight", *slots], state, strict=True), gradient=gradient, step=np.asarray(float(count))
        )
        state = run(b.graph, feeds, outputs)
        history.append(state[0])
    return np.array(history)


def theirs(name, options, weight, gradients):
    keras()
    from keras import Variable, optimizers

    optimizer = getattr(optimizers, KERAS[name])(**{RENAMED.get(k, k): v for k, v in options.items()})
    variable = Variable(weight, dtype="float64")
    optimizer.build([variable])
    history = []
    for gradient in gradients:
        optimizer.apply([gradient])
        history.append(np.asarray(variable.numpy()))
    return np.array(history)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_update_is_that_of_keras(name, options):
    rng = np.random.default_rng(0)
    weight, gradients = rng.normal(size=4), rng.normal(size=(STEPS, 4))
    gradients[:, 3] = 0.0
    expected = theirs(name, options, weight, gradients)
    np.testing.assert_allclose(
        ours(name, options, weight, gradients, evaluate), expected, rtol=1e-7, atol=1e-9
    )
    for double in (True, False):
        actual = ours(name, options, weight, gradients, lambda g, f, o, d=double: run_onnx(g, f, o, d))
        np.testing.assert_allclose(
            actual, expected, rtol=1e-7 if double else 1e-4, atol=1e-9 if double else 1e-6
        )


FALLING = {"schedule": "step", "options": {"lr": 0.0625, "every": 2, "factor": 0.5}}


@pytest.mark.parametrize(
    ("name", "options"),
    [case for case in CASES if case[0] in ("ftrl", "adamw")],
)
def test_what_a_rate_is_part_of_follows_its_schedule_as_in_keras(name, options):
    """FTRL divides by the rate of the step, also what it had summed up at another; AdamW decays by it."""
    keras()
    from keras.optimizers import schedules

    rng = np.random.default_rng(0)
    weight, gradients = rng.normal(size=4), rng.normal(size=(STEPS, 4))
    staircase = schedules.ExponentialDecay(0.0625, 2, 0.5, staircase=True)
    expected = theirs(name, {**options, "lr": staircase}, weight, gradients)
    found = ours(name, {**options, "lr": FALLING}, weight, gradients, evaluate)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    kept = ours(name, {**options, "lr": 0.0625}, weight, gradients, evaluate)
    assert np.abs(kept - expected).max() > 0.001


@pytest.mark.parametrize("name", KERAS)
def test_defaults_are_those_of_keras(name):
    rng = np.random.default_rng(0)
    weight, gradients = rng.normal(size=4), rng.normal(size=(STEPS, 4))
    actual = ours(name, {}, weight, gradients, evaluate)
    np.testing.assert_allclose(actual, theirs(name, {}, weight, gradients), rtol=1e-5, atol=1e-7)


def test_every_optimizer_is_compared():
    assert {name for name, _ in CASES} == set(OPTIMIZERS.ours) == set(KERAS)


def rates(schedule, steps):
    b = build()
    step = value(b, "step")
    node = rate(b, step, schedule)
    return [
        float(evaluate(b.graph, {"step": np.asarray(float(s))}, [node.id])[0]) for s in range(1, steps + 1)
    ]


def test_cosine_is_that_of_keras():
    keras()
    from keras.optimizers import schedules

    expected = schedules.CosineDecay(0.1, 7, alpha=0.2)
    found = rates({"schedule": "cosine", "options": {"lr": 0.1, "steps": 7, "alpha": 0.2}}, 10)
    np.testing.assert_allclose(found, [float(expected(t)) for t in range(10)], rtol=1e-6)


def test_warmup_then_cosine_is_that_of_keras():
    keras()
    from keras.optimizers import schedules

    expected = schedules.CosineDecay(0.0, 6, warmup_target=0.1, warmup_steps=4)
    then = {"schedule": "cosine", "options": {"lr": 0.1, "steps": 6}}
    found = rates({"schedule": "warmup", "options": {"lr": 0.1, "steps": 4, "then": then}}, 12)
    np.testing.assert_allclose(found, [float(expected(t)) for t in range(12)], rtol=1e-6, atol=1e-9)


def test_step_falls_in_stages_and_warmup_stays():
    found = rates({"schedule": "step", "options": {"lr": 1.0, "every": 3, "factor": 0.5}}, 7)
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, 0.5, 0.5, 0.25])
    found = rates({"schedule": "warmup", "options": {"lr": 1.0, "steps": 2}}, 4)
    np.testing.assert_allclose(found, [0, 0.5, 1, 1])
    assert rates({"schedule": "constant", "options": {"lr": 0.3}}, 2) == [0.3, 0.3]
    assert set(SCHEDULES.ours) == {"constant", "cosine", "step", "warmup"}


def test_an_update_with_a_schedule_uses_it():
    weight, gradients = np.zeros(4), np.ones((3, 4))
    options = {"lr": {"schedule": "step", "options": {"lr": 1.0, "every": 1, "factor": 0.5}}}
    np.testing.assert_allclose(ours("sgd", options, weight, gradients, evaluate)[:, 0], [-1, -1.5, -1.75])


def test_clip_by_norm_is_that_of_keras():
    from keras import optimizers

    for gradient in (np.array([3.0, 4.0, 0, 0]), np.array([0.3, 0.4, 0, 0]), np.zeros(4)):
        expected = optimizers.SGD(clipnorm=1.0)._clip_by_norm(gradient)
        clip_parts(gradient, [slice(0, 4)], 1.0)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adam", {"beta1": 1.0}),
        ("sgd", {"momentum": 2}),
        ("sgd", {"lr": {"schedule": "cosine", "options": {"lr": 0.1, "steps": 0}}}),
        ("ftrl", {"lr": 0}),
        ("ftrl", {"lr": {"schedule": "warmup", "options": {"lr": 0.1, "steps": 10}}}),
        ("ftrl", {"lr": {"schedule": "cosine", "options": {"lr": 0.1, "steps": 10}}}),
        ("ftrl", {"lr": {"schedule": "step", "options": {"lr": 0.0, "every": 10}}}),
        ("ftrl", {"initial": 0}),
        ("adagrad", {"initial": 0, "eps": 0}),
        ("adam", {"eps": 0}),
        ("adamw", {"eps": 1e-300}),
        ("rmsprop", {"eps": 0}),
        ("adamw", {"lr": 0.5, "weight_decay": 2}),
        ("adamw", {"lr": {"schedule": "step", "options": {"lr": 1e-9, "every": 10, "factor": 1.1}}}),
        ("adamw", {"lr": {"schedule": "warmup", "options": {"lr": 0.1, "steps": 9}}, "weight_decay": 10}),
        (
            "adamw",
            {
                "lr": {
                    "schedule": "warmup",
                    "options": {
                        "lr": 0,
                        "steps": 9,
                        "then": {"schedule": "cosine", "options": {"lr": 2, "steps": 9}},
                    },
                },
                "weight_decay": 0.5,
            },
        ),
    ],
)
def test_options_out_of_range_are_refused(name, options):
    with pytest.raises(OpError) as refused:
        OPTIMIZERS[name].check(options)
    assert refused.value.code == "VFL0205"
    OPTIMIZERS[name].check({})


@pytest.mark.parametrize(
    ("name", "lr"),
    [
        ("sgd", 0),
        ("adam", {"schedule": "warmup", "options": {"lr": 0.1, "steps": 10}}),
        ("ftrl", {"schedule": "cosine", "options": {"lr": 0.1, "steps": 10, "alpha": 0.01}}),
        ("ftrl", {"schedule": "step", "options": {"lr": 0.1, "every": 10}}),
        ("ftrl", {"schedule": "constant", "options": {"lr": 0.1}}),
    ],
)
def test_a_rate_may_be_0_where_nothing_is_divided_by_it(name, lr):
    OPTIMIZERS[name].check({"lr": lr})


@pytest.mark.parametrize("text", ["adam(beta1 = constant(0.1))", "adam(lr = cosine(constant(0.1), 9))",
                                  "adam(lr = cosine(0.1, true))"])  # fmt: skip
def test_a_schedule_stands_only_where_a_rate_does(text):
    spec = "party a { key K  feature x: float  label y: float }\nz = dense(a.x, 1)\npredict p = z\n"
    with pytest.raises(Refused) as refused:
        compile_source(SourceText("m.vfl", f"{spec}objective mse(z, a.y)\ntrain {{ optimizer {text} }}\n"))
    assert {d.code for d in refused.value.diagnostics} == {"VFL0203"}


BOUNDS = {
    "momentum": ([0, 0.999], [-0.001, 1]),
    "beta1": ([0, 0.999], [-0.001, 1]),
    "beta2": ([0, 0.999], [-0.001, 1]),
    "rho": ([0, 0.999], [-0.001, 1]),
    "alpha": ([0, 1], [-0.001, 1.001]),
    "factor": ([0.001, 2], [0]),
    "every": ([1], [0]),
    "steps": ([1], [0]),
    "lr_power": ([0, -0.5], [0.001]),
}


@pytest.mark.parametrize("name", RANGES)
def test_both_sides_of_every_bound(name):
    inside, outside = BOUNDS[name]
    for number in inside:
        check_options("x", {name: number})
    for number in outside:
        with pytest.raises(OpError, match=f"`{name}` is {number:g}") as refused:
            check_options("x", {name: number})
        assert refused.value.help == f"`{name}` is {RANGES[name][1]}"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ftrl", {"initial": 0, "l2": 0.1}),
        ("adagrad", {"eps": 0}),
        ("adagrad", {"initial": 0}),
        ("adamw", {"lr": 0.1, "weight_decay": 9.9}),
        ("adamw", {"lr": {"schedule": "step", "options": {"lr": 0.1, "every": 10}}, "weight_decay": 9}),
    ],
)
def test_what_is_allowed_gives_numbers(name, options):
    """Also where there never was a gradient."""
    OPTIMIZERS[name].check(options)
    weights = ours(name, options, np.ones(4), np.zeros((3, 4)), evaluate)
    assert np.isfinite(weights).all() and (weights >= 0).all()
