"""Graphs of a population's bundle, one by one: on onnxruntime, on TensorFlow, and over rows of tables."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from vflc_runtime.bundle.plan import Loss, Slot
from vflc_runtime.bundle.population_plan import PopulationGraph, PopulationOptimizer
from vflc_runtime.engines.population_rows import RowsOptimizer, sum_rows
from vflc_runtime.engines.population_runners import OnnxRunner, runners
from vflc_runtime.errors import Failure

keras = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")


def graph(*nodes: tuple[str, list[str], str], inputs: dict[str, list[Any]], outputs: list[str]) -> bytes:
    def info(name: str, shape: list[Any] | None) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape)

    made = helper.make_graph(
        [helper.make_node(op, given, [to]) for op, given, to in nodes],
        "g",
        [info(name, shape) for name, shape in inputs.items()],
        [info(name, None) for name in outputs],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


ADDS = graph(("Add", ["x", "y"], "z"), inputs={"x": ["n"], "y": ["m"]}, outputs=["z"])


def file(content: bytes, inputs: tuple[str, ...], outputs: tuple[str, ...], **more: Any) -> PopulationGraph:
    return PopulationGraph(Path("hub/g"), content, inputs, outputs, **more)


def test_an_engine_is_that_of_the_bundle() -> None:
    made = runners("onnx", "float64")(file(ADDS, ("x", "y"), ("z",)))
    assert isinstance(made, OnnxRunner)
    assert made({"x": np.ones(2), "y": np.ones(2), "other": np.ones(1)})["z"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("content", "inputs", "outputs", "told"),
    [
        (ADDS, ("x",), ("z",), "has other inputs or outputs than plan.json declares"),
        (ADDS, ("x", "y"), ("z", "more"), "has other inputs or outputs than plan.json declares"),
        (b"\x08\x99nonsense", (), (), "is not an ONNX model"),
        (
            graph(("NoSuch", ["x"], "z"), inputs={"x": ["n"]}, outputs=["z"]),
            ("x",),
            ("z",),
            "cannot be loaded",
        ),
    ],
)
def test_a_file_that_holds_another_graph(content: bytes, inputs: Any, outputs: Any, told: str) -> None:
    with pytest.raises(Failure, match=f"hub/g {told}") as refused:
        OnnxRunner(file(content, inputs, outputs), "float64")
    assert refused.value.code == "VFL0613"


def test_a_graph_that_cannot_run() -> None:
    with pytest.raises(Failure, match="hub/g cannot run") as refused:
        OnnxRunner(file(ADDS, ("x", "y"), ("z",)), "float64")({"x": np.ones(2), "y": np.ones(3)})
    assert refused.value.code == "VFL0613"


# --- rows ----------------------------------------------------------------------------------------


def update(precision: str = "float64") -> RowsOptimizer:
    """new m = m + gradient, new weight = weight - step · new m, of vectors; m begins at 3."""

    def step(values: Any) -> dict[str, Any]:
        assert all(value.ndim == (name != "step") for name, value in values.items())
        assert {value.dtype for value in values.values()} == {np.dtype(precision)}
        m = values["m"] + values["gradient"]
        return {"new.m": m, "new.weight": values["weight"] - values["step"] * m}

    optimizer = PopulationOptimizer(file(b"", (), ()), (Slot("m", 3.0),), True)
    return RowsOptimizer(optimizer, precision, lambda given: step if given is optimizer.graph else None)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_an_optimizer_changes_weights_and_slots_where_they_lie(precision: str) -> None:
    rule = update(precision)
    weight, slots = np.zeros((2, 3), precision), rule.new_slots((2, 3))
    assert {name: (slot.shape, slot.dtype) for name, slot in slots.items()} == {"m": ((2, 3), precision)}
    gradient = np.arange(6.0).reshape(3, 2).astype(precision).T
    home, kept = weight, slots["m"]
    rule.dense(weight, gradient, slots, 2)
    assert (kept == 3 + gradient).all() and (home == -2 * kept).all()


def test_an_optimizer_changes_the_rows_it_is_given() -> None:
    rule = update()
    weight, slots = np.zeros((4, 2)), rule.new_slots((4, 2))
    rule.rows(weight, np.array([2, 0]), np.array([[1.0, 2], [3, 4]]), slots, 1)
    assert slots["m"].tolist() == [[6, 7], [3, 3], [4, 5], [3, 3]]
    assert weight.tolist() == [[-6, -7], [0, 0], [-4, -5], [0, 0]]


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_rows_are_summed_by_position(precision: str) -> None:
    rows = np.arange(8.0).reshape(2, 4).astype(precision).T
    found = sum_rows(np.array([2, 0, 2, 2], np.int32), rows, 4)
    assert found.dtype == precision
    assert found.tolist() == [[1, 5], [0, 0], [0 + 2 + 3, 4 + 6 + 7], [0, 0]]
    none = sum_rows(np.empty(0, np.int64), rows[:0], 3)
    assert none.dtype == precision and none.tolist() == [[0, 0]] * 3


# --- TensorFlow ----------------------------------------------------------------------------------


@pytest.fixture
def keras_runner(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the runner of a model of `ids` [n] and `w` [n], with losses `a` = 3w and `b` = ids · w."""
    from vflc_runtime.engines import population_keras
    from vflc_runtime.engines.keras_setup import tensorflow

    tf = tensorflow().tf

    class Model:
        inputs = tuple(SimpleNamespace(shape=(None,), dtype=each) for each in ("int32", "float64"))
        outputs = (None, None)

        def __call__(self, given: list[Any]) -> list[Any]:
            ids, w = given
            return [3 * w, tf.cast(ids, w.dtype) * w]

    monkeypatch.setattr(population_keras, "load_model", lambda content, path: Model())
    return lambda made: runners("keras", "float64")(made)


