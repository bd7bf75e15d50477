"""Parts of protections one by one: what is counted, kept, refused, and how numbers are packed."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from vflc_common.words import PROGRAMS
from vflc_runtime import files
from vflc_runtime.bundle.packing import Packing
from vflc_runtime.bundle.plan_guards import Draw, Guard
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.protect import record, spending
from vflc_runtime.protect.account import Facts, epsilon_of, noise_of, spent
from vflc_runtime.protect.draws import Draws, Labels
from vflc_runtime.protect.guards import DEFECT, Guards
from vflc_runtime.protect.ledger import Entry, Ledger, keys_of, name_of, numbered
from vflc_runtime.protect.marvell import Classes, Noises, measure, solve
from vflc_runtime.protect.masks import Masks, Sums, scale
from vflc_runtime.protect.noise import Noise
from vflc_runtime.protect.wire import Wire, pack, span, unpack

FACTS = Facts(rows=10, train_rows=8, batch=3, epochs=4)


def refused(code: str, call: Any, *arguments: Any, **named: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        call(*arguments, **named)
    assert caught.value.code == code, caught.value.message
    return caught.value


# --- what a noise spends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "visits"), [(None, 4), (0, 0), (1, 1), (3, 1), (4, 2), (12, 4), (13, 4), (400, 4)]
)
def test_how_often_a_row_is_trained_on(steps: int | None, visits: int) -> None:
    assert replace(FACTS, steps=steps).visits == visits
    assert [FACTS.epochs_of(n) for n in (0, 1, 3, 4, 6, 7)] == [0, 1, 1, 2, 2, 3]


GAUSSIAN = {"epsilon": None, "noise": 2.0, "delta": 1e-6, "limit": 100.0}


def test_which_noise_is_taken_or_refused() -> None:
    assert noise_of(GAUSSIAN, 1, FACTS, None) == 2.0, "as it was asked for"
    cost = spent(2.0, 1e-6, 4)
    assert noise_of(GAUSSIAN | {"epsilon": cost * 1.001}, 1, FACTS, None) == 2.0
    where: Any = {"line": 3}
    failure = refused("VFL0672", noise_of, GAUSSIAN | {"epsilon": cost * 0.999}, 1, FACTS, where)
    assert failure.message.startswith("4 epochs with noise of 2") and failure.where == where
    for more, guards, after in (
        ({"passes": 1}, 1, " and 1 pass after"),
        ({"passes": 2}, 1, " and 2 passes after"),
    ):
        failure = refused(
            "VFL0672", noise_of, GAUSSIAN | more | {"epsilon": cost * 1.001}, guards, FACTS, None
        )
        assert after in failure.message
    refused("VFL0672", noise_of, GAUSSIAN | {"epsilon": cost * 1.001}, 2, FACTS, None)
    found = noise_of(GAUSSIAN | {"noise": None, "epsilon": 3.0, "passes": 2}, 2, FACTS, None)
    assert spent(found, 1e-6, 2 * (4 + 2)) == pytest.approx(3.0, rel=1e-4)
    for lacking in ("delta", "limit", "noise"):
        refused("VFL0613", noise_of, GAUSSIAN | {lacking: None}, 1, FACTS, None)
    for wrong in (True, "2", [2.0]):
        refused("VFL0613", noise_of, GAUSSIAN | {"noise": wrong}, 1, FACTS, None)


def test_nothing_moves_nothing() -> None:
    assert epsilon_of(0.0, 1e-6) == 0.0 and epsilon_of(0.1, 1e-6) > 0
    assert spent(1.0, 1e-6, 4) == pytest.approx(epsilon_of(4.0, 1e-6))


# --- the ledger -------------------------------------------------------------------------------------

ROWS = np.arange(4, dtype=np.uint64)
BOB = ("bob", "Age")
ENTRY = Entry("r", "m", "g", "gaussian", "train", name_of(ROWS), 4, (BOB,), 3, 2.0, 0.0, 1e-6, None)


def written(ledger: Ledger, *entries: Entry, limits: Any = (), **sets: Any) -> None:
    keys = {name_of(ROWS): ROWS} | sets
    ledger.change(lambda before: {each.key: each for each in entries}, keys, dict(limits))


def test_squares_add_up_over_messages() -> None:
    assert ENTRY.square == 4 * 3 / 2.0**2 and replace(ENTRY, noise=None).square == 0
    assert ENTRY.key == ("r", "g", "train", name_of(ROWS))


def test_a_run_has_one_delta_and_one_epsilon_whatever_its_programs(tmp_path: Any) -> None:
    ledger = Ledger(tmp_path, "alice")
    pure = replace(ENTRY, noise=None, epsilon=0.5)
    written(ledger, pure, replace(pure, program="evaluate"), replace(pure, guard="h"), replace(pure, run="s"))
    found = ledger.spent(ledger.entries(), BOB, ROWS, {})
    assert (found.epsilon, found.delta) == (pytest.approx(1.5), pytest.approx(3e-6))
    other = ledger.spent(ledger.entries(), ("carol", "Age"), ROWS, {})
    assert (other.epsilon, other.delta) == (0.0, 0.0)


def test_a_limit_holds_of_the_rows_that_are_added_to(tmp_path: Any) -> None:
    ledger, others = Ledger(tmp_path, "alice"), np.arange(4, 8, dtype=np.uint64)
    pure = replace(ENTRY, noise=None, epsilon=1.0, delta=0.0)
    written(ledger, replace(pure, run="a"))
    fresh = replace(pure, run="b", rows=name_of(others))
    written(ledger, fresh, limits={BOB: 1.0}, **{name_of(others): others})
    failure = refused("VFL0684", written, ledger, replace(pure, run="c"), limits={BOB: 1.5})
    assert "cost 1 so far, and with this it would be 2" in failure.message
    assert "at most epsilon 2`" in failure.help
    assert len(ledger.entries()) == 2, "nothing was written"
    written(ledger, replace(pure, run="d"), limits={BOB: 2.0 * (1 + 5e-7), ("carol", "Age"): 0.0})
    told = replace(pure, run="e", reaches=(("carol", "Age"),))
    written(ledger, told, limits={BOB: 0.1})  # who learns of another column spends nothing of this one


def test_sets_of_rows_together(tmp_path: Any) -> None:
    ledger, some = Ledger(tmp_path, "alice"), np.arange(2, 6, dtype=np.uint64)
    written(ledger, ENTRY, **{name_of(some): some})
    assert ledger.rows([name_of(some), name_of(ROWS), name_of(some)]).tolist() == [0, 1, 2, 3, 4, 5]
    assert ledger.rows([]).dtype == np.uint64 and not len(ledger.rows([]))


def test_keys_are_numbers_in_order_and_once() -> None:
    keys = pa.array(["b", "a", "b"])
    first, second, third = numbered(keys)
    assert first == third != second and keys_of(keys).tolist() == sorted({first, second})


@pytest.mark.parametrize(
    "change",
    [
        {"run": 1}, {"count": -1}, {"count": 1.0}, {"messages": True}, {"resumed": -1}, {"resumed": "1"},
        {"epsilon": math.inf}, {"epsilon": -1}, {"delta": 1}, {"delta": -1e-9}, {"noise": 0},
        {"noise": 1e-101}, {"noise": "2"}, {"rows": "a/b"}, {"rows": "a.b"}, {"rows": "a\\b"},
        {"reaches": [["bob"]]}, {"reaches": [["bob", 1]]}, {"more": 1}, {"epsilon": True},
    ],
)  # fmt: skip
def test_what_is_no_entry(change: dict[str, Any], tmp_path: Any) -> None:
    import json

    ledger = Ledger(tmp_path, "alice")
    written(ledger, ENTRY)
    content = json.loads(ledger.path.read_text())
    good = {"resumed": 0, "noise": 1e-100, "epsilon": 1, "delta": 0.5, "count": 0}
    for changes, is_one in ((good, True), (change, False)):
        changed = {**content, "entries": [content["entries"][0] | changes]}
        ledger.path.write_text(json.dumps(changed))
        if is_one:
            assert len(ledger.entries()) == 1
        else:
            refused("VFL0685", ledger.entries)


# --- what runs are charged ----------------------------------------------------------------------------


def manifest(**parts: Any) -> Any:
    return SimpleNamespace(document=parts, model="m")


def test_whom_a_protection_tells_of_what() -> None:
    spends = [
        {"party": "alice", "to": "bob", "name": "Age", "protections": ["g", "h"]},
        {"party": "alice", "to": "hub", "name": "Age", "protections": ["g"]},
        {"party": "bob", "to": "alice", "name": "y", "protections": ["g"]},
    ]
    assert spending._reaches(manifest(spends=spends), "alice") == {"g": (BOB, ("hub", "Age")), "h": (BOB,)}
    assert spending._reaches(manifest(), "alice") == {}


def test_the_least_that_is_granted_in_a_program() -> None:
    grant = {"party": "alice", "to": "bob", "column": "Age", "epsilon": 3.0, "programs": ["train"]}
    grants = [
        grant, grant | {"epsilon": 2.0}, grant | {"epsilon": 4.0}, grant | {"epsilon": None},
        grant | {"epsilon": 1.0, "programs": ["predict"]}, grant | {"party": "carol", "epsilon": 0.5},
        grant | {"column": "Pay"},
    ]  # fmt: skip
    document = manifest(grants=grants)
    assert spending._limits(document, "alice", "train") == {BOB: 2.0, ("bob", "Pay"): 3.0}
    assert spending._limits(document, "alice", "predict") == {BOB: 1.0}
    assert spending._limits(manifest(), "alice", "train") == {}


def test_what_is_drawn_once_is_of_its_draws() -> None:
    kept = {"run": "r", "draws": {"g": "d"}}
    assert spending._called(kept, "g") == ("d", "draws") and spending._called(kept, "h") == ("r", "h")


def test_entries_of_a_run_are_all_there() -> None:
    kept: Any = {"run": "r", "draws": {}}
    evaluated = replace(ENTRY, program="evaluate", messages=9)
    entries = {
        each.key: each for each in (ENTRY, evaluated, replace(ENTRY, guard="h"), replace(ENTRY, run="s"))
    }
    ledger: Any = SimpleNamespace(path="p")
    assert spending._of_run(entries, ledger, kept, {"g": ()}) == [ENTRY]
    assert [e.guard for e in spending._of_run(entries, ledger, kept, {"h": (), "g": ()})] == ["h", "g"]
    refused("VFL0686", spending._of_run, entries, ledger, kept, {"g": (), "x": ()})


@pytest.mark.parametrize(
    ("noise", "messages", "resumed", "counted"),
    [(2.0, 1, 0, 4), (2.0, 1, 3, 7), (2.0, 9, 0, 9), (None, 1, 3, 1)],
)
def test_a_run_that_goes_on_counts_an_epoch_for_each_time_it_went_otherwise(
    noise: float | None, messages: int, resumed: int, counted: int
) -> None:
    found = spending._counted(replace(ENTRY, noise=noise, messages=messages), resumed, FACTS)
    assert (found.messages, found.resumed) == (counted, resumed)


# --- draws that are kept ------------------------------------------------------------------------------

SHIFT = Draw("d", "shift", 1.0, 0.75, 4, "int", None, None)


def labels(keys: list[int], values: list[float], **guard: Any) -> Labels:
    options = guard.pop("options", {})
    about: Any = SimpleNamespace(reads="bob.y", options=options, draws=(replace(SHIFT, **guard), SHIFT))
    return Labels(about, np.array(keys, np.uint64), np.array(values))


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


def guard(*draws: Draw, **changes: Any) -> Guard:
    options = {"clip": 3.0, "noise": 2.0, "delta": 1e-6, "limit": 100.0, "epsilon": None}
    given = Guard(
        "g",
        "gaussian",
        options,
        "forward",
        ("a",),
        ("b",),
        None,
        draws,
        None,
        1,
        ("train",),
        "proven",
        "p",
        None,
    )
    return replace(given, **changes)


NORMAL = Draw("g.noise", "normal", None, 1.0, 0, "float", 2, None)
MEMORY = Draw("g.memory", "memory", None, 1.0, 0, "float", 2, "g.left")


def guards(*each: Guard, train: int = 1) -> Guards:
    step = SimpleNamespace(do="protect", target="g")
    other = SimpleNamespace(do="run", target="g")
    programs = {"train": [other, *[step] * train], "evaluate": [other]}
    plan: Any = SimpleNamespace(
        guards={one.id: one for one in each}, programs=programs, precision="float64", place="alice"
    )
    return Guards(plan, Noise(np.random.default_rng(0).bytes))


class Engine(dict[str, Any]):
    put = dict.__setitem__
    get = dict.__getitem__  # type: ignore[assignment]


def test_what_is_said_of_guards() -> None:
    noisy, compressed = guards(guard(NORMAL)), guards(guard(MEMORY, mechanism="top_k"))
    assert noisy and not guards() and noisy.noisy and not compressed.noisy
    assert noisy.calibrated and not compressed.calibrated
    assert guards(guard(mechanism="marvell", options={"sum_kl": 1.0})).noisy
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
    at, engine = guards(guard(MEMORY, mechanism="top_k")), Engine({"g.left": np.array([[1.0, 2], [3, 4]])})
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
        failure.exit_code == DEFECT == 4
        and f"ran {ran} times in a step, and it must {due}" in failure.message
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
    drawn = guards(guard(replace(SHIFT, width=1), mechanism="label_dp"))
    like = np.ones((10, 1), np.int32)
    drawn.restore(FACTS, {}, {"d": like})
    assert drawn.drawn()["d"] is like
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
    labels = guards(guard(SHIFT, mechanism="label_dp", options={"epsilon": 2.0}))
    labels.prepare(FACTS)
    (entry,) = labels.report({}, 0)
    assert (entry["epsilon"], entry["delta"], entry["labels_drawn"]) == (2.0, 0.0, 10)


@pytest.mark.parametrize(
    ("value", "prior", "fits"),
    [(0.0, None, True), (3.0, None, True), (4.0, None, False), (-1.0, None, False), (0.5, None, False),
     (2.0, [0.2, 0.3, 0.5], True), (3.0, [0.2, 0.3, 0.5], False)],
)  # fmt: skip
def test_labels_are_classes(value: float, prior: Any, fits: bool) -> None:
    at = guards(guard(SHIFT, mechanism="label_dp", reads="y", options={"epsilon": 2.0, "prior": prior}))
    at.prepare(FACTS)
    engine = Engine({"y": np.array([0.0, value])})
    if fits:
        at.apply("g", engine, 2, np.array([0, 1]))
    else:
        assert f"holds {value:g}" in refused("VFL0674", at.apply, "g", engine, 2, np.array([0, 1])).message


def test_rows_of_several_values_are_solved_together() -> None:
    at = guards(
        guard(mechanism="marvell", options={"sum_kl": 1.0}, before=("a", "c"), after=("b", "d"), reads="y")
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
    even = solve(Classes(np.zeros(2), np.eye(2), np.eye(2)), 1.0)
    assert even.along == 0 and not even.direction.any()
    apart = solve(Classes(np.array([3.0, 4]), np.eye(2), np.eye(2)), 1.0)
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
    packing = Packing("top_k", (width,), k=2)
    rows = np.zeros((2, width))
    rows[0, [3, width - 1]], rows[1, 0] = (1.5, -2), 7
    sent = pack(packing, rows)
    assert sent.shape == (2, 2 * (size + 8)) and np.array_equal(unpack("e", packing, sent, "float64"), rows)


@pytest.mark.parametrize("bits", [2, 5, 16])
def test_codes_of_a_grid_by_the_batch_are_points_of_it(bits: int) -> None:
    packing = Packing("quantize", (3,), bits=bits, by="r")
    points = np.linspace(-1, 2, packing.levels + 1)[:, None] * np.ones(3)
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
    by = Packing("quantize", (2,), bits=8, by="r")
    beside = Packing("range", (), by="q")
    wire = Wire({"x": None, "q": by, "r": beside}, Masks("p", {}, "d"), "float64")
    assert wire and not Wire({"x": None}, Masks("p", {}, "d"), "float64")
    assert list(wire.values(["x", "q", "r"])) == ["x", "q"]
    value = np.array([[1.0, 3.0]])
    sent = wire.pack({"x": value, "q": value}, "train")
    assert list(sent) == ["x", "q", "r"] and sent["x"] is value and sent["r"].tolist() == [1, 3]
    assert wire.unpack("q", sent).tolist() == [[1, 3]] and wire.unpack("x", sent) is value


# --- a run's ledger, from its beginning to the passes after it ----------------------------------------


def run_of(tmp_path: Any, epsilon: float = 40.0, programs: tuple[str, ...] = ("train", "evaluate")) -> Any:
    """A manifest, the plans of alice and bob, and their data: noise on alice's h, bob's label is drawn."""
    given = {"party": "alice", "to": "bob", "column": "Age", "epsilon": epsilon, "programs": list(PROGRAMS)}
    noise = {"id": "g", "mechanism": "gaussian", "options": GAUSSIAN, "guards": 1, "programs": list(programs)}
    drawn = {
        "id": "d",
        "mechanism": "label_dp",
        "options": {"epsilon": 2.0},
        "guards": 1,
        "programs": ["train"],
    }
    told = {"party": "alice", "to": "bob", "name": "Age", "protections": ["g"]}
    document = manifest(
        spends=[told, {"party": "bob", "to": "alice", "name": "y", "protections": ["d"]}],
        protections=[noise, drawn],
        grants=[given, given | {"party": "bob", "to": "alice", "column": "y", "epsilon": 2.0}],
    )
    answers: Any = guard(SHIFT, id="d", mechanism="label_dp", reads="bob.y", options={"epsilon": 2.0})
    plans = {
        "alice": SimpleNamespace(tables=("alice",), guards={"g": guard(NORMAL)}),
        "bob": SimpleNamespace(tables=("bob",), guards={"d": answers}),
        "hub": SimpleNamespace(tables=(), guards={}),
    }
    data = SimpleNamespace(keys=pa.array(["a", "b", "c"]), inputs={"bob.y": np.array([[0.0], [1], [1]])})
    kept = spending.begin(tmp_path, document, plans, data, FACTS)  # type: ignore[arg-type]
    return document, plans, data, kept


def messages(tmp_path: Any, party: str = "alice") -> dict[str, tuple[int, int | None]]:
    return {e.program: (e.messages, e.resumed) for e in Ledger(tmp_path, party).entries().values()}


def test_a_run_is_charged_whole_and_its_labels_are_drawn(tmp_path: Any) -> None:
    _, plans, data, kept = run_of(tmp_path)
    assert kept["folder"] == str(tmp_path) and set(kept["draws"]) == {"d"}
    assert messages(tmp_path) == {"train": (4, None)} and messages(tmp_path, "bob") == {"train": (1, None)}
    (bob,) = Ledger(tmp_path, "bob").entries().values()
    assert (bob.run, bob.guard, bob.epsilon, bob.noise) == (kept["draws"]["d"], "draws", 2.0, None)
    (alice,) = Ledger(tmp_path, "alice").entries().values()
    assert (alice.run, alice.guard, alice.noise, alice.delta, alice.count) == (kept["run"], "g", 2.0, 1e-6, 3)
    found = spending.drawn({"ledger": kept}, plans, data)
    assert set(found) == {"bob"} and set(found["bob"]) == {"d"} and len(found["bob"]["d"]) == 3
    assert (
        spending.drawn({}, plans, data)
        == {}
        == spending.drawn({"ledger": {**kept, "draws": {}}}, plans, data)
    )
    again = run_of(tmp_path, epsilon=80.0)[3]
    assert again["draws"] == kept["draws"] and len(Ledger(tmp_path, "bob").entries()) == 1
    costs = spending.costs(tmp_path)
    assert costs["bob"] == [{"to": "alice", "name": "y", "rows": 3, "times": 1, "epsilon": 2.0, "delta": 0.0}]
    assert costs["alice"][0]["times"] == 2 and costs["alice"][0]["epsilon"] == pytest.approx(
        epsilon_of(math.sqrt(8), 2e-6), rel=1e-6
    )
    nothing: Any = manifest(spends=[], protections=[], grants=[])
    assert spending.begin(tmp_path, nothing, plans, data, FACTS) is None


def test_a_run_that_goes_on_is_counted_as_it_goes(tmp_path: Any) -> None:
    document, _, _, kept = run_of(tmp_path)
    parties, settings = ("alice", "bob"), {"ledger": kept}
    spending.go_on(settings, document, parties, FACTS)
    assert messages(tmp_path) == {"train": (4, 0)} and messages(tmp_path, "bob") == {"train": (1, 0)}
    spending.go_on(settings, document, parties, replace(FACTS, epochs=6))
    spending.go_on_otherwise(settings, document, "alice", "g", FACTS)
    spending.go_on_otherwise(settings, document, "alice", "x", FACTS)
    assert messages(tmp_path) == {"train": (6, 1)}
    spending.go_on({}, document, parties, FACTS)
    spending.go_on_otherwise({}, document, "alice", "g", FACTS)
    assert messages(tmp_path) == {"train": (6, 1)}, "a run without a ledger counts nothing"
    for _ in range(9):
        spending.go_on_otherwise(settings, document, "alice", "g", FACTS)
    assert messages(tmp_path) == {"train": (14, 10)}
    with pytest.raises(Failure, match="VFL0688"):
        for _ in range(900):
            spending.go_on_otherwise(settings, document, "alice", "g", replace(FACTS, epochs=900))
    other = {"ledger": {**kept, "run": "another"}}
    refused("VFL0686", spending.go_on, other, document, parties, FACTS)
    refused("VFL0686", spending.go_on_otherwise, other, document, "alice", "g", FACTS)


def test_each_pass_of_a_program_that_has_noise_is_counted(tmp_path: Any) -> None:
    document, _, _, kept = run_of(tmp_path)
    settings, keys = {"ledger": kept}, pa.array(["b", "x"])
    for _ in range(2):
        spending.go_over(settings, document, ("alice", "bob"), "evaluate", keys)
    spending.go_over(settings, document, ("alice", "bob"), "predict", keys)
    spending.go_over({}, document, ("alice", "bob"), "evaluate", keys)
    found = {e.program: (e.messages, e.count, e.rows) for e in Ledger(tmp_path, "alice").entries().values()}
    assert found["evaluate"] == (2, 2, name_of(keys_of(keys))) and found["train"][:2] == (4, 3)
    assert set(found) == {"train", "evaluate"} and len(Ledger(tmp_path, "bob").entries()) == 1
    tight = tmp_path / "tight"
    tight.mkdir()
    document, _, _, kept = run_of(tight, epsilon=spent(2.0, 1e-6, 4) * 1.01)
    refused("VFL0684", spending.go_over, {"ledger": kept}, document, ("alice",), "evaluate", pa.array(["a"]))
    spending.go_over({"ledger": kept}, document, ("alice",), "evaluate", pa.array(["new"]))


# --- what protections keep in a run's folder ----------------------------------------------------------


def test_a_run_keeps_what_it_found_and_the_secret_of_its_noise(tmp_path: Any) -> None:
    (tmp_path / "alice").mkdir()
    made = guard(NORMAL, replace(SHIFT, id="g.shift", width=1))

    def begun(terms: Any = ()) -> Guards:
        at = guards(made)
        record.begin(tmp_path, {"alice": at}, {}, FACTS, {}, {"alice": dict(terms)})
        return at

    def noise(at: Guards) -> bytes:
        engine = Engine()
        at.begin("train")
        at.hear("edge", np.array([1.0]))
        at.apply("g", engine, 2, np.array([0, 1]))
        return bytes(engine["g.noise"].tobytes())

    first, second = begun(), begun()
    assert first.settings() == second.settings() and noise(first) == noise(second) != noise(begun({"x": 1}))
    assert np.array_equal(first.drawn()["g.shift"], second.drawn()["g.shift"])
    first.finish("train", Engine(), 2, None)
    later = begun()
    later.resume(first.counts(), first.memories())
    assert later.replay is not None and first.replay is not None and later.replay.chain == first.replay.chain
    assert noise(later) == noise(first)
    passing = guards(guard(NORMAL, programs=("train", "evaluate")))
    record.apply(tmp_path, {"alice": passing}, "predict")
    assert passing.settings()["g"]["noise"] is None
    record.apply(tmp_path, {"alice": passing}, "evaluate")
    assert passing.settings()["g"]["noise"] == 2.0
    (tmp_path / "bob").mkdir()
    record.begin(tmp_path, {"bob": guards()}, {}, FACTS, {}, {})
    assert not any((tmp_path / "bob").iterdir()), "a place without protections keeps nothing"
    for damage in ({}, {"settings": "{"}, {"settings": "[]"}, {"settings": '{"g": 1}'}):
        path = tmp_path / "alice" / record.FILE
        tensors, _ = files.read_tensors(path)
        path.unlink()
        files.write_tensors(path, tensors, damage)
        refused("VFL0621", begun)


def test_what_is_sent_is_watched_where_noise_is_counted(tmp_path: Any) -> None:
    (tmp_path / "alice").mkdir()
    at, charged = guards(guard(NORMAL)), list[tuple[str, str]]()
    record.begin(tmp_path, {"alice": at}, {}, FACTS, {}, {"alice": {}})

    def step(salt: float) -> None:
        at.begin("train")
        at.hear("edge", np.array([salt]))
        at.apply("g", Engine(), 2, None)

    with record.watching(tmp_path, {"alice": at}, {}, lambda *who: charged.append(who)):
        step(1.0)
        step(1.0)
        assert not charged, "the same again tells nothing new"
        step(2.0)
        step(3.0)
        assert charged == [("alice", "g")], "once for all rows of an epoch"
    assert at.settings()["g"]["resumed"] == 1
    again = guards(guard(NORMAL))
    record.begin(tmp_path, {"alice": again}, {}, FACTS, {}, {"alice": {}})
    assert again.settings()["g"]["resumed"] == 1, "it is written down at once"
    kept = {"ledger": {"folder": str(tmp_path), "run": "r"}}
    assert record._sent(tmp_path, "alice", kept) == tmp_path / "alice-r.sent"
    assert record._sent(tmp_path, "alice", {}) == tmp_path / "alice" / "noise.sent"


def test_what_some_runs_have_cost_together(tmp_path: Any) -> None:
    """Of one ledger the runs that are named, with their draws; ledgers add up."""
    one, two, three = (run_of(tmp_path / name)[3] for name in ("a", "a", "b"))
    each = epsilon_of(2 * math.sqrt(4) / 2.0, 1e-6)
    reach = ("alice", "y")

    def cost(*kept: Any, party: str = "alice", of: Any = BOB) -> tuple[float, float]:
        found = spending.of_runs([{"ledger": each} for each in kept], party, of)
        return found.epsilon, found.delta

    assert cost(one) == cost(two) == (pytest.approx(each), 1e-6)
    both = cost(one, two)
    assert both == (pytest.approx(epsilon_of(2 * math.sqrt(8) / 2.0, 2e-6)), 2e-6)
    apart = cost(one, three)
    assert apart == (pytest.approx(2 * each), 2e-6) and both[0] < apart[0]
    assert cost(one, two, party="bob", of=reach) == (2.0, 0.0), "labels are drawn once in a folder"
    assert cost(one, three, party="bob", of=reach) == (4.0, 0.0)
    assert spending.of_runs([{}, {"ledger": None}], "alice", BOB) == spending.Spent(0.0, 0.0)
    refused("VFL0686", cost, one | {"run": "another"})
    refused("VFL0686", cost, one, of=("carol", "Age"))


def test_noise_in_a_step_follows_from_what_was_heard(tmp_path: Any) -> None:
    """Two guards of a step have noise of their own, and so has a guard that runs twice in it."""
    twice = guards(guard(replace(NORMAL, scale=1.0)), train=2)
    assert twice.bind({}) is None and twice.replay is None, "before the run is known there is none"
    twice.prepare(FACTS)
    assert twice.bind({}) is twice.replay is not None
    assert guards(guard(MEMORY, mechanism="top_k")).bind({}) is None
    seen = []
    for _ in range(2):
        twice.begin("train")
        for _ in range(2):
            engine = Engine()
            twice.apply("g", engine, 3, None)
            seen.append(engine["g.noise"].tobytes())
    assert seen[:2] == seen[2:] and seen[0] != seen[1]
    twice.finish("train", Engine(), 3, None)
    assert twice.counts() == {"g": {"steps": 1, "rows": 3}}
    twice.begin("train")
    engine = Engine()
    twice.apply("g", engine, 3, None)
    assert engine["g.noise"].tobytes() not in seen, "another step"
    with pytest.raises(Failure, match="VFL0621"):
        fresh = guards(guard(NORMAL))
        fresh.prepare(FACTS)
        fresh.bind({}, {})


def test_guards_that_are_solved_keep_their_noise() -> None:
    made = guard(mechanism="marvell", options={"sum_kl": 1.0}, before=("a",), after=("b",), reads="y")
    one, two = guards(made), guards(made)
    gradients = np.random.default_rng(0).normal(size=(6, 2))
    gradients[:3] += 2
    both = np.array([[1.0], [1], [1], [0], [0], [0]])
    for at, labels in ((one, both), (two, 0 * both)):
        at.prepare(FACTS)
        engine = Engine({"a": gradients, "y": labels})
        at.begin("train")
        at.apply("g", engine, 6, None)
        at.finish("train", engine, 6, None)
        assert engine["b"].any() == bool(labels.any())
    assert one.counts()["g"] == {"steps": 1, "rows": 6, "withheld": 0} and two.counts()["g"]["withheld"] == 1
    assert not two.memories() and set(one.memories()) == {
        f"g.{part}" for part in ("axes", "negative", "positive", "direction", "along")
    }
    two.restore(FACTS, {"g": {"epochs": 4}}, {})
    two.resume(one.counts(), one.memories())
    assert two.counts() == one.counts()
    engine = Engine({"a": gradients, "y": 0 * both})
    two.begin("train")
    two.apply("g", engine, 6, None)
    assert engine["b"].any() and two.counts()["g"]["withheld"] == 0
    (entry,) = one.report({}, 1)
    assert entry["withheld"] == 0 and "noise" not in entry and "epsilon" not in entry
