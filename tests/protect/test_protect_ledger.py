"""A party's ledger: what rows have cost over runs, refused before it is more than is granted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from forked import SERVER
from hypothesis import given, settings
from hypothesis import strategies as st
from party.partying import train_together
from protecting import TWO, bundle
from test_protect_phases import FROZEN, rows
from vflc_runtime.errors import Failure
from vflc_runtime.protect.costs import costs
from vflc_runtime.protect.ledger import Entry, Ledger, keys_of, name_of
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.folds import train_folds
from vflc_runtime.run.predict import predict
from vflc_runtime.run.session import Session
from vflc_runtime.run.train import TrainOptions, train

from vflc.api.search import Search
from vflc.api.tune import Tuning

GUARD = "protect h with gaussian(clip = 1.0, epsilon = 8, passes = {})\n"
GRANTED = FROZEN.replace("to bob: Age, Income", "to bob: Age at most epsilon {}, Income")
ONE = GRANTED.replace("{}", "8") + GUARD.replace("{}", "2")


def run(folder: Path, out: Path, tables: Any = None, **options: Any) -> dict[str, Any]:
    return train(folder, tables or rows(64), out, TrainOptions(threads=1, **options)).metrics


def spent(out: Path, name: str = "Age", party: str = "alice") -> float:
    found = {(each["to"], each["name"]): each["epsilon"] for each in costs(out.parent / "ledger")[party]}
    return found[{"alice": "bob", "bob": "alice"}[party], name]


def again(noise: float, messages: int, delta: float = 1e-6) -> float:
    """ε of so many messages by the accountant of privacy loss distributions."""
    import dp_accounting
    from dp_accounting import pld

    accountant = pld.PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(dp_accounting.GaussianDpEvent(noise / 2), messages)
    return accountant.get_epsilon(delta)


def test_a_run_and_its_passes_are_added_up_and_no_more_begin_than_are_granted(tmp_path, monkeypatch):
    folder, out = bundle(ONE, tmp_path / "b"), tmp_path / "run"
    noise = run(folder, out)["protections"][0]["noise"]
    assert spent(out) == pytest.approx(again(noise, 3), rel=2e-3)
    evaluate(out, rows(64))
    predict(out, rows(64), tmp_path / "p.csv")
    assert spent(out) == pytest.approx(8, rel=1e-6)
    sent = []
    monkeypatch.setattr(Session, "evaluate", lambda *rest: sent.append(rest))
    monkeypatch.setattr(Session, "predict", lambda *rest: sent.append(rest))
    for go in (lambda: evaluate(out, rows(64)), lambda: predict(out, rows(64), tmp_path / "q.csv")):
        with pytest.raises(Failure, match=r"VFL0684.*alice.Age within ε = 8.*cost 8 so far"):
            go()
    assert not sent and spent(out) == pytest.approx(8, rel=1e-6), "what was refused costs nothing"


def test_a_second_run_on_the_same_rows_does_not_begin_and_leaves_nothing(tmp_path):
    folder = bundle(ONE, tmp_path / "b")
    run(folder, tmp_path / "one")
    with pytest.raises(Failure, match="VFL0684"):
        run(folder, tmp_path / "two", seed=5)
    assert not (tmp_path / "two").exists()
    with pytest.raises(Failure, match="VFL0684"):
        run(folder, tmp_path / "one", overwrite=True)
    assert (tmp_path / "one" / "metrics.json").exists(), "what was there stays"


def test_two_runs_fit_where_so_much_is_granted(tmp_path):
    folder = bundle(GRANTED.replace("{}", "12") + GUARD.replace("{}", "0"), tmp_path / "b")
    noise = [run(folder, tmp_path / name)["protections"][0]["noise"] for name in ("one", "two")]
    assert spent(tmp_path / "one") == pytest.approx(again(noise[0], 6, 2e-6), rel=2e-3)
    with pytest.raises(Failure, match="VFL0684"):
        run(folder, tmp_path / "three")


def test_rows_are_known_again_whatever_else_is_new(tmp_path):
    """A copy, a part, new rows beside the old, new values under old keys; and other rows cost nothing yet."""
    folder, tables = bundle(ONE, tmp_path / "b"), rows(64)
    run(folder, tmp_path / "run")

    def changed(keys: np.ndarray) -> dict[str, Any]:
        made = rows(len(keys))
        return {name: table.set_column(0, "ID", pa.array(keys)) for name, table in made.items()}

    for keys in (np.arange(64), np.arange(40), np.arange(63, 127)):
        with pytest.raises(Failure, match="VFL0684"):
            run(folder, tmp_path / "other", changed(keys))
    import pyarrow.parquet as pq

    for name, table in tables.items():
        pq.write_table(table, tmp_path / f"copy-{name}.parquet")
    copies = {name: str(tmp_path / f"copy-{name}.parquet") for name in tables}
    with pytest.raises(Failure, match="VFL0684"):
        run(folder, tmp_path / "other", copies)
    run(folder, tmp_path / "other", changed(np.arange(64, 128)))
    assert spent(tmp_path / "run") < 8


def test_a_run_is_charged_before_it_sends_and_whole(tmp_path, monkeypatch):
    folder, seen = bundle(ONE, tmp_path / "b"), []

    def step(self: Session, *rest: Any) -> None:
        seen.append(spent(tmp_path / "run"))
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "step", step)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "run")
    monkeypatch.undo()
    noise = run(folder, tmp_path / "elsewhere" / "run")["protections"][0]["noise"]
    assert seen == [pytest.approx(again(noise, 3), rel=2e-3)] == [spent(tmp_path / "run")]


def test_a_resumption_that_sends_the_same_costs_nothing_and_a_run_counts_once(tmp_path):
    folder, out = bundle(ONE, tmp_path / "b"), tmp_path / "run"
    noise = run(folder, out, steps=3)["protections"][0]["noise"]
    before = spent(out)
    assert before == pytest.approx(again(noise, 2), rel=2e-3)
    for _ in range(3):
        train(None, rows(64), out, TrainOptions(resume=True, threads=1, steps=4))
        assert spent(out) == before


def test_drawn_labels_are_counted_where_somebody_learns_of_them(tmp_path):
    text = FROZEN + "protect bob.liked with label_dp(epsilon = 2)\n"
    run(bundle(text, tmp_path / "b"), tmp_path / "run")
    assert not (tmp_path / "ledger").exists(), "a frozen bottom gets nothing back"
    text = TWO + "protect bob.liked with label_dp(epsilon = 2)\n"
    folder = bundle(
        text.replace("to alice: Item, liked", "to alice: Item, liked at most epsilon 2"), tmp_path / "c"
    )
    run(folder, tmp_path / "labels")
    assert spent(tmp_path / "labels", "liked", "bob") == 2 == spent(tmp_path / "labels", "Rating", "bob")


@pytest.mark.parametrize("protect", ["noise", "labels"])
def test_a_row_is_not_sent_once_to_train_on_and_once_to_validate_with(protect, tmp_path):
    """Tables to validate with may hold the rows that are trained on: their messages would count as one."""
    answers = TWO.replace("to alice: Item, liked", "to alice: Item, liked at most epsilon 2")
    text = {"noise": ONE, "labels": answers + "protect bob.liked with label_dp(epsilon = 2)\n"}[protect]
    folder, tables = bundle(text, tmp_path / "b"), rows(64)
    same = {name: table.slice(60) for name, table in tables.items()}
    with pytest.raises(Failure, match="VFL0753: 4 rows are both trained on and validated with"):
        run(folder, tmp_path / "run", tables, validation_data=same)
    assert not (tmp_path / "run").exists() and not (tmp_path / "ledger").exists()
    first = {name: table.slice(0, 60) for name, table in tables.items()}
    run(folder, tmp_path / "run", first, validation_data=same)


@pytest.mark.parametrize("what", ["folds", "search"])
def test_folds_and_trials_are_counted_with_the_runs_beside_them(what, tmp_path):
    """What is granted has room for two runs on the same rows, of which one is there."""
    text, tables = GRANTED.replace("{}", "12") + GUARD.replace("{}", "0"), rows(64)
    folder = bundle(text, tmp_path / "b")
    run(folder, tmp_path / "run")
    before, options = spent(tmp_path / "run"), TrainOptions(threads=1)
    with pytest.raises(Failure, match="VFL0684"):
        if what == "folds":
            train_folds(2, tmp_path / what, options, lambda path, own: train(folder, tables, path, own))
        else:
            pytest.importorskip("optuna")
            (tmp_path / "m.vfl").write_text(text)
            batches, options = (Search.of("batch", "8, 16, 32"),), TrainOptions(threads=1, validation=0.25)
            Tuning(tmp_path / "m.vfl", batches, tmp_path / what, options).run(2, tables)
    assert spent(tmp_path / "run") > before and not (tmp_path / what / "ledger").exists()


def test_noisy_weights_and_noisy_messages_are_one_gaussian_together(tmp_path):
    """A bottom that learns by `dp_sgd` behind noise: both spend, and the two are √(μ₁² + μ₂²)."""
    text = TWO.replace("g = dense(concat(alice.Age, alice.Income), 2)\n", "").replace(", g, ", ", ")
    text += "protect h with gaussian(clip = 1.0, noise = 3.0, epsilon = 20, passes = 0)\n"
    text += "protect weights at alice with dp_sgd(clip = 1.0, noise = 2.0, epsilon = 30)\n"
    text += "protect gradients to alice with gaussian(clip = 0.1, noise = 50.0, epsilon = 3)\n"
    run(bundle(text, tmp_path / "b"), tmp_path / "run", epochs=1)
    entries = Ledger(tmp_path / "ledger", "alice").entries()
    found = {(e.mechanism, e.noise, e.messages) for e in entries.values() if ("bob", "Age") in e.reaches}
    assert found == {("gaussian", 3.0, 1), ("dp_sgd", 2.0, 1)}
    both = (1 / 3.0**2 + 1 / 2.0**2) ** -0.5
    assert spent(tmp_path / "run") == pytest.approx(again(both, 1, 2e-6), rel=2e-3)
    labels = Ledger(tmp_path / "ledger", "bob").entries().values()
    assert {(e.mechanism, e.noise) for e in labels if ("alice", "liked") in e.reaches} == {("gaussian", 50.0)}


@pytest.mark.parametrize("messages", [1, 2, 5])
def test_a_ledger_adds_up_what_each_row_has_cost(messages, tmp_path):
    """By hand for three sets of rows that overlap, with noise, without, and both."""
    ledger = Ledger(tmp_path, "alice")
    sets = [np.arange(0, 10), np.arange(5, 15), np.arange(12, 20)]
    keys = {name_of(s.astype(np.uint64)): s.astype(np.uint64) for s in sets}
    for number, name in enumerate(keys):
        noise, epsilon = (None, 0.5) if number == 1 else (4.0, 0.0)
        delta = 0.0 if number == 1 else 1e-6
        reaches = (("bob", "Age"),)
        entry = Entry(
            f"r{number}", "m", "g", "x", "train", name, 10, reaches, messages, noise, epsilon, delta
        )
        ledger.change(lambda before, e=entry: {e.key: e}, {name: keys[name]}, {})
    entries = ledger.entries()
    noisy = again(4.0, messages)
    for row, cost in ((3, noisy), (7, noisy + 0.5), (11, 0.5), (13, noisy + 0.5), (18, noisy), (40, 0)):
        found = ledger.spent(entries, ("bob", "Age"), np.array([row], np.uint64), {})
        assert found.epsilon == pytest.approx(cost, rel=2e-3, abs=1e-9), row
    assert ledger.spent(entries, ("bob", "Income"), np.arange(20).astype(np.uint64), {}).epsilon == 0
    assert ledger.spent(entries, ("carol", "Age"), np.arange(20).astype(np.uint64), {}).epsilon == 0


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.integers(0, 30), min_size=1), st.floats(0.01, 3)), min_size=1, max_size=6)
)
def test_no_order_of_runs_ends_above_the_limit(runs):
    """Whatever is let in, no row ends above what is granted; and what is refused would have been above."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ledger, cost = Ledger(Path(folder), "alice"), np.zeros(31)
        for number, (members, epsilon) in enumerate(runs):
            keys = np.array(sorted(members), np.uint64)
            name = name_of(keys)
            entry = Entry(
                f"r{number}",
                "m",
                "g",
                "label_dp",
                "train",
                name,
                len(keys),
                (("bob", "y"),),
                1,
                None,
                epsilon,
                0.0,
            )
            fits = (cost[sorted(members)] + epsilon).max() <= 4 * (1 + 1e-6)
            try:
                ledger.change(lambda before, e=entry: {e.key: e}, {name: keys}, {("bob", "y"): 4.0})
                assert fits
                cost[sorted(members)] += epsilon
            except Failure as refused:
                assert refused.code == "VFL0684" and not fits
        everything = ledger.spent(ledger.entries(), ("bob", "y"), np.arange(31).astype(np.uint64), {})
        assert everything.epsilon == pytest.approx(cost.max()) and cost.max() <= 4 * (1 + 1e-6)


