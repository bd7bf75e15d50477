"""The Keras engine before it steps: TensorFlow set up, models that load, variables and their copies."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vflc_common.keras import quiet
from vflc_runtime.bundle.plan import Initializer, Weight
from vflc_runtime.bundle.plan_keras import LayerVariable
from vflc_runtime.engines import keras_setup
from vflc_runtime.engines.keras_models import PlaceWeights, call_model, load_model
from vflc_runtime.errors import Failure

pytestmark = [
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


@pytest.fixture
def tf() -> Any:
    return keras_setup.tensorflow().tf


# --- TensorFlow itself ----------------------------------------------------------------------------------


@pytest.fixture
def anew() -> Any:
    keras_setup._imported.cache_clear()
    yield keras_setup._imported
    keras_setup._imported.cache_clear()


def test_keras_on_another_backend(anew: Any, tf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keras = keras_setup.tensorflow().keras
    anew.cache_clear()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(Failure, match="Keras runs on jax here") as refused:
        anew()
    assert refused.value.code == "VFL0503"
    assert refused.value.help == "set KERAS_BACKEND=tensorflow, or use the engine 'onnx'"


@pytest.mark.parametrize(("set_to", "found"), [(None, ["3", "tensorflow"]), ("0", ["0", "0"])])
def test_what_is_set_already_stays(
    set_to: str | None, found: list[str], anew: Any, tf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")
    anew.cache_clear()
    for name in names:
        monkeypatch.setenv(name, "before")  # so that it is put back
        monkeypatch.delenv(name) if set_to is None else monkeypatch.setenv(name, set_to)
    anew()
    assert [os.environ[name] for name in names] == found


def test_threads_are_asked_for_and_later_wishes_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def late(threads: int) -> None:
        asked.append(threads)
        raise RuntimeError("it runs")

    threading = SimpleNamespace(set_intra_op_parallelism_threads=late)
    modules = SimpleNamespace(tf=SimpleNamespace(config=SimpleNamespace(threading=threading)))
    monkeypatch.setattr(keras_setup, "_imported", lambda: modules)
    assert keras_setup.tensorflow() is modules and not asked
    assert keras_setup.tensorflow(3) is modules and asked == [3]


def test_what_libraries_say_while_they_load_is_kept_from_people(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, b"loading")
    os.write(2, b"after")
    with pytest.raises(KeyError), quiet():
        raise KeyError
    os.write(2, b" all")
    assert capfd.readouterr().err == "after all"


# --- models and weights -----------------------------------------------------------------------------------


CODE = """
{"class_name": "Lambda", "config": {"name": "l", "function": {"class_name": "__lambda__",
 "config": {"code": "4wEA", "defaults": null, "closure": null}}}, "module": "keras.layers",
 "registered_name": null}
"""
"""A layer that would run code of the file's."""


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no model", b"PK\x03\x04", b"\xff", b"[" * 100_000, b"3", b"null", b"[]", b"{}", CODE.encode(),
        b'{"module": "keras.layers", "class_name": "ReLU", "config": {}, "registered_name": null}',
        b'{"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}',
    ],
)  # fmt: skip
def test_a_file_that_holds_no_model(content: bytes) -> None:
    with pytest.raises(Failure, match=r"alice/it\.keras\.json cannot be loaded: ") as refused:
        load_model(content, Path("alice/it.keras.json"))
    assert refused.value.code == "VFL0613"
    _, _, why = refused.value.message.partition("cannot be loaded: ")
    assert 0 < len(why) <= 300 and "\n" not in why


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("output_layers", 0, 0), "x"),
        (("output_layers", 0, 2), 3),
        (("layers",), {}),
        (("layers", 1, "config", "units"), 2**70),
        (("layers", 1, "config", "kernel_initializer", "config", "seed"), []),
        (("layers", 1, "build_config", "input_shape"), []),
    ],
)
def test_a_model_that_was_damaged(path: tuple[str | int, ...], value: Any) -> None:
    keras = keras_setup.tensorflow().keras
    given = keras.Input((3,), name="given")
    document = json.loads(keras.Model([given], [keras.layers.Dense(2)(given)]).to_json())
    load_model(json.dumps(document).encode(), Path("m"))
    inner = document["config"]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(Failure, match="m cannot be loaded: ") as refused:
        load_model(json.dumps(document).encode(), Path("m"))
    assert refused.value.code == "VFL0613"


