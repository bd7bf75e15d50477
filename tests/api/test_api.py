"""`import vflc`: the same runs as the command line's, from tables in memory."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from audit.auditing import untaught
from click.testing import CliRunner
from population.population_testing import ratings, table
from population.reference import spec
from pyarrow import csv, parquet
from vflc_runtime import events

import vflc
from vflc.cli.commands import vflc as command

SPEC = """
party alice {
  key ID
  feature Age: float -> standardize
  feature City: string -> vocab("a", "b", "c")
}
party bob {
  key ID
  column Rating: int
  label liked = Rating > 3
}
h = mlp(concat(alice.Age, embed(alice.City, dim = 4)), [8])
fuse at bob { logit = dense(h, 1) }
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { batch 16  epochs 2  metrics auc }
release alice { to bob: Age, City }
release bob { to alice: liked }
"""
ROWS = 64


@pytest.fixture
def data() -> dict[str, pa.Table]:
    rng = np.random.default_rng(3)
    keys = [f"k{i:03}" for i in range(ROWS)]
    return {
        "alice": pa.table(
            {"ID": keys, "Age": rng.normal(40, 9, ROWS), "City": rng.choice(list("abc"), ROWS)}
        ),
        "bob": pa.table({"ID": keys[::-1], "Rating": rng.integers(1, 6, ROWS)}),
    }


@pytest.fixture
def no_network_is_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    untaught(monkeypatch)


@pytest.fixture
def model() -> vflc.Model:
    return vflc.compile(SPEC)


def test_importing_imports_nothing() -> None:
    code = "import sys, vflc; print(sorted(n for n in sys.modules if n.startswith('vflc')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['vflc']"
    assert {"compile", "load", "Error", "Model", "Run"} <= set(dir(vflc))
    with pytest.raises(AttributeError, match="trian"):
        vflc.trian  # type: ignore[attr-defined]  # noqa: B018


def test_what_a_model_says(model: vflc.Model, tmp_path: Path) -> None:
    assert (model.name, model.parties) == ("model", ["alice", "bob"])
    assert model.crossing["id"] == ["h", "h.gradient"]
    assert model.crossing["to"] == ["bob", "alice"]
    assert [row["column"] for row in model.learned if row["receiver"] == "alice"] == ["Rating", "ID"]
    assert "h.gradient" in repr(model.crossing) and "<td>h.gradient</td>" in model.crossing._repr_html_()
    assert model.crossing.to_arrow().column_names == list(model.crossing.columns)
    assert model.findings == [] and model.graph().startswith("flowchart") and "digraph" in model.graph("dot")
    with pytest.raises(ValueError, match="mermaid"):
        model.graph("png")
    assert (model.save(tmp_path / "bundle") / "manifest.json").is_file()


def test_a_run_is_the_command_lines(model: vflc.Model, data: dict[str, pa.Table], tmp_path: Path) -> None:
    """The same bits, whether tables lie in files or in memory."""
    (tmp_path / "model.vfl").write_text(SPEC)
    given = []
    for party, rows in data.items():
        csv.write_csv(rows, tmp_path / f"{party}.csv")
        given += ["--data", f"{party}={tmp_path / party}.csv"]
    arguments = ["train", str(tmp_path / "model.vfl"), *given, "--out", str(tmp_path / "cli"), "--seed", "4"]
    ended = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert ended.exit_code == 0
    run = model.fit(data, out=tmp_path / "api", seed=4)
    theirs = vflc.load(tmp_path / "cli")
    assert run.weights.keys() == theirs.weights.keys() and len(run.weights) == 5
    for name, weight in run.weights.items():
        assert np.array_equal(weight, theirs.weights[name]), name
    assert run.evaluate(data) == theirs.evaluate({p: str(tmp_path / f"{p}.csv") for p in data})
    assert run.predict(data).equals(theirs.predict(data))
    assert run.metrics["train"] == theirs.metrics["train"]
    assert run.history["epoch"] == [1, 2] and "train.loss" in run.history.columns


def test_going_on_is_training_longer(model: vflc.Model, data: dict[str, pa.Table], tmp_path: Path) -> None:
    model.fit(data, out=tmp_path / "run", epochs=1)
    longer = vflc.load(tmp_path / "run").fit(data, epochs=3)
    whole = model.fit(data, out=tmp_path / "whole", epochs=3)
    assert all(np.array_equal(longer.weights[name], weight) for name, weight in whole.weights.items())
    assert longer.history["epoch"] == [1, 2, 3]


def test_a_temporary_run_lives_as_long_as_it_is_held(model: vflc.Model, data: dict[str, pa.Table]) -> None:
    heard: list[Any] = []
    run = model.fit(data, steps=2, on_event=heard.append)
    folder = run.path
    assert [type(event) for event in heard if isinstance(event, (events.Loaded, events.Done))] == [
        events.Loaded, events.Done,
    ]  # fmt: skip
    further = run.fit(data, epochs=1, steps=None)
    del run
    assert folder.is_dir() and further.path == folder
    del further
    assert not folder.exists()


class Frame:
    """What a library with its own frames gives: an Arrow stream."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(schema)