def _begin(folder: str, number: int) -> str:
    keys = np.arange(8).astype(np.uint64)
    entry = Entry(
        f"r{number}", "m", "g", "label_dp", "train", name_of(keys), 8, (("bob", "y"),), 1, None, 1.0, 0.0
    )
    try:
        Ledger(Path(folder), "alice").change(
            lambda before: {entry.key: entry}, {name_of(keys): keys}, {("bob", "y"): 3.0}
        )
    except Failure as refused:
        return refused.code
    return "begun"


def test_processes_that_begin_at_once_do_not_pass_each_other(tmp_path):
    with SERVER.Pool(4) as pool:
        found = pool.starmap(_begin, [(str(tmp_path), number) for number in range(8)])
    assert sorted(found) == ["VFL0684"] * 5 + ["begun"] * 3


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> str:
    """What a run has written into alice's ledger."""
    folder = tmp_path_factory.mktemp("ledger")
    run(bundle(ONE, folder / "b"), folder / "run")
    return (folder / "ledger" / "alice.json").read_text()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"party": "alice"', '"party": "bob"'),
        lambda text: text.replace('"messages": 3', '"messages": -3'),
        lambda text: text.replace('"messages": 3', '"messages": true'),
        lambda text: text.replace('"delta": 1e-06', '"delta": NaN'),
        lambda text: text.replace('"delta": 1e-06', '"delta": 1.0'),
        lambda text: text.replace('"epsilon": 0.0', '"epsilon": -1e9'),
        lambda text: text.replace('"noise": ', '"noise": 0, "noise_": '),
        lambda text: re.sub('"noise": [0-9.]+', '"noise": 1e-200', text),
        lambda text: re.sub('"noise": [0-9.]+', '"noise": 0', text),
        lambda text: re.sub('"noise": [0-9.]+', '"noise": Infinity', text),
        lambda text: text.replace('"rows": "', '"rows": "../'),
        lambda text: text.replace('"run"', '"walk"'),
    ],
)
def test_a_ledger_that_is_none_is_not_read(damage, written, tmp_path):
    changed = damage(written)
    assert changed != written
    path = tmp_path / "alice.json"
    path.touch(0o600)
    path.write_text(written)
    assert Ledger(tmp_path, "alice").entries()
    path.write_text(changed)
    with pytest.raises(Failure, match="VFL0685"):
        Ledger(tmp_path, "alice").entries()


