"""Models and tables on TensorFlow: models that read nothing, tables that lie flat in a layer."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vflc_runtime.bundle import plan as bundle_plan
from vflc_runtime.bundle.plan import DenseUpdate, RowsUpdate, Slot, WeightArray
from vflc_runtime.bundle.plan_rows import CatchUp, Newest, Power, ReplaySteps
from vflc_runtime.engines import keras_models, keras_optimizer, keras_setup, keras_updates
from vflc_runtime.engines.keras_models import Forward
from vflc_runtime.errors import Failure

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")


@pytest.fixture
def tf() -> Any:
    return keras_setup.tensorflow().tf


# --- models ------------------------------------------------------------------------------------------


def forward(count: int, inputs: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Forward:
    """A model of so many inputs, whose outputs are their sum and the first, doubled."""

    class Model:
        inputs = tuple(SimpleNamespace(shape=(None,), dtype="float64") for _ in range(count))

        def __call__(self, given: list[Any]) -> list[Any]:
            return [sum(given), 2 * given[0]]

    monkeypatch.setattr(keras_models, "load_model", lambda content, path: Model())
    entry = SimpleNamespace(inputs=inputs, outputs=("sum", "double"), held=())
    plan: Any = SimpleNamespace(
        place="alice",
        graphs={"g": entry},
        graph_content=lambda name: b"",
        graph_path=lambda name: Path(f"alice/{name}.keras"),
    )
    return Forward(plan, "g")


@pytest.mark.parametrize(
    ("inputs", "sums", "doubles"), [(("x", "y"), [5, 7], [2, 4]), (("x",), [1, 2], [2, 4]), ((), [1], [2])]
)
def test_a_model_takes_what_it_reads(
    inputs: tuple[str, ...], sums: list[float], doubles: list[float], tf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that reads nothing has an input of its own, which is 1."""
    values = {"x": tf.constant([1.0, 2], tf.float64), "y": tf.constant([4.0, 5], tf.float64)}
    forward(max(1, len(inputs)), inputs, monkeypatch).run(values)
    assert (values["sum"].numpy().tolist(), values["double"].numpy().tolist()) == (sums, doubles)


@pytest.mark.parametrize(("count", "inputs"), [(1, ("x", "y")), (2, ("x",)), (2, ())])
def test_a_model_of_other_inputs(
    count: int, inputs: tuple[str, ...], tf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Failure, match=r"alice/g\.keras has other inputs than plan\.json declares") as refused:
        forward(count, inputs, monkeypatch)
    assert refused.value.code == "VFL0613"


# --- updates -----------------------------------------------------------------------------------------

ARRAYS = {
    "t": WeightArray("t", (4, 2), True),
    "w": WeightArray("w", (2, 2), False),
    "b": WeightArray("b", (3,), False),
}


class Optimizer:
    """new m = m + gradient, new weight = weight - step · new m; rows that missed steps get 100 for each."""

    def __init__(self, late: object = None, clip_norm: float | None = None) -> None:
        self.late, self.clip_norm, self.slots = late, clip_norm, (Slot("m", 1.0),)
        self.given: list[dict[str, Any]] = []

    def of_size(self, size: int) -> Optimizer:
        return self

    def clipped(self, gradient: Any) -> Any:
        return gradient if self.clip_norm is None else gradient / 2

    def new(self, given: dict[str, Any]) -> dict[str, Any]:
        m = given["m"] + given["gradient"]
        return {"weight": given["weight"] - given["step"] * m, "m": m}

    def caught_up(self, given: dict[str, Any], last: np.ndarray[Any, Any], step: int) -> dict[str, Any]:
        missed = 100.0 * (step - last)[:, None]
        return {name: value + missed for name, value in given.items()}