def test_tables_of_all_kinds(model: vflc.Model, data: dict[str, pa.Table], tmp_path: Path) -> None:
    parquet.write_table(data["alice"], tmp_path / "alice.parquet")
    wanted = model.fit(data, steps=3).weights
    (batch,) = data["bob"].to_batches()
    for alice in (str(tmp_path / "alice.parquet"), tmp_path / "alice.parquet", Frame(data["alice"])):
        found = model.fit({"alice": alice, "bob": batch}, steps=3).weights
        assert all(np.array_equal(found[name], weight) for name, weight in wanted.items())
    with pytest.raises(TypeError, match=r"the table of bob is of type builtins\.int"):
        model.fit({"alice": data["alice"], "bob": 7})
    with pytest.raises(TypeError, match="tables come by party"):
        model.fit([data["alice"]])  # type: ignore[arg-type]


def test_a_mistake_is_one_exception_and_reads_as_in_the_terminal(data: dict[str, pa.Table]) -> None:
    with pytest.raises(vflc.Error) as refused:
        vflc.compile(SPEC.replace("dense(", "dens("))
    assert refused.value.code == "VFL0106" and "did you mean `dense`?" in str(refused.value)
    assert "--> model.vfl:" in str(refused.value) and len(refused.value.diagnostics) == 1
    with pytest.raises(vflc.Error) as missing:
        vflc.compile("nowhere.vfl")
    assert "nowhere.vfl" in str(missing.value)
    with pytest.raises(vflc.Error) as failed:
        vflc.compile(SPEC).fit({**data, "bob": data["bob"].drop_columns(["Rating"])})
    assert failed.value.code == "VFL0602" and "column Rating: int" in str(failed.value)
    with pytest.raises(vflc.Error, match="VFL0614"):
        vflc.load("nowhere")


@pytest.mark.usefixtures("no_network_is_taught")
def test_a_damaged_run_is_the_same_exception(
    model: vflc.Model, data: dict[str, pa.Table], tmp_path: Path
) -> None:
    run = model.fit(data, out=tmp_path / "run", epochs=1, record=1)
    audit = run.audit(data, party="bob")
    with pytest.raises(vflc.Error, match="VFL0612"):
        audit.to_html(tmp_path / "run" / "run.json" / "audit.html")
    (tmp_path / "run" / "history.jsonl").write_text("{")
    with pytest.raises(vflc.Error, match="VFL0621"):
        _ = run.history
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(vflc.Error, match="VFL0614"):
        _ = run.weights
    assert str(tmp_path / "run") in repr(run)