def test_a_ledger_that_is_none_stops_all(tmp_path):
    folder, out = bundle(ONE, tmp_path / "b"), tmp_path / "run"
    run(folder, out)
    path = tmp_path / "ledger" / "alice.json"
    changed = path.read_text().replace('"messages": 3', '"messages": -3')
    path.write_text(changed)
    for go in (lambda: run(folder, tmp_path / "two"), lambda: evaluate(out, rows(64))):
        with pytest.raises(Failure, match="VFL0685"):
            go()
    assert path.read_text() == changed and not (tmp_path / "two").exists()


def test_rows_that_are_lost_or_changed_stop_all(tmp_path):
    folder = bundle(ONE, tmp_path / "b")
    run(folder, tmp_path / "run")
    (file,) = (tmp_path / "ledger").glob("alice-*.safetensors")
    whole = file.read_bytes()
    for content in (None, whole[:-8] + bytes(8), b""):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(Failure, match="VFL0685"):
            run(folder, tmp_path / "two", rows(80))


def test_a_ledger_that_has_forgotten_a_run_stops_what_follows(tmp_path):
    folder, out = bundle(ONE, tmp_path / "b"), tmp_path / "run"
    run(folder, out, steps=3)
    shutil.rmtree(tmp_path / "ledger")
    for go in (
        lambda: evaluate(out, rows(64)),
        lambda: predict(out, rows(64), tmp_path / "p.csv"),
        lambda: train(None, rows(64), out, TrainOptions(resume=True, threads=1, steps=4)),
    ):
        with pytest.raises(Failure, match="VFL0686"):
            go()


