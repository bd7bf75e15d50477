"""Parts of protections one by one: draws, guards, masks, and how numbers are packed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from protecting_parts import (
    FACTS,
    MEMORY,
    NORMAL,
    SHIFT,
    Engine,
    guard,
    guards,
    labels,
    refused,
)
from vflc_runtime.bundle.packing import Packing
from vflc_runtime.errors import PEER
from vflc_runtime.protect.account import spent
from vflc_runtime.protect.applied import DEFECT
from vflc_runtime.protect.draws import Draws
from vflc_runtime.protect.masks import Masks, Sums, scale
from vflc_runtime.protect.solvers.marvell import ClassStatistics, Noises, measure, solve
from vflc_runtime.protect.wire import Wire, pack, span, unpack

# --- draws that are kept ------------------------------------------------------------------------------


def test_rows_keep_their_draws_by_key_and_label(tmp_path: Any) -> None:
    draws = Draws(tmp_path, "bob")
    first = labels([5, 1, 3], [1, 0, 2])
    name = draws.name(first)
    found = draws.of(name, first)
    assert set(found) == {"0", "1"} and all(0 <= n < 4 for part in found.values() for n in part)
    assert draws.name(labels([3, 5], [2, 1])) == name
    assert draws.of(name, labels([3, 5], [2, 1]))["0"].tolist() == [found["0"][2], found["0"][0]]
    more = labels([9, 1, 5, 2], [0, 0, 1, 1])
    assert draws.name(more) == name
    assert draws.of(name, more)["1"][1:3].tolist() == [found["1"][1], found["1"][0]]
    for other in (
        labels([5, 1], [1, 1]),  # another label: another table
        labels([70, 80], [1, 0]),  # no row in common
        labels([5], [1], keep=0.5),
        labels([5], [1], classes=3),
        labels([5], [1], options={"prior": [0.5, 0.5]}),
    ):
        assert draws.name(other) != name
    refused("VFL0686", draws.of, name, labels([5, 6], [1, 1]))
    refused("VFL0686", draws.of, name, labels([5], [0]))
    refused("VFL0686", draws.of, name, labels([5], [1], keep=0.5))
    refused("VFL0686", draws.of, "0" * 16, first)
    assert Draws(tmp_path, "alice").name(first) != name, "each party has its own"


# --- guards at work -----------------------------------------------------------------------------------


def test_what_is_said_of_guards() -> None:
    noisy, compressed = guards(guard(NORMAL)), guards(guard(MEMORY, accounting=None))
    assert noisy and not guards() and noisy.noisy and not compressed.noisy
    assert noisy.calibrated and not compressed.calibrated
    assert guards(guard(solver="marvell", accounting=None, options={"sum_kl": 1.0})).noisy
    assert noisy.at_work("train") and not noisy.at_work("evaluate") and not compressed.at_work("train")
    assert not noisy.prepared
    noisy.prepare(FACTS)
    assert noisy.prepared and noisy.settings() == {"g": {"noise": 2.0, "epochs": 4, "resumed": 0}}


def test_noise_is_as_wide_as_the_clip_times_what_was_found() -> None:
    at, engine = guards(guard(NORMAL)), Engine()
    with pytest.raises(ValueError, match="not calibrated"):
        at.apply("g", engine, 5, None)
    at.prepare(FACTS)
    at.apply("g", engine, 20_000, None)
    assert engine["g.noise"].shape == (20_000, 2) and engine["g.noise"].std() == pytest.approx(6.0, rel=0.02)
    alone = guards(guard(replace(NORMAL, scale=0.5, width=None)))
    alone.apply("g", engine, 20_000, None)
    assert engine["g.noise"].shape == (20_000,) and engine["g.noise"].std() == pytest.approx(0.5, rel=0.03)
    once = guards(guard(replace(NORMAL, scale=0.5, width=3, once=True)))
    once.apply("g", engine, 7, None)
    assert engine["g.noise"].shape == (3,)
    once.silence()
    once.apply("g", engine, 7, None)
    assert not engine["g.noise"].any()


def test_what_rows_are_owed_is_theirs() -> None:
    at, engine = guards(guard(MEMORY, accounting=None)), Engine({"g.left": np.array([[1.0, 2], [3, 4]])})
    with pytest.raises(ValueError, match="prepare it"):
        at.apply("g", engine, 2, np.array([0, 1]))
    at.prepare(FACTS)
    with pytest.raises(ValueError, match="say which rows"):
        at.apply("g", engine, 2, None)
    for fed in ([[0, 0], [0, 0]], [[1, 2], [3, 4]]):
        at.begin("train")
        at.apply("g", engine, 2, np.array([7, 4]))
        assert engine["g.memory"].tolist() == fed
        at.finish("train", engine, 2, np.array([7, 4]))
    kept = at.memories()["g.memory"]
    assert kept.shape == (10, 2) and kept[7].tolist() == [1, 2] and np.count_nonzero(kept) == 4
    assert at.counts() == {"g": {"steps": 2, "rows": 4}}


@pytest.mark.parametrize(("due", "ran"), [(1, 0), (1, 2), (2, 1), (0, 1)])
def test_a_guard_runs_as_often_as_the_program_says(due: int, ran: int) -> None:
    at = guards(guard(replace(NORMAL, scale=1.0)), train=due)
    at.begin("train")
    for _ in range(ran):
        at.apply("g", Engine(), 2, None)
    failure = refused("VFL0670", at.finish, "train", Engine(), 2, None)
    assert (
        failure.exit_code == DEFECT == 4 and f"ran {ran} times in a step instead of {due}" in failure.message
    )
    at.begin("train")  # what did not come to its end is forgotten
    for _ in range(due):
        at.apply("g", Engine(), 2, None)
    at.finish("train", Engine(), 2, None)
    assert at.counts()["g"] == {"steps": min(due, 1), "rows": 2 * min(due, 1)}
    at.begin("evaluate")
    at.finish("evaluate", Engine(), 2, None)
    assert at.counts()["g"]["steps"] == min(due, 1), "a pass is no step"


def test_a_run_goes_on_with_what_it_found() -> None:
    saved: Any = {"g": {"noise": 5.0, "epochs": 4, "resumed": 2}}
    at = guards(guard(NORMAL, options=guard().options | {"epsilon": 1.0}))
    refused("VFL0621", at.resume, {}, {})
    refused("VFL0671", at.restore, replace(FACTS, epochs=5), saved, {})
    refused("VFL0621", at.restore, FACTS, {}, {})
    at.restore(FACTS, saved, {})
    assert at.settings() == saved
    at.resume({"g": {"steps": 3, "rows": 9}}, {})
    assert at.counts() == {"g": {"steps": 3, "rows": 9}}
    declared = guards(guard(NORMAL))  # no ε is meant: noise as asked for is enough for any epochs
    declared.restore(replace(FACTS, epochs=5), saved, {})
    declared.settle({"g": {"noise": 7.0}})
    assert declared.settings()["g"]["noise"] == 7.0
    refused("VFL0621", declared.settle, {})
    drawn = guards(guard(replace(SHIFT, width=1), accounting="draw"))
    like = np.ones((10, 1), np.int32)
    drawn.restore(FACTS, {}, {"d": like})
    assert drawn.drawn()["d"] is like
    assert drawn.settings() == {"g": {"noise": None, "epochs": 0, "resumed": 0}}, "nothing was said of it"
    for wrong in ({}, {"d": like[:9]}, {"d": like.astype(np.int64)}):
        refused("VFL0621", drawn.restore, FACTS, {}, wrong)
    drawn.take({"d": np.arange(10)})
    assert drawn.drawn()["d"].shape == (10, 1) and drawn.drawn()["d"].dtype == np.int32


def test_what_was_applied_is_reported() -> None:
    at = guards(
        guard(NORMAL, options=guard().options | {"passes": 2}, programs=("train", "evaluate"), releases=3)
    )
    at.prepare(FACTS)
    for _ in range(4):
        at.begin("train")
        at.apply("g", Engine(), 2, None)
        at.finish("train", Engine(), 2, None)
    at.count_again("g")
    (entry,) = at.report({"e": ("g", "x"), "f": ("x",)}, 4)
    assert (entry["edges"], entry["steps"], entry["rows"], entry["noise"]) == (["e"], 4, 8, 2.0)
    assert entry["epsilon_training"] == spent(2.0, 1e-6, 3 * (2 + 1)) and entry["epsilon_pass"] == spent(
        2.0, 1e-6, 3
    )
    assert entry["epsilon"] == spent(2.0, 1e-6, 3 * (2 + 1 + 2)) and entry["passes"] == 2
    assert refused("VFL0670", at.report, {}, 5).exit_code == DEFECT
    short = guards(guard(NORMAL))
    short.prepare(FACTS)
    (entry,) = short.report({}, 0)
    assert "passes" not in entry and entry["epsilon"] == 0
    labels = guards(guard(SHIFT, accounting="draw", options={"epsilon": 2.0}))
    labels.prepare(FACTS)
    (entry,) = labels.report({}, 0)
    assert (entry["epsilon"], entry["delta"], entry["labels_drawn"]) == (2.0, 0.0, 10)


@pytest.mark.parametrize(
    ("value", "prior", "fits"),
    [(0.0, None, True), (3.0, None, True), (4.0, None, False), (-1.0, None, False), (0.5, None, False),
     (2.0, [0.2, 0.3, 0.5], True), (3.0, [0.2, 0.3, 0.5], False)],
)  # fmt: skip
def test_labels_are_classes(value: float, prior: Any, fits: bool) -> None:
    at = guards(guard(SHIFT, accounting="draw", reads="y", options={"epsilon": 2.0, "prior": prior}))
    at.prepare(FACTS)
    engine = Engine({"y": np.array([0.0, value])})
    if fits:
        at.apply("g", engine, 2, np.array([0, 1]))
    else:
        assert f"holds {value:g}" in refused("VFL0674", at.apply, "g", engine, 2, np.array([0, 1])).message


def test_rows_of_several_values_are_solved_together() -> None:
    at = guards(
        guard(
            solver="marvell",
            accounting=None,
            options={"sum_kl": 1.0},
            before=("a", "c"),
            after=("b", "d"),
            reads="y",
        )
    )
    one, two = np.arange(8.0).reshape(4, 2), np.arange(12.0).reshape(4, 3, 1)
    engine = Engine({"a": one, "c": two, "y": np.array([[0.0], [1], [0], [0]])})
    at.apply("g", engine, 4, None)
    assert engine["b"].shape == (4, 2) and engine["d"].shape == (4, 3, 1)
    assert at.counts()["g"]["withheld"] == 0 and engine["b"].any() and engine["d"].any()


# --- noise on gradients of two classes ----------------------------------------------------------------


def test_classes_as_a_batch_shows_them() -> None:
    rows = np.array([[1.0, 0], [3, 0], [0, 2], [0, 4], [0, 6]])
    found = measure(rows, np.array([True, True, False, False, False]))
    assert found is not None and found.difference.tolist() == [2, -4]
    assert found.positive.tolist() == [[1, 0], [0, 0]] and found.negative[1, 1] == pytest.approx(8 / 3)
    assert measure(rows, np.ones(5, bool)) is None and measure(rows, np.zeros(5, bool)) is None


def test_covariances_add_up() -> None:
    noises = Noises(np.eye(2), np.array([1.0, 0]), np.array([0, 2.0]), np.array([0.0, 1]), 3.0)
    assert noises.covariance(noises.negative).tolist() == [[1, 0], [0, 3]]
    assert noises.covariance(noises.positive).tolist() == [[0, 0], [0, 5]]
    even = solve(ClassStatistics(np.zeros(2), np.eye(2), np.eye(2)), 1.0)
    assert even.along == 0 and not even.direction.any()
    apart = solve(ClassStatistics(np.array([3.0, 4]), np.eye(2), np.eye(2)), 1.0)
    assert apart.direction.tolist() == [0.6, 0.8] and apart.along == pytest.approx(
        25 * (1 - 1 / 25), rel=1e-4
    )


# --- masks ----------------------------------------------------------------------------------------------

SUMMED = Packing("masked", (2,), sum="s", members=("a", "b"), places=("p", "q"), range=1024.0)


def test_the_scale_has_room_for_the_sum() -> None:
    for members in (2, 3, 5, 8):
        packing = replace(SUMMED, members=tuple(map(str, range(members))))
        assert 2.0**61 < scale(packing) * packing.range * members <= 2.0**62


def test_places_that_add_need_each_others_keys() -> None:
    masks = Masks("p", {"a": SUMMED}, "digest")
    assert masks.peers == ("q",)
    with pytest.raises(ValueError, match="exchange them"):
        masks.mask("a", SUMMED, np.zeros((1, 2)), "train")
    for publics in ({}, {"q": b"short"}):
        assert refused("VFL0615", masks.agree, publics).exit_code == PEER
    other = Masks("q", {"b": SUMMED}, "digest")
    masks.agree({"q": other.public()})
    other.agree({"p": masks.public()})
    refused("VFL0613", Sums, {"x": SUMMED}, "float64")
    sums, ones = Sums({"a": SUMMED, "b": SUMMED}, "float32"), np.full((1, 2), 1024.0)
    assert not sums.add("a", SUMMED, masks.mask("a", SUMMED, ones, "train")).any()
    total = sums.add("b", SUMMED, other.mask("b", SUMMED, ones, "train"))
    assert total.dtype == np.float32 and total.tolist() == [[2048, 2048]]
    for wrong in (1024.1, -1024.1, math.nan, math.inf):
        failure = refused("VFL0675", masks.mask, "a", SUMMED, np.array([[0.0, wrong]]), "train")
        assert f"a holds {wrong:g}" in failure.message and "range = 8192" in failure.help


# --- on the wire ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "size"), [(2**16, 2), (2**16 + 1, 4)])
def test_positions_are_as_wide_as_a_row_needs(width: int, size: int) -> None:
    packing = Packing("top_k", (width,), {"k": 2})
    rows = np.zeros((2, width))
    rows[0, [3, width - 1]], rows[1, 0] = (1.5, -2), 7
    sent = pack(packing, rows)
    assert sent.shape == (2, 2 * (size + 8)) and np.array_equal(unpack("e", packing, sent, "float64"), rows)


@pytest.mark.parametrize("bits", [2, 5, 16])
def test_codes_of_a_grid_by_the_batch_are_points_of_it(bits: int) -> None:
    packing = Packing("quantize", (3,), {"bits": bits}, by="r")
    points = np.linspace(-1, 2, 2**bits)[:, None] * np.ones(3)
    sent = pack(packing, points)
    found = unpack("e", packing, sent, "float64", span(points))
    assert sent.shape == (len(points), -(-3 * bits // 8)) and np.allclose(found, points, atol=1e-12)
    assert np.array_equal(pack(packing, found), sent)
    for wrong in (None, np.array([2.0, 1.0]), np.array([math.nan, 1.0])):
        refused("VFL0677", unpack, "e", packing, sent, "float64", wrong)
    assert span(np.zeros((0, 3))).tolist() == [0, 0]
    still = np.full((2, 3), 0.25)
    assert np.array_equal(unpack("e", packing, pack(packing, still), "float64", span(still)), still)


def test_what_is_not_packed_goes_as_it_is() -> None:
    by = Packing("quantize", (2,), {"bits": 8}, by="r")
    beside = Packing("range", (), by="q")
    wire = Wire({"x": None, "q": by, "r": beside}, Masks("p", {}, "d"), "float64")
    assert wire and not Wire({"x": None}, Masks("p", {}, "d"), "float64")
    assert list(wire.values(["x", "q", "r"])) == ["x", "q"]
    value = np.array([[1.0, 3.0]])
    sent = wire.pack({"x": value, "q": value}, "train")
    assert list(sent) == ["x", "q", "r"] and sent["x"] is value and sent["r"].tolist() == [1, 3]
    assert wire.unpack("q", sent).tolist() == [[1, 3]] and wire.unpack("x", sent) is value