def test_options_that_are_none(model: vflc.Model, data: dict[str, pa.Table]) -> None:
    with pytest.raises(TypeError, match="no option 'rounds' for this model; it has batch, "):
        model.fit(data, rounds=3)
    run = model.fit(data, steps=1)
    with pytest.raises(TypeError, match="`top` does not apply"):
        run.predict(data, top=3)


@pytest.mark.parametrize(
    ("option", "value"),
    [("epochs", "2"), ("epochs", 1.5), ("batch", True), ("validation", "0.1"), ("seed", [1])],
)
def test_an_option_of_another_type(
    model: vflc.Model, data: dict[str, pa.Table], option: str, value: object
) -> None:
    with pytest.raises(TypeError, match=f"{option} is .*: give a"):
        model.fit(data, **{option: value})


def test_a_precision_and_a_backend_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="'float16' is not one of float32, float64"):
        vflc.compile("", precision="float16")
    with pytest.raises(ValueError, match="'onxx' is not one of onnx, keras"):
        vflc.compile("", backends=("onnx", "onxx"))


@pytest.mark.usefixtures("no_network_is_taught")
def test_a_run_that_was_not_recorded_is_trained_again_for_an_audit(
    model: vflc.Model, data: dict[str, pa.Table], tmp_path: Path
) -> None:
    scores = []
    for name, more in (("recorded", {"record": "3epochs"}), ("other", {})):
        run = model.fit(data, out=tmp_path / name, epochs=3, **more)
        scores.append([*map(str, run.audit(data, party="alice").scores.rows)])
    assert scores[0] == scores[1] and scores[0]


def test_a_weight_that_there_is_not(model: vflc.Model, data: dict[str, pa.Table]) -> None:
    weights = model.fit(data, steps=1).weights
    name = next(iter(weights))
    with pytest.raises(KeyError, match=f"did you mean '{name}'"):
        _ = weights[f"{name}s"]


@pytest.mark.usefixtures("no_network_is_taught")
def test_export_and_audit(model: vflc.Model, data: dict[str, pa.Table], tmp_path: Path) -> None:
    run = model.fit(data, out=tmp_path / "run", record="2epochs")
    exported = run.export(tmp_path / "models")
    assert exported.models and all((exported.folder / name).is_file() for name in exported.models)
    audit = run.audit(data, party="alice")
    assert set(audit.scores["party"]) == {"alice"} and "bob.liked" in audit.scores["secret"]
    assert "<html" in audit.to_html(tmp_path / "audit.html").read_text()
    with pytest.raises(ValueError, match="as in 200"):
        model.fit(data, record="two")


def test_a_population_has_the_same_verbs(tmp_path: Path) -> None:
    users = table(ratings(again=False))
    model = vflc.compile(spec("rounds 3  cohort 6  batch 3  metrics rmse"), name="users")
    run = model.fit({"users": users}, out=tmp_path / "run", rounds=2)
    assert vflc.load(tmp_path / "run").fit({"users": users}, rounds=3).history["round"][-1] == 3
    assert {"loss", "rmse"} <= set(run.evaluate({"users": users}))
    recommended = run.predict({"users": users}, top=2)
    assert recommended.num_rows == 2 * 14 and "items" in run.weights
    with pytest.raises(TypeError, match="`threads` does not apply"):
        run.evaluate({"users": users}, threads=2)
    with pytest.raises(TypeError, match="no option 'epochs' for this model"):
        model.fit({"users": users}, epochs=2)
    with pytest.raises(vflc.Error, match="VFL0502"):
        run.audit({"users": users})


STOPPED = """
import os, signal, sys, vflc
from pyarrow import parquet
from vflc_runtime.events import EpochEnded
data = {party: parquet.read_table(f"{party}.parquet") for party in ("alice", "bob")}
def stop(event):
    if isinstance(event, EpochEnded) and event.epoch == 2:
        os.kill(os.getpid(), signal.SIGINT)
try:
    vflc.compile("model.vfl").fit(data, epochs=400, out="run", on_event=stop)
except KeyboardInterrupt as stopped:
    print(stopped)
"""