def place(tf: Any, flat: bool = False) -> tuple[Any, Any]:
    """A plan, and what holds its weights: all are 0."""
    main = {
        name: tf.Variable(np.zeros(each.size if flat and each.table else each.shape))
        for name, each in ARRAYS.items()
    }
    return SimpleNamespace(arrays=ARRAYS, precision="float64"), SimpleNamespace(main=main)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_rows_that_are_named_are_updated(tf: Any, flat: bool, clip_norm: float | None) -> None:
    plan, weights = place(tf, flat)
    update = RowsUpdate("rows", "o", "t", (("ids", "gradient"),), None)
    rows = keras_updates._RowsUpdater(plan, update, Optimizer(None, clip_norm), weights)
    gradient = np.array([[2.0, 4], [6, 8]])
    given = rows.given({"ids": tf.constant([3, 1]), "gradient": tf.constant(gradient)})
    rows.apply(given, tf.constant(2.0, tf.float64))
    m = np.ones((4, 2))
    m[[3, 1]] += gradient / (1 if clip_norm is None else 2)
    assert {name: slot.tolist() for name, slot in rows.slots().items()} == {"t/m": m.tolist()}
    table = weights.main["t"].numpy()
    assert table.shape == ((8,) if flat else (4, 2))
    m[[0, 2]] = 0
    assert table.reshape(4, 2).tolist() == (-2 * m).tolist()
    rows.load({"t/m": np.full((4, 2), 7.0)})
    assert (rows.slots()["t/m"] == 7).all() and rows.last is None


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("all_", [False, True])
def test_rows_that_are_read_catch_up_first(tf: Any, flat: bool, all_: bool) -> None:
    """Those without a gradient have one of 0; all of them where all are read."""
    plan, weights = place(tf, flat)
    reads = None if all_ else ("i", "j")
    update = RowsUpdate("rows", "o", "t", (("ids", "gradient"),), reads)
    rows = keras_updates._RowsUpdater(plan, update, Optimizer(object()), weights)
    assert rows.last is not None
    rows.last[:] = [1, 2, 3, 4]
    values = {"i": tf.constant([[3], [-1]]), "j": tf.constant([0, 3])}
    values |= {"ids": tf.constant([3]), "gradient": tf.constant([[5.0, 6]], tf.float64)}
    rows.catch_up(values, 5)
    read = [0, 1, 2, 3] if all_ else [0, 3]
    missed = np.array([400, 300, 200, 100.0])[read][:, None]
    table = lambda: weights.main["t"].numpy().reshape(4, 2)  # noqa: E731
    before = table()
    assert (before[read] == missed).all() and np.delete(before, read, 0).sum() == 0
    assert rows.last.tolist() == [5 if row in read else row + 1 for row in range(4)]
    rows.apply(rows.given(values), tf.constant(6.0, tf.float64))
    rows.done(6)
    m = np.zeros((4, 2))
    m[read] = missed + 1
    m[3] += [5, 6]
    assert (table() == before - 6 * m).all()
    assert rows.slots()["t/last"].tolist() == [6 if row in read else row + 1 for row in range(4)]
    rows.load({"t/m": np.zeros((4, 2)), "t/last": np.array([6, 6, 5, 6])})
    before = table()
    current = rows.current(7).numpy()
    assert (current == before + np.array([100, 100, 200, 100])[:, None]).all() and (table() == before).all()
    rows.catch_up_all(7)
    assert (table() == current).all() and rows.last.tolist() == [7] * 4