def test_a_ledger_that_cannot_be_written_or_that_others_can_stops_all(tmp_path):
    folder = bundle(ONE, tmp_path / "b")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(Failure, match="VFL0612"):
        run(folder, tmp_path / "run", ledger=blocked / "ledger")
    assert not (tmp_path / "run").exists()
    run(folder, tmp_path / "run")
    for path in (tmp_path / "ledger").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "ledger").stat().st_mode & 0o077 == 0
    (tmp_path / "ledger" / "alice.json").chmod(0o666)
    with pytest.raises(Failure, match="VFL0659"):
        evaluate(tmp_path / "run", rows(64))


def test_a_crash_while_the_ledger_is_written_leaves_the_old_one(tmp_path, monkeypatch):
    folder = bundle(ONE, tmp_path / "b")
    run(folder, tmp_path / "run")
    before = (tmp_path / "ledger" / "alice.json").read_bytes()
    from vflc_runtime import files

    def broken(*_: Any) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(files, "replace_with", broken)
    with pytest.raises(Failure, match="VFL0612"):
        evaluate(tmp_path / "run", rows(64))
    assert (tmp_path / "ledger" / "alice.json").read_bytes() == before


def test_without_a_mechanism_with_a_proof_there_is_no_ledger(tmp_path):
    run(bundle(TWO + "protect gradients to alice with iso(scale = 1.0)\n", tmp_path / "b"), tmp_path / "run")
    assert not (tmp_path / "ledger").exists()
    assert "ledger" not in json.loads((tmp_path / "run" / "run.json").read_text())


