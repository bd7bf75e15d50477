"""Rows that catch up with the steps they missed are where those steps would have brought them."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_testing import evaluate
from vflc_runtime.bundle.plan_rows import MOST_TERMS, CatchUp, ReplaySteps, read_catch_up, terms
from vflc_runtime.bundle.reading import Json
from vflc_runtime.engines.missed import BLOCK, History
from vflc_runtime.errors import Failure

from vflc.emit.onnx.update import UpdateGraph, build_updates, catch_up, slots_of, update_graph
from vflc.ir.model import OptimizerRule, Penalty
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.penalised import makes_up

WIDTH = 4
NONE = Penalty()
FALLING = {"schedule": "cosine", "options": {"lr": 0.1, "steps": 70}}
STAGES = {"schedule": "step", "options": {"lr": 0.1, "every": 9, "factor": 0.5}}
RISING = {"schedule": "warmup", "options": {"lr": 0.1, "steps": 30, "then": FALLING}}
EXACT: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {"lr": RISING, "momentum": 0.9}),
    ("sgd", {"lr": RISING, "momentum": 0.9, "nesterov": True}),
    ("rmsprop", {"lr": RISING}),
    ("rmsprop", {"lr": RISING, "momentum": 0.5, "centered": True}),
    ("ftrl", {"lr": 0.1, "l1": 0.01, "initial": 1.0}),
    ("ftrl", {"lr": STAGES, "l2": 0.01, "lr_power": -0.3}),
    ("adam", {"lr": RISING, "beta1": 0.0}),
]
SIZES = st.sampled_from([1.0, 1e-3, 1e-6, 1e-9])
"""Of gradients: beside the smallest of them the default eps is large."""


class Rows:
    """The graphs of an optimizer, by the numpy references of their ops."""

    def __init__(self, name: str, options: dict[str, Any], penalty: Penalty = NONE) -> None:
        self.rule = OptimizerRule(name, name, options, (), None, penalty)
        self.graphs = build_updates(self.rule, None)
        plan = read_catch_up(Json(json.loads(json.dumps(catch_up(self.rule, None))), "plan"))
        assert isinstance(plan, CatchUp)
        self.plan = plan

    def call(self, graph: str, given: dict[str, Any]) -> dict[str, Any]:
        made: UpdateGraph = self.graphs[graph]
        with np.errstate(divide="ignore"):  # FTRL before its first step: the result is not taken
            found = evaluate(made.graph, {n: v for n, v in given.items() if n in made.inputs}, made.outputs)
        return {name.removeprefix("new."): v for name, v in zip(made.outputs, found, strict=True)}

    def history(self) -> History:
        series = self.plan.series
        return History(self.plan.missed, None if series is None else lambda s: self.call(series, {"step": s}))

    def start(self, weight: np.ndarray[Any, Any]) -> dict[str, Any]:
        return {"weight": weight, **{n: np.full(WIDTH, init) for n, init in slots_of(self.rule).items()}}

    def step(self, state: dict[str, Any], gradient: Any, step: int) -> dict[str, Any]:
        given = {**state, "gradient": gradient, "step": np.asarray(float(step))}
        return self.call(update_graph(self.rule), given)

    def caught_up(self, state: dict[str, Any], last: int, step: int, history: History) -> dict[str, Any]:
        numbers = history.numbers(np.array([last]), step)
        missed = {f"missed.{each.name}": numbers[:, [i]] for i, each in enumerate(self.plan.missed)}
        made = self.call(self.plan.graph, {**{n: v[None] for n, v in state.items()}, **missed})
        return {name: value[0] for name, value in made.items()}


def gone_wrong(
    name: str, options: dict[str, Any], size: float, first: int, missed: int
) -> tuple[float, float]:
    """By how much a row that catches up is elsewhere than one that missed nothing, and how far it went."""
    rows, rng = Rows(name, options), np.random.default_rng(first)
    state = rows.start(rng.normal(size=WIDTH))
    for step in range(1, first + 1):
        state = rows.step(state, rng.normal(size=WIDTH) * size, step)
    found = rows.caught_up(state, first, first + missed, rows.history())
    dense = state
    for step in range(first + 1, first + missed + 1):
        dense = rows.step(dense, np.zeros(WIDTH), step)
    for slot in slots_of(rows.rule):
        np.testing.assert_allclose(found[slot], dense[slot], rtol=1e-9)
    wrong = np.abs(found["weight"] - dense["weight"]).max()
    return float(wrong), float(np.abs(dense["weight"] - state["weight"]).max())


@pytest.mark.parametrize(("name", "options"), EXACT, ids=lambda v: v if isinstance(v, str) else "")
@settings(max_examples=10, deadline=None)
@given(size=SIZES, first=st.integers(0, 40), missed=st.integers(1, 90))
def test_rows_catch_up_exactly(
    name: str, options: dict[str, Any], size: float, first: int, missed: int
) -> None:
    assert gone_wrong(name, options, size, first, missed)[0] < 1e-12


@pytest.mark.parametrize("more", [{}, {"weight_decay": 0.1}], ids=["adam", "adamw"])
@settings(max_examples=25, deadline=None)
@given(
    size=SIZES,
    first=st.integers(1, 40),
    missed=st.integers(1, 700),
    eps=st.sampled_from([1e-10, 1e-7, 1e-3, 1.0]),
    lr=st.sampled_from([0.01, RISING]),
)
def test_adam_to_a_millionth_of_the_movement_whatever_eps(
    more: dict[str, float], size: float, first: int, missed: int, eps: float, lr: Any
) -> None:
    options = {"lr": lr, "eps": eps, **more}
    wrong, moved = gone_wrong("adamw" if more else "adam", options, size, first, missed)
    assert wrong <= 1e-6 * moved + 1e-14


def test_adam_makes_up_by_the_parabola_through_three_points() -> None:
    rule = OptimizerRule("adam", "adam", {"beta1": 0.5, "beta2": 0.25}, (), None, NONE)
    found = {each["name"]: each for each in catch_up(rule, None)["missed"]}
    for x in (0.0, 0.5, 1.0):
        shares: dict[float, float] = {}
        for power, name in enumerate(("x0", "x1", "x2")):
            assert found[name]["ratio"] == 1.0 and found[name]["growth"] == 2.0
            for share, at in found[name]["mix"]:
                shares[at] = shares.get(at, 0) + share * x**power
        assert {at: share for at, share in shares.items() if share} == {x: 1}
    wrong, moved = gone_wrong("adam", {"lr": 0.1}, 1.0, 3, 5)
    assert wrong <= 1e-6 * moved and moved > 0.01
    assert gone_wrong("adam", {"lr": 0.1, "beta1": 0.0}, 1.0, 3, 5) == (0, 0)


def test_what_eps_does_where_the_means_forget_faster() -> None:
    """The parabola in eps is as good as the documentation says."""
    for beta2, limit in ((0.999, 1e-7), (0.99, 1e-4), (0.95, 1e-2)):
        for eps in (1e-3, 1e-2, 1e-1, 1.0):
            wrong, moved = gone_wrong("adam", {"lr": 0.1, "beta2": beta2, "eps": eps}, 0.1, 20, 100)
            assert wrong <= limit * moved


SHRINKING = [
    {"lr": STAGES},
    {"lr": STAGES, "momentum": 0.9},
    {"lr": STAGES, "momentum": 0.9, "nesterov": True},
]
"""Options of SGD; with them and a penalty on all rows its steps are matrices."""


@pytest.mark.parametrize("options", SHRINKING, ids=["plain", "momentum", "nesterov"])
@settings(max_examples=10, deadline=None)
@given(l2=st.sampled_from([1e-4, 0.01, 0.3, 10.0, 15.0]), first=st.integers(0, 20), missed=st.integers(1, 90))
def test_penalised_rows_catch_up_exactly(options: dict[str, Any], l2: float, first: int, missed: int) -> None:
    """Also where a step takes a weight to 0 or to the other side."""
    rows, rng = Rows("sgd", options, Penalty(l2=l2)), np.random.default_rng(first)
    state = rows.start(rng.normal(size=WIDTH))
    for step in range(1, first + 1):
        state = rows.step(state, rng.normal(size=WIDTH), step)
    found, dense, most = rows.caught_up(state, first, first + missed, rows.history()), state, 1.0
    for step in range(first + 1, first + missed + 1):
        dense = rows.step(dense, np.zeros(WIDTH), step)
        most = max(most, *(float(np.abs(each).max()) for each in dense.values()))
    for name, value in dense.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-12 * most)


@pytest.mark.parametrize("options", SHRINKING, ids=["plain", "momentum", "nesterov"])
@settings(max_examples=3, deadline=None)
@given(step=st.integers(1, 3 * BLOCK), shares=st.lists(st.floats(0, 1), min_size=1, max_size=2))
def test_products_over_many_blocks(options: dict[str, Any], step: int, shares: list[float]) -> None:
    """Every entry is that of the matrices multiplied one after another, in long numbers."""
    rows = Rows("sgd", options, Penalty(l2=0.01))
    assert rows.plan.series is not None
    made = rows.call(rows.plan.series, {"step": np.arange(1.0, step + 1)})
    last = np.array([round(share * step) for share in shares])
    numbers = rows.history().numbers(last, step)
    size = 2 if "momentum" in options else 1
    entries = [made[name] for name in ("ww", "wu", "uw", "uu")[: size * size]]
    for row, start in zip(numbers, last.tolist(), strict=True):
        product = [[Fraction(i == j) for j in range(size)] for i in range(size)]
        for each in range(start, step):
            matrix = [Fraction(float(values[each])) for values in entries]
            product = [
                [_short(sum(matrix[i * size + k] * product[k][j] for k in range(size))) for j in range(size)]
                for i in range(size)
            ]
        np.testing.assert_allclose(row, [float(x) for line in product for x in line], rtol=1e-11, atol=1e-300)


def _short(value: Fraction | int) -> Fraction:
    """A number cut to 1,100 bits behind the point: those of exact products grow with every factor."""
    return Fraction(round(value * 2**1100), 2**1100)


@pytest.mark.parametrize("penalised", [False, True])
@settings(max_examples=10, deadline=None)
@given(last=st.integers(1, 3 * BLOCK), seen=st.lists(st.integers(0, 3 * BLOCK), max_size=5))
def test_a_history_that_goes_on_has_the_same_bits(penalised: bool, last: int, seen: list[int]) -> None:
    """A run that is resumed makes in one go what it had made step by step."""
    rows = Rows("adamw", {"lr": RISING, "weight_decay": 0.1})
    if penalised:
        rows = Rows("sgd", SHRINKING[2], Penalty(l2=0.01))
    steps = np.arange(last + 1)
    again = rows.history()
    for step in sorted(step for step in seen if step < last):
        again.numbers(np.arange(step + 1), step)
    assert again.numbers(steps, last).tobytes() == rows.history().numbers(steps, last).tobytes()


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.9, 0.999])
def test_sums_are_cut_off_where_the_rest_is_lost_in_rounding(ratio: float) -> None:
    """The terms left out are below the last bit of the sum, and those kept are no more than need be."""
    rest = ratio ** terms(ratio)
    assert rest < np.finfo(float).eps / 256
    assert ratio == 0 or ratio ** (terms(ratio) * 0.8) > rest


def test_steps_that_change_nothing_are_not_made_up_for() -> None:
    quiet: list[tuple[str, dict[str, Any]]] = [("sgd", {}), ("adagrad", {}), ("adam", {"lazy": True})]
    quiet += [("sgd", {"momentum": 0.5, "lazy": True}), ("ftrl", {"lazy": True}), ("rmsprop", {"lazy": True})]
    for name, options in quiet:
        rule = OptimizerRule(name, name, options, (), None)
        assert not makes_up(rule) and catch_up(rule, None) is None and len(build_updates(rule, None)) == 1
    assert makes_up(OptimizerRule("ftrl", "ftrl", {}, (), None))


@pytest.mark.parametrize("name", OPTIMIZERS.ours)
def test_only_linear_steps_are_made_up_for_in_one_go(name: str) -> None:
    """With a penalty on all rows every optimizer makes up for steps; the linear ones in one go."""
    for penalty, clip in ((Penalty(l2=0.1), None), (Penalty(l1=0.1), None), (Penalty(l2=0.1), 1.0)):
        rule = OptimizerRule(name, name, {}, (), None, penalty)
        more = catch_up(rule, clip)
        assert makes_up(rule) and more is not None
        assert ("replay" in more) == (name != "sgd" or bool(penalty.l1) or clip is not None)
        plan = read_catch_up(Json(json.loads(json.dumps(more)), "plan"))
        assert isinstance(plan, ReplaySteps) == ("replay" in more)


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "power", "base": 1.0}, {"kind": "power", "base": -0.1}, {"kind": "cube", "base": 0.5},
        {"ratio": 1.0}, {"ratio": 1 - 1 / (20 * MOST_TERMS)}, {"growth": 0.9},
        {"mix": [[1, 2]]}, {"mix": [[1]]}, {"of": None},
        {"kind": "matrix", "of": [["a", "b"]]}, {"kind": "matrix", "of": []},
        {"kind": "matrix", "of": [["a"]], "row": 1, "column": 0},
        {"kind": "matrix", "of": [["a"]], "row": 0, "column": -1},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(damage: dict[str, Any]) -> None:
    sum_ = {"name": "s", "kind": "sum", "of": "x", "ratio": 0.9, "growth": 1.1, "mix": [[1, 0]], "kept": None}
    whole = {"graph": "g", "series": "h", "missed": [sum_ | damage]}
    with pytest.raises(Failure) as caught:
        read_catch_up(Json(whole, "plan"))
    assert caught.value.code == "VFL0613"
