"""A step of the Keras engine: gradients of rows by hand, clipping, what rows missed, a place in a session."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from granting import granted
from vflc_runtime.bundle.plan_keras import RowGradient, Seed, TapePlan
from vflc_runtime.engines import keras_setup
from vflc_runtime.engines.keras import KerasEngine
from vflc_runtime.engines.keras_gradients import TapeGradients
from vflc_runtime.engines.keras_optimizer import KerasOptimizer
from vflc_runtime.engines.randoms import uniform
from vflc_runtime.errors import Failure
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

pytestmark = [
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


@pytest.fixture
def tf() -> Any:
    return keras_setup.tensorflow().tf


# --- gradients ----------------------------------------------------------------------------------------------


def gradients(tf: Any, variables: dict[str, list[Any]], **spec: Any) -> TapeGradients:
    """Of a place whose table `t` is [4, 2], `u` [2, 2] and `w` [3]; `variables` hold them."""
    arrays = {
        "t": SimpleNamespace(shape=(4, 2)),
        "u": SimpleNamespace(shape=(2, 2)),
        "w": SimpleNamespace(shape=(3,)),
    }
    plan: Any = SimpleNamespace(arrays=arrays, precision="float64")
    held: Any = SimpleNamespace(in_models=lambda name, graphs: variables[name])
    parts: dict[str, Any] = {"seeds": (), "crossing": (), "dense": (), "rows": (), "received": {}}
    return TapeGradients(plan, TapePlan(**{**parts, **spec}), held, {"train"})


def test_gradients_by_hand(tf: Any) -> None:
    """Two losses on one value, weights in two models, one of them sent back, ids in two reads, one no id."""
    w, w2, u = (tf.Variable(np.array(x)) for x in ([1.0, 2, 3], [1.0, 2, 3], [[1.0, 2], [3, 4]]))
    t = tf.Variable(np.arange(8.0).reshape(4, 2))
    found = gradients(
        tf,
        {"w": [w, w2], "u": [u], "t": [t]},
        seeds=(Seed("loss", 2.0, None), Seed("other", None, "from"), Seed("loss", None, "again")),
        crossing=(("gradient.x", "x"), ("gradient.idle", "idle")),
        dense=(("flat", ("u", "w")), ("alone", ("w",))),
        rows=(RowGradient("t", ("i", "j"), "ids", "rows"),),
        received={"w": ("back", "back")},
    )
    values: dict[str, Any] = {
        "x": tf.constant([1.0, 1, 2], tf.float64), "idle": tf.constant([[5.0]], tf.float64),
        "i": tf.constant([[2], [-1], [0]]), "j": tf.constant([2, 1]),
        "back": tf.constant([10.0, 20, 30], tf.float64),
        "from": tf.constant([1.0, 3], tf.float64), "again": tf.constant(5.0, tf.float64),
    }  # fmt: skip
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values["x"])
        values["loss"] = tf.reduce_sum(values["x"] * w)
        values["other"] = tf.reduce_sum(tf.gather(t, [2, 0, 2]) * u[0], 1)[:2] + tf.reduce_sum(w2)
    found.run(tape, values)
    # loss starts from 2 + 5, and the two of `other` from 1 and 3
    np.testing.assert_allclose(values["gradient.x"], [7, 14, 21])
    np.testing.assert_allclose(values["gradient.idle"], [[0]])
    by_w = np.array([7 + 4 + 20, 7 + 4 + 40, 14 + 4 + 60])
    np.testing.assert_allclose(values["alone"], by_w)
    by_u = np.array([[4 + 3 * 0, 5 + 3 * 1], [0, 0]])
    np.testing.assert_allclose(values["flat"], [*by_u.reshape(-1), *by_w])
    assert values["ids"].numpy().tolist() == [2, 0, 1]
    np.testing.assert_allclose(values["rows"], [[1, 2], [3, 6], [0, 0]])


def test_a_table_that_is_read_whole_as_well(tf: Any) -> None:
    t = tf.Variable(np.arange(8.0))  # flat in its layer
    copy, unread = (tf.Variable(np.arange(8.0).reshape(4, 2)) for _ in range(2))
    found = gradients(
        tf,
        {"t": [unread, t, copy]},
        seeds=(Seed("loss", 1.0, None),),
        rows=(RowGradient("t", ("i",), "ids", "rows"),),
    )
    values: dict[str, Any] = {"i": tf.constant([3, 1, 3, -1])}
    with tf.GradientTape(persistent=True) as tape:
        values["loss"] = tf.reduce_sum(t * t) + tf.reduce_sum(tf.gather(copy, [3, 3, 1, 0]))
    found.run(tape, values)
    assert values["ids"].numpy().tolist() == [3, 1]
    np.testing.assert_allclose(values["rows"], [[12 + 2, 14 + 2], [4 + 1, 6 + 1]])


def test_without_a_loss_nothing_flows(tf: Any) -> None:
    w = tf.Variable(np.ones(3))
    found = gradients(tf, {"w": [w]}, dense=(("flat", ("w",)),), received={"w": ("back",)})
    values: dict[str, Any] = {"back": tf.constant([1.0, 2, 3], tf.float64)}
    found.run(None, values)
    np.testing.assert_allclose(values["flat"], [1, 2, 3])


# --- updates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "given", "found"),
    [
        (None, [3.0, 4.0], [3, 4]),
        (10.0, [3.0, 4.0], [3, 4]),
        (5.0, [3.0, 4.0], [3, 4]),
        (2.5, [3.0, 4.0], [1.5, 2]),
        (2.5, [0.0, 0.0], [0, 0]),
    ],
)
def test_no_longer_than_is_allowed(
    tf: Any, limit: float | None, given: list[float], found: list[float]
) -> None:
    optimizer: Any = SimpleNamespace(clip_norm=limit, _tf=tf)
    clipped = KerasOptimizer.clipped(optimizer, tf.constant(given, tf.float32))
    assert clipped.dtype == tf.float32
    np.testing.assert_allclose(clipped, found, rtol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_rows_go_through_what_they_missed(tf: Any, precision: str) -> None:
    """Each through its own steps, of rows of any width; the others stay."""

    def new(given: dict[str, Any]) -> dict[str, Any]:
        assert not given["gradient"].numpy().any() and given["step"].dtype == precision
        return {"weight": given["weight"] * 2 + given["step"], "m": given["m"] - given["step"]}

    optimizer: Any = SimpleNamespace(_tf=tf, _plan=SimpleNamespace(precision=precision), new=new)
    last = np.array([4, 1, 5, 2, 1])
    weight, m = np.arange(10.0).reshape(5, 2).astype(precision), np.ones((5, 2), precision)
    given = {"weight": tf.constant(weight), "m": tf.constant(m)}
    found = KerasOptimizer._replayed(optimizer, given, last, 5)
    for row, start in enumerate(last):
        for step in range(start + 1, 6):
            weight[row], m[row] = weight[row] * 2 + step, m[row] - step
    np.testing.assert_array_equal(found["weight"], weight)
    np.testing.assert_array_equal(found["m"], m)


SPEC = """
party a { key k
  feature i: int -> index(4)
  feature x: float }
