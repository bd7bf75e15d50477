"""Runs of a population: on the command line, resumed, evaluated, predicted; and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from forked import completed
from population.population_testing import ratings, table
from population.reference import spec
from specs.examples import POPULATIONS, needs_data, prepared, published
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure
from vflc_runtime.events import FellBack, RoundEnded
from vflc_runtime.files import read_tensors
from vflc_runtime.interrupts import Interrupted
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.opened import open_run
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions, TrainResult, train
from vflc_runtime.run.training import TrainingLoop

from vflc.cli.main import run
from vflc.diagnostics import SourceText
from vflc.driver import check_source, compile_source, compile_spec

SETTINGS = "rounds 6  cohort 5  batch 3  keep_local true  metrics rmse, rating_accuracy  evaluate_every 3"


@pytest.fixture
def bundle(tmp_path) -> Path:
    compile_source(SourceText("p.vfl", spec(SETTINGS))).write(tmp_path / "bundle")
    return tmp_path / "bundle"


def trained(bundle: Path, out: Path, **options) -> TrainResult:
    return train(bundle, {"users": table(ratings())}, out, TrainOptions(**options))


@pytest.mark.parametrize("server", ["sgd(1.0)", "adam(0.05)", "sgd(0.5, momentum = 0.9)"])
def test_a_resumed_run_ends_with_the_same_bits(server, tmp_path):
    """What the server's optimizer keeps is part of a checkpoint."""
    bundle = tmp_path / "bundle"
    compile_source(SourceText("p.vfl", spec(f"{SETTINGS}  server {server}"))).write(bundle)
    whole = trained(bundle, tmp_path / "whole")
    trained(bundle, tmp_path / "parts", rounds=2)
    again = trained(None, tmp_path / "parts", rounds=6, resume=True)
    models = [read_tensors(run.folder / "hub" / "model.safetensors")[0] for run in (whole, again)]
    assert all(np.array_equal(models[0][name], models[1][name]) for name in models[0])
    for entry, other in zip(whole.history, again.history, strict=True):
        assert {**entry, "seconds": 0} == {**other, "seconds": 0}
    assert all(whole.metrics[name] == again.metrics[name] for name in ("test", "bytes_sent"))


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ({"epochs": 2}, "VFL0691"),
        ({"threads": 2}, "VFL0691"),
        ({"ledger": Path("ledger")}, "VFL0691"),
        ({"rounds": 0}, "VFL0638"),
        ({"on": "spark"}, "VFL0638"),
        ({"workers": 2}, "VFL0638"),
    ],
)
def test_options_of_other_models_and_out_of_range(bundle, tmp_path, option, code):
    with pytest.raises(Failure) as refused:
        trained(bundle, tmp_path / "run", **option)
    assert refused.value.code == code and next(iter(option)) in refused.value.message
    assert not (tmp_path / "run").exists()


def test_folds_are_refused_before_anything_is_said(bundle, tmp_path, capsys):
    arguments = ["train", str(bundle), "--data", "users=u.csv", "--out", str(tmp_path / "r"), "--folds", "3"]
    assert run(arguments) == 1
    said = capsys.readouterr()
    assert "VFL0691" in said.err and "fold 1" not in said.out + said.err and not (tmp_path / "r").exists()


def test_a_run_that_is_opened_goes_on(bundle, tmp_path):
    """And says of which round its model is, also where only the checkpoint is whole."""
    out, users = trained(bundle, tmp_path / "run", rounds=2).folder, {"users": table(ratings())}
    opened = open_run(out)
    assert opened.folder.which() == "the model after round 2"
    with pytest.raises(Failure, match=r"--epochs does not apply to a model over a population") as refused:
        opened.train(users, TrainOptions(epochs=4))
    assert refused.value.help == "it has --rounds, --cohort, --batch"
    result = opened.train(users, TrainOptions(rounds=3))
    assert [entry["round"] for entry in result.history] == [1, 2, 3]
    assert opened.folder.which() == opened.evaluate(users)["model"] == "the model after round 3"
    again = opened.train(users)
    assert again.history == result.history and again.metrics["rounds"] == 3


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(bundle, tmp_path):
    def press(event: object) -> None:
        if isinstance(event, RoundEnded) and event.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    users, out = {"users": table(ratings())}, tmp_path / "cut"
    with pytest.raises(Interrupted) as stopped:
        train(bundle, users, out, TrainOptions(), press)
    assert stopped.value.step == 2 and open_run(out).folder.which() == "the model after round 2"
    models = [
        read_tensors(run.folder / "hub" / "model.safetensors")[0]
        for run in (trained(None, out, resume=True), trained(bundle, tmp_path / "whole"))
    ]
    assert all(np.array_equal(models[0][name], models[1][name]) for name in models[0])