def test_between_machines_each_party_keeps_its_own(tmp_path):
    text = ONE + "protect weights at bob with dp_sgd(clip = 1.0, epsilon = 8)\n"
    folder, tables = bundle(text, tmp_path / "b"), rows(64)
    options = TrainOptions(threads=1)
    for result in train_together(folder, tables, tmp_path / "one", options, ledger=tmp_path / "own").values():
        assert not isinstance(result, BaseException), result
    assert {path.name for path in (tmp_path / "own").glob("*.json")} == {"alice.json"}
    found = train_together(folder, tables, tmp_path / "two", options, ledger=tmp_path / "own")
    assert isinstance(found["alice"], Failure) and found["alice"].code == "VFL0684"
    assert isinstance(found["bob"], Exception) and not (tmp_path / "two" / "alice").exists()


def test_keys_are_numbers_of_their_texts():
    keys = keys_of(pa.array(["b", "a", "b", "ä", ""]))
    assert len(keys) == 4 and np.array_equal(keys, keys_of(pa.array(["ä", "", "a", "b"])))
    assert keys.dtype == np.uint64


def test_the_command_shows_what_was_spent_in_eighty_columns(tmp_path):
    from click.testing import CliRunner

    from vflc.cli.commands import vflc

    run(bundle(ONE, tmp_path / "b"), tmp_path / "run")
    shown = CliRunner().invoke(vflc, ["ledger", str(tmp_path / "ledger")]).output
    assert "What alice's rows have cost at most" in shown and max(map(len, shown.splitlines())) <= 80
    assert shown.splitlines()[2].split() == [
        "bob",
        f"{spent(tmp_path / 'run'):.4g}",
        "1e-06",
        "64",
        "1",
        *AGE,
    ]
    told = json.loads(CliRunner().invoke(vflc, ["ledger", str(tmp_path / "ledger"), "--json"]).output)
    assert {(each["to"], each["name"], each["rows"]) for each in told["alice"]} == {
        ("bob", "Age", 64),
        ("bob", "Income", 64),
    }
    (tmp_path / "empty").mkdir()
    assert "no run with" in CliRunner().invoke(vflc, ["ledger", str(tmp_path / "empty")]).output


AGE = ["Age,", "Income"]
