"""Weights and slots in memory: who lies beside whom, what is seen of it by which name, what is taken back."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vflc_runtime.bundle.plan import (
    DenseUpdate,
    Initializer,
    Optimizer,
    RowsUpdate,
    Slice,
    Slot,
    Weight,
    WeightArray,
)
from vflc_runtime.bundle.plan_rows import ReplaySteps
from vflc_runtime.engines import buffers
from vflc_runtime.engines.buffers import Buffers, row_groups
from vflc_runtime.errors import Failure

ARRAYS = {"d": (2, 2), "e": (3,), "t": (5, 2), "u": (5, 3), "late": (5, 1), "still": (2,)}
TABLES = ("t", "u", "late")
DENSE, ROWS, LATE = (("m", 0.5), ("v", 2.0)), (("m", 0.5), ("n", 4.0)), (("m", 1.0),)


def plan(**ids: str) -> Any:
    """Two dense arrays updated together, tables `t` and `u` that the same ids read, and one that catches up.

    Weight `t` is rows 1 and 2 of its array, and `u2` rows 3 and 4 of another one.
    """

    def optimizer(
        name: str, slots: tuple[tuple[str, float], ...], late: ReplaySteps | None = None
    ) -> Optimizer:
        return Optimizer(name, name, tuple(Slot(*slot) for slot in slots), None, late)

    optimizers = [optimizer("dense", DENSE), optimizer("rows", ROWS), optimizer("late", LATE, ReplaySteps())]
    updates = [DenseUpdate("dense.0", "dense", "gradient.dense", ("d", "e"), 7)] + [
        RowsUpdate(f"rows.{name}", rule, name, ((ids.get(name, "i"), f"gradient.{name}"),), None)
        for name, rule in (("t", "rows"), ("u", "rows"), ("late", "late"))
    ]
    weights = [("d", "d", 0, (2, 2)), ("e", "e", 0, (3,)), ("still", "still", 0, (2,))]
    weights += [
        ("t", "t", 1, (2, 2)),
        ("u", "u", 0, (3, 3)),
        ("u2", "u", 3, (2, 3)),
        ("late", "late", 0, (5, 1)),
    ]
    return SimpleNamespace(
        place="alice",
        precision="float64",
        arrays={name: WeightArray(name, shape, name in TABLES) for name, shape in ARRAYS.items()},
        optimizers={each.id: each for each in optimizers},
        updates={each.id: each for each in updates},
        weights={
            name: Weight(name, shape, Initializer("constant", float(number)), True, array, offset)
            for number, (name, array, offset, shape) in enumerate(weights, 1)
        },
    )


def test_dense_weights_lie_one_after_another() -> None:
    made = Buffers(plan(), 0)
    (home,) = made.dense.values()
    assert home.flat["weight"].tolist() == [1] * 4 + [2] * 3
    assert {name: set(home.flat[name]) for name, _ in DENSE} == {"m": {0.5}, "v": {2.0}}
    assert made.gradients() == {"gradient.dense": home.flat["gradient"]}
    made.weights()["e"][1] = 9
    home.flat["v"][3] = 7
    assert home.flat["weight"].tolist() == [1, 1, 1, 1, 2, 9, 2] and made.array("e").tolist() == [2, 9, 2]
    assert made.slots()["d/v"].tolist() == [[2, 2], [2, 7]]


def test_tables_of_the_same_ids_lie_side_by_side() -> None:
    made = Buffers(plan(), 0)
    both, late = made.rows
    assert both.columns == {"t": slice(0, 2), "u": slice(2, 5)} and both.width == 5
    assert both.kept.shape == (5, 10) and both.slot_widths == {"m": 5, "n": 5} and both.last is None
    assert set(both.slot("m").flat) == {0.5} and set(both.slot("n").flat) == {4.0}
    both.kept[:] = np.arange(10)
    assert both.slot("n")[0].tolist() == [5, 6, 7, 8, 9]
    found = made.slots()
    assert found["t/n"].tolist() == [[5, 6]] * 2 and found["u2/m"].tolist() == [[2, 3, 4]] * 2
    assert late.last is not None and late.last.tolist() == [0] * 5 and late.last.dtype == np.int64
    late.last[:] = np.arange(5)
    assert made.slots()["late/last"].tolist() == [0, 1, 2, 3, 4]
    assert [name for name in found if name.endswith("/last")] == ["late/last"]


@pytest.mark.parametrize(("ids", "groups"), [({}, [2, 1]), ({"u": "j"}, [1, 1, 1])])
def test_who_is_updated_together(ids: dict[str, str], groups: list[int]) -> None:
    assert [len(group) for group in row_groups(plan(**ids))] == groups


def test_a_weight_is_its_rows_of_an_array() -> None:
    made = Buffers(plan(), 0)
    weights = made.weights()
    assert {name: (array.shape, set(array.flat)) for name, array in weights.items()} == {
        "d": ((2, 2), {1}), "e": ((3,), {2}), "still": ((2,), {3}), "t": ((2, 2), {4}),
        "u": ((3, 3), {5}), "u2": ((2, 3), {6}), "late": ((5, 1), {7}),
    }  # fmt: skip
    assert np.shares_memory(weights["u2"], made.array("u")[3:])
    instead = made.weights({"u": np.arange(5.0)[:, None], "d": np.full((2, 2), 8.0)})
    assert instead["u2"].tolist() == [[3], [4]] and set(instead["d"].flat) == {8}
    assert instead["still"] is made.array("still")


def test_what_does_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(self: Buffers) -> None:
        raise MemoryError

    monkeypatch.setattr(Buffers, "_allocate", allocate)
    with pytest.raises(Failure, match="the weights of 'alice' do not fit in memory") as refused:
        Buffers(plan(), 0)
    assert refused.value.code == "VFL0613"


def test_a_slice_of_what_does_not_fit_in_memory() -> None:
    given = plan()
    whole = Slice("w", 10**15, 0)
    given.weights["d"] = replace(given.weights["d"], init=Initializer("uniform", 1.0), slice=whole)
    with pytest.raises(Failure, match="the weights of 'alice' do not fit in memory") as refused:
        Buffers(given, 0)
    assert refused.value.code == "VFL0613"


@pytest.mark.parametrize("lost", ["u2", "u2/n", "late/last"])
def test_nothing_is_taken_back_where_something_is_missing(lost: str) -> None:
    made = Buffers(plan(), 0)
    kinds = [made.weights(), made.slots()]
    given = [{name: array + 1 for name, array in kind.items()} for kind in kinds]
    before = [{name: array.copy() for name, array in kind.items()} for kind in kinds]
    part = next(kind for kind in given if lost in kind)
    whole, what = part[lost], "optimizer slot" if "/" in lost else "weight"
    for wrong in (None, whole[:1]):
        part[lost] = wrong
        if wrong is None:
            del part[lost]
        with pytest.raises(Failure, match=f"{what} '{lost}' of shape .* is not among those saved") as refused:
            made.load(*given, 1)
        assert refused.value.code == "VFL0621"
    for kind, was in zip(kinds, before, strict=True):
        assert all((kind[name] == array).all() for name, array in was.items())
    part[lost] = whole
    made.load(*given, 1)
    assert all(
        (kind[name] == array).all()
        for kind, new in zip(kinds, given, strict=True)
        for name, array in new.items()
    )
    made.load({name: array * 0 for name, array in kinds[0].items()}, None, 1)
    assert not any(array.any() for array in made.weights().values()) and kinds[1]["d/v"].all()


@pytest.mark.parametrize(
    ("last", "fits"),
    [([0, 7], True), ([0, 8], False), ([-1, 7], False), ([0.0, 1.0], False), ([], True)],
)
def test_steps_of_rows_are_those_that_were_done(last: list[float], fits: bool) -> None:
    given = np.array(last, np.int64 if not last or isinstance(last[0], int) else np.float64)
    if fits:
        buffers.check_last("t/last", given, 7)
    else:
        with pytest.raises(Failure, match="'t/last' has steps that were not done after 7") as refused:
            buffers.check_last("t/last", given, 7)
        assert refused.value.code == "VFL0621"