def flip(file: Path) -> None:
    """One bit, in a file of its own where it was a link."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    file.write_bytes(content)


def test_a_damaged_checkpoint_gives_way_and_none_is_refused(bundle, tmp_path):
    heard: list = []
    users, out = {"users": table(ratings())}, tmp_path / "parts"
    whole = trained(bundle, tmp_path / "whole", checkpoint_rounds=2)
    trained(bundle, out, rounds=4, checkpoint_rounds=2)
    flip(max((out / "checkpoints").iterdir()) / "hub" / "model.safetensors")
    train(None, users, out, TrainOptions(rounds=6, resume=True), heard.append)
    assert [event.to.name[:15] for event in heard if isinstance(event, FellBack)] == ["step-0000000002"]
    models = [read_tensors(run / "hub" / "model.safetensors")[0] for run in (whole.folder, out)]
    assert all(np.array_equal(models[0][name], models[1][name]) for name in models[0])
    before = evaluate(out, users)
    flip(out / "hub" / "model.safetensors")
    assert evaluate(out, users, listen=heard.append) == before
    assert [type(event) for event in heard].count(FellBack) == 2
    shutil.rmtree(out / "checkpoints")
    with pytest.raises(Failure, match="VFL0622"):
        train(None, users, out, TrainOptions(rounds=8, resume=True))
    with pytest.raises(Failure, match="VFL0621"):
        evaluate(out, users)


def test_numbers_that_are_not_finite_are_not_saved(bundle, tmp_path, monkeypatch):
    original = TrainingLoop.save

    def broken(self):
        self.rounds.hub.weights["items"][...] = np.nan
        return original(self)

    monkeypatch.setattr(TrainingLoop, "save", broken)
    with pytest.raises(Failure, match="'items' at 'hub' is not finite") as caught:
        trained(bundle, tmp_path / "run")
    assert caught.value.code == "VFL0611" and not list((tmp_path / "run").rglob("model.safetensors"))


def test_a_run_is_not_resumed_with_other_settings_or_rows(bundle, tmp_path):
    trained(bundle, tmp_path / "run", rounds=1)
    with pytest.raises(Failure, match="started with cohort 5"):
        trained(None, tmp_path / "run", cohort=4, resume=True)
    with pytest.raises(Failure, match="other rows"):
        train(None, {"users": table(ratings(seed=9))}, tmp_path / "run", TrainOptions(resume=True))
    with pytest.raises(Failure, match="already holds a run"):
        trained(bundle, tmp_path / "run")


def test_what_a_run_leaves(bundle, tmp_path):
    result = trained(bundle, tmp_path / "run")
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert {"loss", "rmse", "rating_accuracy"} <= set(metrics["test"]) & set(metrics["train"])
    assert metrics["users"] == {"train": 12, "validation": 1, "test": 1}
    assert [bool(entry["validation"]) for entry in result.history] == [False, False, True] * 2
    manifest = json.loads((result.folder / "bundle" / "manifest.json").read_text())
    assert set(metrics["bytes_sent"]) == {edge["id"] for edge in manifest["edges"]}
    assert all(count > 0 for count in metrics["bytes_sent"].values())
    found = evaluate(result.folder, {"users": table(ratings(seed=8))})
    assert found["users"] == 14 and found["too_few_examples"] == 1 and found["evaluation"]["loss"] > 0


def test_what_a_run_leaves_is_its_owners_alone(bundle, tmp_path):
    """Models, kept local weights, slots, metrics, settings; and predictions."""
    run = trained(bundle, tmp_path / "run", checkpoint_rounds=2, rounds=4).folder
    rows = {"user": ["new"] * 3, "item": [1, 2, 3], "stars": [4.0, None, 2.0]}
    for name in ("rest.csv", "rest.parquet"):
        predict(run, {"users": pa.table(rows)}, run / name)
    written = [f for f in run.rglob("*") if f.is_file() and run / "bundle" not in f.parents]
    assert {"history.jsonl", "run.json", "rest.csv", "rest.parquet"} <= {f.name for f in written}
    assert {f.stat().st_mode & 0o777 for f in written} == {0o600}


def test_a_limit_leaves_no_row_without_its_prediction(tmp_path):
    """It bounds what a user is trained and measured on."""
    compile_source(SourceText("p.vfl", spec("rounds 1  cohort 5  batch 3  limit 2"))).write(
        tmp_path / "bundle"
    )
    run = trained(tmp_path / "bundle", tmp_path / "run").folder
    rows = [("new", item, 3.0 if item < 6 else None) for item in range(9)]
    source = pa.table({name: [row[i] for row in rows] for i, name in enumerate(("user", "item", "stars"))})
    assert predict(run, {"users": source}, tmp_path / "rest.csv") == 3


def test_what_crosses_is_global_rows_and_their_changes(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["population"]["local"] == ["taste", "level"]
    into = {edge["id"]: edge for edge in manifest["edges"] if edge["to"] == "users"}
    assert set(into) == {"items", "levels", "mean"}
    back = {edge["id"]: edge["depends_on"] for edge in manifest["edges"] if edge["to"] == "hub"}
    assert back["items.ids"] == ["users.item"]
    assert back["items.delta"] == back["mean.delta"] == ["users.item", "users.rating"]
    assert {"levels.ids", "levels.delta", "users.examples"} < set(back) and len(back) == 6


def test_unseen_users_are_rebuilt_and_the_rest_predicted(bundle, tmp_path):
    run = trained(bundle, tmp_path / "run", rounds=1).folder
    rows = [("new", 3, 4.0), ("new", 5, None), ("new", 7, 2.0), ("new", 9, None)]
    rows += [
        ("other", 3, None),
        *(("long", item, 1.0 + item % 5 if item < 4 else None) for item in range(20)),
    ]
    names = ("user", "item", "stars")
    source = pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})
    assert predict(run, {"users": source}, tmp_path / "rest.csv") == 19
    made = pa_csv.read_csv(tmp_path / "rest.csv").to_pydict()
    assert made["user"] == ["long"] * 16 + ["new", "new", "other"]
    assert made["item"] == [*range(4, 20), 5, 9, 3]
    assert predict(run, {"users": source}, tmp_path / "best.parquet", top=4) == 12
    best = pq.read_table(tmp_path / "best.parquet").to_pydict()
    assert not set(range(20)) & set(best["item"][:4]) and not {3, 5, 7, 9} & set(best["item"][4:8])
    assert best["rating"][:4] == sorted(best["rating"][:4], reverse=True)
    alone = predict(
        run, {"users": source.filter(pa.compute.equal(source["user"], "new"))}, tmp_path / "a.csv"
    )
    assert alone == 2
    again = pa_csv.read_csv(tmp_path / "a.csv")["rating"].to_pylist()
    assert again == pytest.approx(made["rating"][16:18], rel=1e-5), "no matter who else is there"
    with pytest.raises(Failure, match="nothing is left to predict"):
        predict(run, {"users": source.filter(source["stars"].is_valid())}, tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_who_has_a_row_about_every_item_is_recommended_none(bundle, tmp_path):
    run = trained(bundle, tmp_path / "run", rounds=1).folder
    whole = {"all": [(item, 3.0) for item in range(30)]}
    with pytest.raises(Failure, match="each of the 30 items: nothing is left to recommend") as refused:
        predict(run, {"users": table(whole)}, tmp_path / "none.csv", top=4)
    assert refused.value.code == "VFL0608" and not (tmp_path / "none.csv").exists()
    some = {f"all{n}": whole["all"] for n in range(20)} | {"some": whole["all"][:28]}
    assert predict(run, {"users": table(some)}, tmp_path / "some.csv", top=4) == 2
    assert sorted(pa_csv.read_csv(tmp_path / "some.csv")["item"].to_pylist()) == [28, 29]


def test_all_other_items_are_none_to_recommend(tmp_path):
    text = spec("rounds 1  cohort 5  batch 3").replace("index(30)", "index(29, default = other)")
    compile_source(SourceText("p.vfl", text)).write(tmp_path / "bundle")
    run = trained(tmp_path / "bundle", tmp_path / "run").folder
    given = {"new": [(3, 1.0), (4, 5.0)]}
    assert predict(run, {"users": table(given)}, tmp_path / "best.parquet", top=50) == 27
    assert set(pq.read_table(tmp_path / "best.parquet")["item"].to_pylist()) == {*range(29)} - {3, 4}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"stars": ["good"] * 3}, "VFL0603"),
        ({"item": [1, 2, 30]}, "VFL0604"),
        ({"stars": [1.0, None, 2.0]}, "VFL0610"),
        ({"user": ["a", "", "b"]}, "VFL0616"),
        ({"user": ["a", "b", "c"]}, "VFL0619"),
    ],
)
def test_bad_tables_are_refused_and_nothing_is_written(bundle, tmp_path, changed, code):
    good = {"user": ["a", "a", "b"], "item": [1, 2, 3], "stars": [1.0, 2.0, 3.0]}
    with pytest.raises(Failure) as refused:
        train(bundle, {"users": pa.table({**good, **changed})}, tmp_path / "run")
    assert refused.value.code == code
    assert not (tmp_path / "run").exists()


def test_other_commands_say_that_they_do_not_know_populations(bundle):
    with pytest.raises(Failure, match="a model over a population") as refused:
        open_bundle(bundle)
    assert refused.value.code == "VFL0502"


@pytest.mark.parametrize("name", POPULATIONS)
def test_an_example_learns_its_generated_rows(name, tmp_path):
    sources = prepared(name, tmp_path / "data", "--generate", 12000)
    compile_spec(POPULATIONS[name]).write(tmp_path / "bundle")
    result = train(tmp_path / "bundle", sources, tmp_path / "run", TrainOptions(rounds=12, cohort=20))
    first, last = (result.history[i]["train"]["rmse"] for i in (0, -1))
    assert last < 0.95 * first


def test_the_command_line(tmp_path):
    (tmp_path / "p.vfl").write_text(spec(SETTINGS), "utf-8")
    pq.write_table(table(ratings()), tmp_path / "users.parquet")
    data = ("--data", f"users={tmp_path / 'users.parquet'}")
    done = completed("vflc", "train", tmp_path / "p.vfl", *data, "--out", tmp_path / "run", "--rounds", 3)
    assert done.returncode == 0, done.stderr
    assert "3/3" in done.stdout and "3 rounds" in done.stdout
    assert "were ignored" in done.stdout or "too few" not in done.stdout
    done = completed("vflc", "evaluate", tmp_path / "run", *data, "--json")
    assert json.loads(done.stdout)["users"] == 14
    for wrong in (("--epochs", 3), ("--threads", 2)):
        done = completed("vflc", "train", tmp_path / "p.vfl", *data, "--out", tmp_path / "no", *wrong)
        assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert not (tmp_path / "no").exists()


@needs_data
def test_movielens_reaches_the_published_numbers(tmp_path):
    """The published tutorial's configuration, on average over a few seeds."""
    sources = prepared("fedrecon", tmp_path / "data", "--from", published("fedrecon"))
    compile_spec(POPULATIONS["fedrecon"]).write(tmp_path / "bundle")
    tests = [
        train(tmp_path / "bundle", sources, tmp_path / f"run{seed}", TrainOptions(seed=seed)).metrics["test"]
        for seed in range(3)
    ]
    assert 1.9 <= np.mean([test["loss"] for test in tests]) <= 2.1
    assert np.mean([test["rating_accuracy"] for test in tests]) >= 0.31