def test_ctrl_c_leaves_a_checkpoint(model: vflc.Model, data: dict[str, pa.Table], tmp_path: Path) -> None:
    (tmp_path / "model.vfl").write_text(SPEC)
    for party, rows in data.items():
        parquet.write_table(rows, tmp_path / f"{party}.parquet")
    done = subprocess.run(
        [sys.executable, "-c", STOPPED], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert re.search(r"stopped after step (\d+); .*vflc\.load\('run'\)\.fit", done.stdout)
    assert not done.stderr
    further = vflc.load(tmp_path / "run")
    ended = further.history["epoch"][-1] + 2
    whole = model.fit(data, epochs=ended).weights
    found = further.fit(data, epochs=ended).weights
    assert all(np.array_equal(found[name], weight) for name, weight in whole.items())


def test_examples_of_the_page(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 5
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True)
    run([sys.executable, "-m", "vflc", "init", "."], check=True)
    done = run([sys.executable, "-W", "error::DeprecationWarning", "-c", "\n".join(blocks)])
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and (tmp_path / "models").is_dir()


def test_each_row_is_measured_in_one_fold(model: vflc.Model, data: dict[str, pa.Table]) -> None:
    heard: list[Any] = []
    found = model.cross_validate(data, folds=4, epochs=2, seed=1, on_event=heard.append)
    assert found["fold"] == [1, 2, 3, 4, "mean", "deviation"] and found.columns == ("fold", "loss", "auc")
    *folds, mean, deviation = found["loss"]
    assert mean == pytest.approx(np.mean(folds)) and deviation == pytest.approx(np.std(folds, ddof=1))
    assert len(set(folds)) == 4 and sum(isinstance(event, events.Loaded) for event in heard) == 4
    second = model.fit(data, epochs=2, seed=1, validation=0.25, fold=1)
    assert second.metrics["validation"]["loss"] == folds[1] and second.metrics["validation_rows"] == 16


def test_a_run_keeps_its_fold(model: vflc.Model, data: dict[str, pa.Table], tmp_path: Path) -> None:
    run = model.fit(data, epochs=1, validation=0.25, fold=2, out=tmp_path / "run")
    longer = run.fit(data, epochs=2)
    whole = model.fit(data, epochs=2, validation=0.25, fold=2)
    assert longer.history["validation.loss"] == whole.history["validation.loss"]
    with pytest.raises(vflc.Error, match="fold 2") as caught:
        run.fit(data, epochs=3, fold=1)
    assert caught.value.code == "VFL0627"


@pytest.mark.parametrize("options", [{"fold": 4}, {"fold": -1}, {"fold": 1, "validation": 0}])
def test_a_fold_that_there_is_not(
    model: vflc.Model, data: dict[str, pa.Table], options: dict[str, Any]
) -> None:
    with pytest.raises(vflc.Error) as caught:
        model.fit(data, **{"validation": 0.25, **options})
    assert caught.value.code == "VFL0638"


def test_folds_that_make_no_sense(model: vflc.Model, data: dict[str, pa.Table]) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        model.cross_validate(data, folds=1)
    with pytest.raises(TypeError, match="out"):
        model.cross_validate(data, out="run")
    users = vflc.compile(spec("rounds 3"), name="users")
    with pytest.raises(TypeError, match="no option 'fold'"):
        users.cross_validate({"users": table(ratings())})
    for option in ({"validation": 0.1}, {"fold": 1}, {"validation_data": data}):
        with pytest.raises(TypeError, match=f"remove `{next(iter(option))}`"):
            model.cross_validate(data, **option)
    with pytest.raises(TypeError, match=r"folds is 2\.5"):
        model.cross_validate(data, folds=2.5)  # type: ignore[arg-type]