@pytest.mark.parametrize("text", ["x" * 400, "  first\nsecond", ""])
def test_why_a_model_cannot_be_loaded_in_one_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError(text)

    models = SimpleNamespace(model_from_json=fail)
    modules = SimpleNamespace(keras=SimpleNamespace(models=models))
    monkeypatch.setattr("vflc_runtime.engines.keras_models.tensorflow", lambda: modules)
    with pytest.raises(Failure) as refused:
        load_model(b"", Path("m"))
    why = {"x": "x" * 300, " ": "first", "": "ValueError"}[text[:1]]
    assert refused.value.message == f"m cannot be loaded: {why}"


def test_outputs_come_in_a_list() -> None:
    for made, found in ((5, [5]), ([1, 2], [1, 2]), ((1,), [1])):
        assert call_model(lambda inputs, made=made: made, []) == found


def weights(
    tf: Any, models: dict[str, list[tuple[str, tuple[int, ...]]]]
) -> tuple[PlaceWeights, dict[str, Any]]:
    """Weights of models whose layers hold variables of these shapes, and the variables by `MODEL.WEIGHT`."""
    named = {
        name: Weight(name, shape, Initializer("constant", start), True, name, 0)
        for start, (name, shape) in enumerate({"a": (2, 3), "b": (4,), "alone": (1,)}.items(), 1)
    }
    variables: dict[str, Any] = {}
    forwards: dict[str, Any] = {}
    for graph, held in models.items():
        layers = {}
        for name, shape in held:
            variable = variables[f"{graph}.{name}"] = tf.Variable(np.full(shape, -1.0))
            layers[name] = SimpleNamespace(
                weights=[SimpleNamespace(value=None), SimpleNamespace(value=variable)]
            )

        def get_layer(name: str, layers: dict[str, Any] = layers) -> Any:
            if name not in layers:
                raise ValueError(name)
            return layers[name]

        entry = SimpleNamespace(held=[LayerVariable(name, name, 1) for name, _ in held])
        forwards[graph] = SimpleNamespace(entry=entry, model=SimpleNamespace(get_layer=get_layer))
    plan: Any = SimpleNamespace(weights=named, precision="float64")
    return PlaceWeights(plan, forwards, 0), variables


def test_the_first_model_holds_a_weight_and_others_copies(tf: Any) -> None:
    made, variables = weights(
        tf, {"train": [("a", (2, 3))], "late": [("a", (6,)), ("b", (2, 2))], "more": [("a", (3, 2))]}
    )
    values = lambda: {name: set(v.numpy().reshape(-1)) for name, v in variables.items()}  # noqa: E731
    assert values() == {"train.a": {1}, "late.a": {-1}, "late.b": {2}, "more.a": {-1}}
    made.refresh({"train", "late", "unknown"}, {})
    assert values() == {"train.a": {1}, "late.a": {1}, "late.b": {2}, "more.a": {-1}}
    made.assign("a", np.full(6, 5))
    made.refresh({"late"}, {"a": tf.constant(np.full((2, 3), 9.0))})
    made.refresh({"late"}, {})  # it is no longer stale
    assert values() == {"train.a": {5}, "late.a": {9}, "late.b": {2}, "more.a": {-1}}
    made.refresh({"late", "more"}, {})
    assert values() == {"train.a": {5}, "late.a": {9}, "late.b": {2}, "more.a": {5}}
    assert made.in_models("a", {"more"}) == [variables["train.a"], variables["more.a"]]
    assert made.in_models("a", set()) == [variables["train.a"]]
    arrays = made.arrays({"b": tf.constant([7.0] * 4)})
    assert {name: (array.shape, set(array.reshape(-1))) for name, array in arrays.items()} == {
        "a": ((2, 3), {5}), "b": ((4,), {7}), "alone": ((1,), {3}),
    }  # fmt: skip
    assert made.array("b").dtype == np.float64 and set(made.array("b")) == {2}


@pytest.mark.parametrize(
    ("name", "shape", "told"),
    [
        ("a", (5,), r"model 'g': layer 'a' cannot hold 'a'"),
        ("a", (7,), r"model 'g': layer 'a' cannot hold 'a'"),
        ("none", (1,), r"model 'g': layer 'none' cannot hold 'none'"),
    ],
)
def test_a_layer_that_cannot_hold_a_weight(tf: Any, name: str, shape: tuple[int, ...], told: str) -> None:
    with pytest.raises(Failure, match=told) as refused:
        weights(tf, {"g": [(name, shape)]})
    assert refused.value.code == "VFL0613"


def test_a_layer_that_is_none(tf: Any) -> None:
    made, _ = weights(tf, {})
    short: Any = SimpleNamespace(get_layer=lambda _: SimpleNamespace(weights=[1]))
    none: Any = SimpleNamespace(get_layer=lambda _: int("none"))  # as Keras, by a ValueError
    for model in (short, none):
        with pytest.raises(Failure, match="model 'g' has no layer 'x' with 2 variables"):
            made._variable("g", model, "x", 1)