GRADIENTS = (("gradient.w", "w"),)
GIVEN = {"ids": np.array([5, 7]), "w": np.array([1.0, 2.0])}


@keras
@pytest.mark.parametrize(
    ("seeds", "slope"), [([("a", 2.0)], [6, 6]), ([("a", 1.0), ("b", -0.5)], [3 - 2.5, 3 - 3.5])]
)
def test_each_user_has_a_gradient(
    keras_runner: Any, seeds: list[tuple[str, float]], slope: list[float]
) -> None:
    """By the coefficients of the losses, for the weights that the plan names."""
    more = {"gradients": GRADIENTS, "seeds": tuple(Loss(seed[0], *seed) for seed in seeds)}
    made = keras_runner(file(b"", ("ids", "w"), ("a", "b", "gradient.w"), **more))(GIVEN)
    assert {name: value.tolist() for name, value in made.items()} == {
        "a": [3, 6], "b": [5, 14], "gradient.w": slope,
    }  # fmt: skip


@keras
def test_without_gradients_a_model_is_called(keras_runner: Any) -> None:
    made = keras_runner(file(b"", ("ids", "w"), ("a", "b")))(GIVEN)
    assert made["b"].tolist() == [5, 14]


@keras
@pytest.mark.parametrize(
    ("inputs", "outputs", "gradients"),
    [
        (("ids",), ("a", "b"), ()),
        (("ids", "w"), ("a",), ()),
        (("ids", "w"), ("a", "b", "c"), ()),
        (("ids", "w"), ("a", "b"), GRADIENTS),
    ],
)
def test_a_model_of_other_inputs_or_outputs(
    keras_runner: Any, inputs: Any, outputs: Any, gradients: Any
) -> None:
    with pytest.raises(Failure, match="hub/g has other inputs or outputs than") as refused:
        keras_runner(file(b"", inputs, outputs, gradients=gradients))
    assert refused.value.code == "VFL0613"