party b { key k
  label y: int }
e = embed(a.i, dim = 2)
h = dense(concat(flatten(e), a.x), 3)
fuse at b { logit = dense(h, 1) }
predict y = sigmoid(logit)
objective bce(logit, b.y)
train { optimizer OPTIMIZER
  batch 4 }
"""


@pytest.fixture
def session(tmp_path: Path, request: pytest.FixtureRequest) -> Session:
    text = SPEC.replace("OPTIMIZER", request.param)
    made = compile_source(
        SourceText("keras.vfl", granted(text)), precision="float64", backends=("onnx", "keras")
    )
    made.write(tmp_path / "bundle")
    return Session(tmp_path / "bundle", "keras")


def step(session: Session, *ids: int) -> None:
    count = len(ids)
    session.step({"a.i": np.array(ids, np.int32), "a.x": np.ones((count, 1)), "b.y": np.ones((count, 1))})


@pytest.mark.parametrize("session", ["adam(lr = 0.1)"], indirect=True)
def test_a_place_on_keras(session: Session) -> None:
    """What it stores, keeps and takes back; one update a step; values in the order they came."""
    for ids in ((0, 1), (1,), (2, 2)):
        step(session, *ids)
    engine: Any = session.engines["a"]
    assert set(engine.stored()) == {"e.i"} and "b.y" not in engine.values()
    assert engine.values()[:2] == ["a.i", "a.x"]
    assert engine.get("a.i").dtype == np.int32 and engine.get("a.x").dtype == np.float64
    assert engine.slots()["e.i/last"].tolist() == [1, 2, 3, 0]
    weights, slots = engine.weights(), {n: s.copy() for n, s in engine.slots().items()}
    assert np.abs(engine.stored()["e.i"][:2] - weights["e.i"][:2]).min() > 0
    before = {name: array.copy() for name, array in weights.items()}
    (update,) = {each for each in engine.plan.updates if each in engine._updates._late}
    engine.update(update)  # of a step that was updated
    assert all(np.array_equal(before[name], array) for name, array in engine.weights().items())
    stored = {**weights, **engine.stored()}
    changed = {n: s + 0.5 if s.dtype != np.int64 else s for n, s in slots.items()}
    engine.load(stored, changed, 3)
    assert all(np.array_equal(changed[name], array) for name, array in engine.slots().items())
    for late in (np.full(4, 4), np.full(4, -1)):
        with pytest.raises(Failure, match="has steps that were not done after 3"):
            engine.load(stored, {**changed, "e.i/last": late}, 3)
    for part, what, name in ((0, "weight", "e.i"), (1, "optimizer slot", next(iter(slots)))):
        whole = [stored, slots]
        lacking = {n: array for n, array in whole[part].items() if n != name}
        for wrong in (lacking, {**lacking, name: whole[part][name][:1]}):
            with pytest.raises(Failure, match=f"{what} '{name}' of shape"):
                engine.load(*(wrong if index == part else each for index, each in enumerate(whole)), 3)
    engine.load({name: np.full_like(array, 0.25) for name, array in weights.items()})
    assert all((array == 0.25).all() for array in engine.weights().values())
    assert engine.slots()["e.i/last"].tolist() == [3] * 4
    model = engine.model("predict")
    assert all((variable.numpy() == 0.25).all() for variable in model.variables)


@pytest.mark.parametrize("session", ["adam(lr = 0.1, lazy = true)", "sgd(lr = 0.1)"], indirect=True)
def test_nothing_is_stored_where_no_row_catches_up(session: Session) -> None:
    step(session, 0, 1)
    engine = session.engines["a"]
    assert engine.stored() == {} and not any(name.endswith("/last") for name in engine.slots())
    only = Session(session.bundle.folder, "keras", programs=("predict",)).engines["a"]
    assert only.slots() == only.stored() == {}
    engine.load({name: array + 1 for name, array in engine.weights().items()})


def test_random_values_are_drawn_where_they_are_read(tmp_path: Path) -> None:
    """Those of the seed, the step and the id, with a row for each of the batch; in training only."""
    text = SPEC.replace("OPTIMIZER", "sgd(lr = 0.1)").replace("h = dense(", "h = dropout(dense(")
    text = text.replace("a.x), 3)", "a.x), 3), 0.5)")
    made = compile_source(
        SourceText("keras.vfl", granted(text)), precision="float64", backends=("onnx", "keras")
    )
    made.write(tmp_path / "bundle")
    engine: Any = Session(tmp_path / "bundle", "keras", seed=9).engines["a"]
    (drawn,) = engine.plan.randoms.values()
    inputs = {"a.i": np.zeros(2, np.int32), "a.x": np.ones((2, 1))}
    for step in (1, 2):
        engine.begin("train", inputs, 2, step)
        shape = tuple(2 if size is None else size for size in drawn.shape)
        np.testing.assert_array_equal(engine.get(drawn.id), uniform(9, drawn.id, step, shape, "float64"))
    engine.begin("evaluate", inputs, 2, 3)
    assert drawn.id not in engine.values()


@pytest.mark.parametrize("session", ["sgd(lr = 0.1)"], indirect=True)
@pytest.mark.parametrize("uses", [0, 1, 2])
def test_a_tape_is_kept_where_gradients_are_taken_twice(
    session: Session, uses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what a tape that is kept sees TensorFlow prepares more; what nobody trains has none."""
    engine: Any = session.engines["a"]
    made: list[bool] = []
    monkeypatch.setattr(
        engine, "_tf", SimpleNamespace(GradientTape=lambda persistent: made.append(persistent))
    )
    monkeypatch.setattr(engine, "_gradients", dict.fromkeys(range(uses)))
    for program in ("train", "evaluate", "predict"):
        engine.begin(program, {}, 1, 1)
    assert made == [uses == 2]


@pytest.mark.parametrize("taped", [True, False])
def test_what_crosses_is_watched_where_there_is_a_tape(taped: bool) -> None:
    watched: list[Any] = []

    class Tape:
        def __enter__(self) -> None: ...

        def __exit__(self, *ended: object) -> None: ...

        def watch(self, value: Any) -> None:
            watched.append(value)

    tf = SimpleNamespace(constant=lambda value: f"constant {value}")
    engine: Any = SimpleNamespace(_values={}, _tf=tf, _tape=Tape() if taped else None, _watched={"crossing"})
    for name in ("crossing", "own"):
        KerasEngine.put(engine, name, name)
    assert engine._values == {"crossing": "constant crossing", "own": "constant own"}
    assert watched == (["constant crossing"] if taped else [])
