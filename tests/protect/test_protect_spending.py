"""What noise spends, what a ledger keeps of it, and what runs are charged."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from protecting_parts import (
    BOB,
    FACTS,
    GAUSSIAN,
    NORMAL,
    SHIFT,
    guard,
    manifest,
    refused,
)
from vflc_common.words import PROGRAMS
from vflc_runtime.errors import Failure
from vflc_runtime.protect import spending
from vflc_runtime.protect.account import epsilon_of, noise_of, spent
from vflc_runtime.protect.costs import costs as told_costs
from vflc_runtime.protect.costs import of_runs
from vflc_runtime.protect.ledger import Entry, Ledger, Spent, keys_of, name_of, numbered

# --- what a noise spends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "participations"), [(None, 4), (0, 0), (1, 1), (3, 1), (4, 2), (12, 4), (13, 4), (400, 4)]
)
def test_how_often_a_row_is_trained_on(steps: int | None, participations: int) -> None:
    assert replace(FACTS, steps=steps).participations == participations
    assert [FACTS.epochs_of(n) for n in (0, 1, 3, 4, 6, 7)] == [0, 1, 1, 2, 2, 3]


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
    assert "cost 1 so far, and this would make it 2" in failure.message
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


# --- a run's ledger, from its beginning to the passes after it ----------------------------------------


def run_of(tmp_path: Any, epsilon: float = 40.0, programs: tuple[str, ...] = ("train", "evaluate")) -> Any:
    """A manifest, the plans of alice and bob, and their data: noise on alice's h, bob's label is drawn."""
    given = {"party": "alice", "to": "bob", "column": "Age", "epsilon": epsilon, "programs": list(PROGRAMS)}
    noise = {"id": "g", "mechanism": "gaussian", "accounting": "messages", "options": GAUSSIAN}
    noise |= {"guards": 1, "programs": list(programs)}
    drawn = {
        "id": "d",
        "mechanism": "label_dp",
        "accounting": "draw",
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
    answers: Any = guard(SHIFT, id="d", accounting="draw", reads="bob.y", options={"epsilon": 2.0})
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
    costs = told_costs(tmp_path)
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
    spending.go_over(settings, document, ("bob", "alice"), "evaluate", keys)
    counted = [e.messages for e in Ledger(tmp_path, "alice").entries().values() if e.program == "evaluate"]
    assert counted == [3], "also after a party that sends nothing with noise"
    tight = tmp_path / "tight"
    tight.mkdir()
    document, _, _, kept = run_of(tight, epsilon=spent(2.0, 1e-6, 4) * 1.01)
    refused("VFL0684", spending.go_over, {"ledger": kept}, document, ("alice",), "evaluate", pa.array(["a"]))
    spending.go_over({"ledger": kept}, document, ("alice",), "evaluate", pa.array(["new"]))


# --- what protections keep in a run's folder ----------------------------------------------------------


def test_what_some_runs_have_cost_together(tmp_path: Any) -> None:
    """Of one ledger the runs that are named, with their draws; ledgers add up."""
    one, two, three = (run_of(tmp_path / name)[3] for name in ("a", "a", "b"))
    each = epsilon_of(2 * math.sqrt(4) / 2.0, 1e-6)
    reach = ("alice", "y")

    def cost(*kept: Any, party: str = "alice", of: Any = BOB) -> tuple[float, float]:
        found = of_runs([{"ledger": each} for each in kept], party, of)
        return found.epsilon, found.delta

    assert cost(one) == cost(two) == (pytest.approx(each), 1e-6)
    both = cost(one, two)
    assert both == (pytest.approx(epsilon_of(2 * math.sqrt(8) / 2.0, 2e-6)), 2e-6)
    apart = cost(one, three)
    assert apart == (pytest.approx(2 * each), 2e-6) and both[0] < apart[0]
    assert cost(one, two, party="bob", of=reach) == (2.0, 0.0), "labels are drawn once in a folder"
    assert cost(one, three, party="bob", of=reach) == (4.0, 0.0)
    assert of_runs([{}, {"ledger": None}], "alice", BOB) == Spent(0.0, 0.0)
    refused("VFL0686", cost, one | {"run": "another"})
    refused("VFL0686", cost, one, of=("carol", "Age"))