@needs_data
def test_movielens_with_better_settings(tmp_path):
    sources = prepared("fedrecon_full", tmp_path / "data", "--from", published("fedrecon_full"))
    compile_spec(POPULATIONS["fedrecon_full"]).write(tmp_path / "bundle")
    metrics = train(tmp_path / "bundle", sources, tmp_path / "run", TrainOptions(rounds=15)).metrics
    assert metrics["test"]["rmse"] < 1.0, "0.95 to 0.98 by seed, and 0.902 after all 200 rounds"


CLASSES = """
population users {
  key user
  feature item: int -> index(30)
  label mood: string -> vocab("bad", "good")
}
party hub {}
local  taste = weight(4) at users
global items = table(30, 4) at hub
logit = dot(taste, lookup(items, users.item))
predict mood = sigmoid(logit)
objective bce(logit, users.mood)
train reconstruct { rounds 1  cohort 5  batch 3 }
release users { to hub, users: item, mood }
"""


def test_keys_keep_their_type_and_classes_are_named(tmp_path):
    compile_source(SourceText("p.vfl", CLASSES)).write(tmp_path / "bundle")
    rng = np.random.default_rng(5)
    users = np.repeat(np.arange(7, dtype=np.int64), 6)
    moods = np.where(rng.random(users.size) < 0.5, "bad", "good").tolist()
    items = rng.integers(0, 30, users.size)
    source = pa.table({"user": users, "item": items, "mood": moods})
    run = train(tmp_path / "bundle", {"users": source}, tmp_path / "run", TrainOptions()).folder
    moods[::6] = [None] * 7
    given = pa.table({"user": users, "item": items, "mood": moods})
    for name, options in (("rest", {}), ("best", {"top": 2})):
        for suffix in (".parquet", ".csv"):
            rows = predict(run, {"users": given}, tmp_path / f"{name}{suffix}", **options)
            read = pq.read_table if suffix == ".parquet" else pa_csv.read_csv
            made = read(tmp_path / f"{name}{suffix}")
            assert made.column_names == ["user", "item", "mood", "mood.good"]
            assert made.schema.field("user").type == pa.int64() and made.num_rows == rows
            likely = np.where(made["mood.good"].to_numpy() > 0.5, "good", "bad").tolist()
            assert made["mood"].to_pylist() == likely


@pytest.mark.parametrize("name", ["user", "item"])
def test_no_prediction_is_called_like_a_column_beside_it(name):
    text = CLASSES.replace("predict mood", f"predict {name}")
    found = check_source(SourceText("p.vfl", text))
    assert [d.code for d in found] == ["VFL0160"]