def test_rows_that_go_through_each_step_take_others_along(tf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In turn, two rows at a time, for as many steps as the oldest of the batch had missed."""
    monkeypatch.setattr(keras_updates, "BLOCK_NUMBERS", 4)
    plan, weights = place(tf)
    update = RowsUpdate("rows", "o", "t", (("ids", "gradient"),), ("i",))
    rows = keras_updates._RowsUpdater(plan, update, Optimizer(ReplaySteps()), weights)
    assert rows.last is not None
    for step, read, last in (
        (1, 2, [1, 1, 1, 0]),
        (3, 3, [3] * 4),
        (4, 3, [3, 3, 4, 4]),
        (5, 0, [5, 5, 4, 4]),
    ):
        rows.catch_up({"i": tf.constant([read])}, step)
        assert rows.last.tolist() == last
    current = rows.current(9)
    assert rows.last.tolist() == [9] * 4 and (current.numpy() == 900).all(), "where they lie"


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_dense_weights_are_updated_together(tf: Any, clip_norm: float | None) -> None:
    plan, weights = place(tf)
    update = DenseUpdate("dense", "o", "gradient", ("w", "b"), 7)
    dense = keras_updates._DenseUpdater(plan, update, Optimizer(None, clip_norm), weights)
    gradient = np.arange(7.0)
    dense.apply(dense.given({"gradient": tf.constant(gradient)}), tf.constant(3.0, tf.float64))
    m = 1 + gradient / (1 if clip_norm is None else 2)
    assert {name: slot.tolist() for name, slot in dense.slots().items()} == {
        "w/m": m[:4].reshape(2, 2).tolist(), "b/m": m[4:].tolist(),
    }  # fmt: skip
    assert weights.main["w"].numpy().tolist() == (-3 * m[:4].reshape(2, 2)).tolist()
    assert weights.main["b"].numpy().tolist() == (-3 * m[4:]).tolist()
    dense.load({"b/m": np.arange(3.0), "w/m": np.full((2, 2), 9.0)})
    assert dense.slots()["b/m"].tolist() == [0, 1, 2] and (dense.slots()["w/m"] == 9).all()


# --- all updates of a place --------------------------------------------------------------------------


@pytest.mark.parametrize(("series", "clip_norm"), [(True, None), (False, 2.0)])
def test_an_optimizer_is_its_models_by_name(
    series: bool, clip_norm: float | None, tf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for a step, one for the steps that rows missed, and one for what follows from the steps alone."""
    entries = {
        "new": (("m", "step", "weight", "gradient"), ("new.m", "new.weight")),
        "late": (("missed.a", "weight", "missed.b", "m"), ("new.weight", "new.m")),
        "series": (("step",), ("s", "r")),
    }
    calls = {
        "new": lambda m, step, weight, gradient: [m + gradient, weight - step],
        "late": lambda a, weight, b, m: [weight + a, m * b],
        "series": lambda step: [10 * step, -step],
    }

    def load(content: str, path: Path) -> Any:
        shapes = {"step": (None,) if content == "series" else (), "missed": (None, 1)}
        inputs = tuple(
            SimpleNamespace(shape=shapes.get(name.partition(".")[0]), dtype="float64")
            for name in entries[content][0]
        )

        class Model:
            def __init__(self) -> None:
                self.inputs = inputs

            def __call__(self, given: list[Any]) -> list[Any]:
                return calls[content](*given)

        return Model()

    monkeypatch.setattr(keras_optimizer, "load_model", load)
    graphs = {name: SimpleNamespace(inputs=given, outputs=made) for name, (given, made) in entries.items()}
    plan: Any = SimpleNamespace(
        graphs=graphs,
        precision="float64",
        graph_content=lambda name: name,
        graph_path=lambda name: Path(name),
    )
    missed = (Newest("a", "s") if series else Power("a", 0.25), Power("b", 0.5))
    late = CatchUp("late", "series" if series else None, missed)
    made = keras_optimizer.KerasOptimizer(
        plan, bundle_plan.Optimizer("o", "new", (Slot("m", 0.0),), clip_norm, late)
    )
    assert made.clip_norm == clip_norm and [slot.name for slot in made.slots] == ["m"]
    numbers = {name: tf.constant(value, tf.float64) for name, value in (("m", [1.0]), ("gradient", [4.0]))}
    numbers |= {"weight": tf.constant([9.0], tf.float64), "step": tf.constant(2.0, tf.float64)}
    assert {name: value.numpy().tolist() for name, value in made.new(numbers).items()} == {
        "m": [5],
        "weight": [7],
    }
    rows = {name: tf.constant([[1.0, 2], [3, 4]], tf.float64) for name in ("weight", "m")}
    found = made.caught_up(rows, np.array([3, 1]), 3)
    by = np.array([[30.0], [30]]) if series else np.array([[1.0], [0.25**2]])
    assert found["weight"].numpy().tolist() == (np.array([[1.0, 2], [3, 4]]) + by).tolist()
    assert found["m"].numpy().tolist() == [[1, 2], [0.75, 1]]


class Late:
    """Rows that catch up; says what it is asked for, and gives the step back."""

    def __init__(self, told: list[tuple[str, int]]) -> None:
        self.arrays, self._told = ("t",), told

    def catch_up(self, values: Any, step: int) -> None:
        self._told.append((f"catch up {values}", step))

    def catch_up_all(self, step: int) -> None:
        self._told.append(("settle", step))

    def done(self, step: int) -> None:
        self._told.append(("done", step))

    def current(self, step: int) -> int:
        return step


def test_tables_that_catch_up_have_changed_whenever_they_do() -> None:
    """In their variables: copies in other models are old then."""
    told, changed = list[tuple[str, int]](), list[str]()
    late, weights = Late(told), SimpleNamespace(changed=changed.append)
    dense = SimpleNamespace(given=lambda values: [values], arrays=("w", "b"))
    tf = SimpleNamespace(constant=lambda step, precision: (step, precision))
    calls: list[Any] = []
    updates: Any = SimpleNamespace(
        _tf=tf, _plan=SimpleNamespace(precision="float64"), _weights=weights, _updaters=[dense],
        _late={"rows": late}, _changed=["w", "b", "t"], _call=lambda *given: calls.append(given),
    )  # fmt: skip
    whole = keras_updates.Updates
    whole.catch_up(updates, "rows", "batch", 7)
    assert told == [("catch up batch", 6)] and changed == ["t"]
    whole.apply(updates, "gradients", 7)
    assert calls == [([["gradients"]], (7, "float64"))]
    assert told[1:] == [("done", 7)] and changed[1:] == ["w", "b", "t"]
    assert whole.current(updates, 7) == {"t": 7} and changed[4:] == ["t"]
    whole.settle(updates, 8)
    assert told[2:] == [("settle", 8)] and whole.stored(updates) == ["t"]


@pytest.mark.parametrize("late", [None, object()])
def test_all_weights_of_a_place_are_updated_by_their_rules(
    late: object, tf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_updates, "KerasOptimizer", lambda plan, rule: Optimizer(rule.late))
    plan, weights = place(tf)
    weights.changed = (changed := list[str]()).append
    plan.optimizers = {"o": SimpleNamespace(late=None), "of rows": SimpleNamespace(late=late)}
    plan.updates = {
        "dense": DenseUpdate("dense", "o", "gradient", ("w", "b"), 7),
        "rows": RowsUpdate("rows", "of rows", "t", (("ids", "gradient.t"),), ("ids",)),
    }
    updates = keras_updates.Updates(plan, weights)
    assert updates.stored() == ([] if late is None else ["t"])
    values = {
        "gradient": tf.ones(7, tf.float64),
        "ids": tf.constant([2]),
        "gradient.t": tf.ones((1, 2), tf.float64),
    }
    if late is not None:
        updates.catch_up("rows", values, 1)
    updates.apply(values, 1)
    assert changed[-3:] == ["w", "b", "t"]
    assert (weights.main["w"].numpy() == -2).all() and (weights.main["b"].numpy() == -2).all()
    assert weights.main["t"].numpy().tolist() == [[0, 0], [0, 0], [-2, -2], [0, 0]]
    found = {name: slot.copy() for name, slot in updates.slots().items()}
    assert set(found) == {"w/m", "b/m", "t/m"} | ({"t/last"} if late is not None else set())
    updates.load({name: slot + 1 for name, slot in found.items()})
    assert all((now == found[name] + 1).all() for name, now in updates.slots().items())
