"""Training into a run's folder, evaluating and predicting from it."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import handmade
import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from safetensors.numpy import load_file
from vflc_runtime import events, files
from vflc_runtime.data.batches import Order
from vflc_runtime.errors import Failure
from vflc_runtime.interrupts import Interrupted
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions, train

SCORES = {"loss", "loss.bce", "loss.l2", "auc", "accuracy"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return handmade.write_bundle(tmp_path_factory.mktemp("bundle") / "b", dropout=True)


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return handmade.tables()


@pytest.fixture(scope="module")
def run(bundle: Path, data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    train(bundle, data, out, TrainOptions(epochs=4))
    return out


def state(run: Path) -> dict[str, Any]:
    """Everything that must be the same to the bit: weights, slots, history without its times."""
    last = max((run / "checkpoints").iterdir())
    tensors = {
        f"{file.parent.name}/{file.name}/{name}": tensor.tobytes()
        for file in last.glob("*/*.safetensors")
        for name, tensor in load_file(file).items()
    }
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return {**tensors, "history": [{k: v for k, v in line.items() if k != "seconds"} for line in lines]}


def test_the_run_folder_tells_what_ran(run: Path, bundle: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["rows"] == 197
    assert metrics["train_rows"] + metrics["validation_rows"] == 197
    assert metrics["steps"] == 4 * -(-metrics["train_rows"] // 16)
    assert (
        set(metrics["train"])
        == set(metrics["validation"])
        == {"loss", "loss.bce", "loss.l2", "auc", "accuracy"}
    )
    assert metrics["validation"]["auc"] > 0.7
    assert metrics["bytes_sent"]["gradient.a.v"] == 4 * metrics["train_rows"] * 8
    assert metrics["bytes_sent"]["a.v"] == 4 * 197 * 8
    assert metrics["data"]["parties"]["alice"]["dropped"] == 3
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in history] == [1, 2, 3, 4]
    assert history[-1]["validation"] == metrics["validation"]
    assert history[-1]["train"]["loss"] < history[0]["train"]["loss"]
    assert set(load_file(run / "alice" / "model.safetensors")) == {"a.table", "a.w"}
    assert set(load_file(run / "bob" / "model.safetensors")) == {
        "b.first",
        "b.second",
        "b.w",
        "b.b",
        "b.mean",
    }


def test_one_party_keeps_nothing_of_another(run: Path) -> None:
    for file in run.rglob("*.safetensors"):
        names = load_file(file)
        prefix = "a" if file.parent.name == "alice" else "b" if file.stem != "meter" else "y"
        assert {name.split(".")[0].split("/")[0] for name in names} <= {prefix}
    assert set(json.loads((run / "alice" / "encoders.json").read_text())) == {"alice.x"}
    assert json.loads((run / "bob" / "encoders.json").read_text()) == {}


def test_evaluation_of_the_same_rows_gives_the_same_numbers(run: Path, data: dict[str, Any]) -> None:
    found = evaluate(run, data)
    assert found["rows"] == 197
    assert set(found["evaluation"]) == SCORES
    assert found["evaluation"]["auc"] > 0.75
    one = {party: table.filter(np.array(table["ID"]) == "k50") for party, table in data.items()}
    single = evaluate(run, one)
    assert single["rows"] == 1
    assert single["evaluation"]["auc"] is None


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_predictions_need_no_labels(run: Path, data: dict[str, Any], tmp_path: Path, suffix: str) -> None:
    unlabelled = {"alice": data["alice"], "bob": data["bob"].drop_columns(["score"])}
    out = tmp_path / f"predictions{suffix}"
    assert predict(run, unlabelled, out) == 197
    read = pyarrow.csv.read_csv if suffix == ".csv" else pyarrow.parquet.read_table
    table = read(out)
    assert table.column_names == ["ID", "y"]
    scores = dict(zip(table["ID"].to_pylist(), table["y"].to_pylist(), strict=True))
    assert len(scores) == 197
    assert all(0 < score < 1 for score in scores.values())
    one = {party: table.filter(np.array(table["ID"]) == "k50") for party, table in unlabelled.items()}
    assert predict(run, one, out) == 1
    assert read(out)["y"].to_pylist() == pytest.approx([scores["k50"]], abs=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_predictions_to_an_unknown_format(run: Path, data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        predict(run, data, tmp_path / "p.txt")
    assert (caught.value.code, caught.value.help) == ("VFL0612", "end its name in .csv or .parquet")


def test_a_run_is_never_overwritten_unasked(
    run: Path, bundle: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    before = state(run)
    with pytest.raises(Failure, match="already holds a run") as caught:
        train(bundle, data, run)
    assert caught.value.code == "VFL0624"
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(Failure, match="is not a run"):
        train(bundle, data, tmp_path, TrainOptions(overwrite=True))
    with pytest.raises(Failure):
        train(bundle, {"alice": data["alice"]}, run, TrainOptions(overwrite=True))
    assert state(run) == before


def test_overwriting_when_asked(bundle: Path, data: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(bundle, data, out, TrainOptions(epochs=1))
    train(bundle, data, out, TrainOptions(epochs=2, overwrite=True))
    assert len((out / "history.jsonl").read_text().splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_more_epochs_by_resuming(run: Path, bundle: Path, data: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(bundle, data, out, TrainOptions(epochs=1))
    train(None, data, out, TrainOptions(epochs=4, resume=True))
    assert state(out) == state(run)


def test_steps_then_the_rest(run: Path, bundle: Path, data: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = train(bundle, data, out, TrainOptions(epochs=4, steps=13))
    assert result.metrics["steps"] == 13
    assert result.metrics["ended"] == "all steps are done"
    assert "auc" in result.metrics["validation"]
    train(bundle, data, out, TrainOptions(epochs=4, resume=True))
    assert state(out) == state(run)


@pytest.mark.parametrize(
    ("step", "number"), [(1, signal.SIGINT), (9, signal.SIGTERM), (10, signal.SIGINT), (15, signal.SIGTERM)]
)
def test_ctrl_c_and_sigterm_leave_a_checkpoint(
    run: Path,
    bundle: Path,
    data: dict[str, Any],
    tmp_path: Path,
    step: int,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vflc_runtime.run.session import Session

    original, out = Session.step, tmp_path / "run"

    def stepping(self: Session, inputs: Any, *rows: Any) -> Any:
        if self.steps + 1 == step:
            os.kill(os.getpid(), number)
        return original(self, inputs, *rows)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "step", stepping)
        with pytest.raises(Interrupted) as caught:
            train(bundle, data, out, TrainOptions(epochs=4))
    assert caught.value.step == step
    train(bundle, data, out, TrainOptions(epochs=4, resume=True))
    assert state(out) == state(run)


@pytest.mark.parametrize("given", [{"batch": 8}, {"seed": 9}, {"validation": 0.5}])
def test_a_resumed_run_keeps_its_options(run: Path, data: dict[str, Any], given: dict[str, Any]) -> None:
    with pytest.raises(Failure, match=next(iter(given))) as caught:
        train(None, data, run, TrainOptions(resume=True, **given))
    assert caught.value.code == "VFL0627"


def test_resuming_with_other_data_or_bundle(run: Path, data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Failure, match="other rows"):
        train(None, handmade.tables(seed=1), run, TrainOptions(resume=True))
    other = handmade.write_bundle(tmp_path / "other")
    with pytest.raises(Failure, match="another spec"):
        train(other, data, run, TrainOptions(resume=True))
    with pytest.raises(Failure, match=r"there is no run in .*nothing to continue"):
        train(other, data, tmp_path / "nothing", TrainOptions(resume=True))


def test_nan_names_step_loss_and_value(data: dict[str, Any], tmp_path: Path) -> None:
    bundle = handmade.write_bundle(tmp_path / "b", rate=1e25)
    out, seen = tmp_path / "run", list[Any]()
    with pytest.raises(Failure) as caught:
        train(bundle, data, out, TrainOptions(checkpoint_steps=1), seen.append)
    assert caught.value.code == "VFL0611"
    saved = [event.step for event in seen if isinstance(event, events.Saved)]
    assert f"step {(saved or [0])[-1] + 1}" in caught.value.message
    assert "bce = " in caught.value.message
    kept = "the last checkpoint is kept" if saved else "nothing was saved yet"
    assert str(caught.value.help).endswith(f"; {kept}")
    assert "first value that is not finite is 'loss' at 'bob'" in caught.value.message


def test_a_full_disk_leaves_the_checkpoint_before(
    run: Path, bundle: Path, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    train(bundle, data, out, TrainOptions(epochs=2))
    before = state(out)
    original, calls = files.write_tensors, []

    def full(path: Path, tensors: Any, metadata: Any) -> None:
        calls.append(path)
        if len(calls) == 3:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        original(path, tensors, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_tensors", full)
        with pytest.raises(Failure) as caught:
            train(bundle, data, out, TrainOptions(epochs=4, resume=True))
    assert caught.value.code == "VFL0612"
    assert "No space left" in caught.value.message
    assert state(out) == before
    assert evaluate(out, data)["rows"] == 197
    train(bundle, data, out, TrainOptions(epochs=4, resume=True))
    assert state(out) == state(run)


def test_a_disk_that_refuses_for_real(bundle: Path, data: dict[str, Any], tmp_path: Path) -> None:
    """No file may be longer than 600 bytes: JSON fits, weights do not."""
    out = tmp_path / "run"
    train(bundle, data, out, TrainOptions(epochs=1))
    before = state(out)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        with pytest.raises(Failure) as caught:
            train(None, data, out, TrainOptions(epochs=2, resume=True))
        with pytest.raises(Failure) as second:
            train(bundle, data, tmp_path / "other")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == second.value.code == "VFL0612"
    assert state(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_early_stopping_and_best_weights(data: dict[str, Any], tmp_path: Path) -> None:
    stopping = {"early_stopping": {"metric": "auc", "patience": 2}, "best": True}
    bundle = handmade.write_bundle(tmp_path / "b", epochs=60, **stopping)
    result = train(bundle, data, tmp_path / "run")
    scores = [line["validation"]["auc"] for line in result.history]
    assert result.metrics["ended"] == "early stopping"
    assert len(scores) < 60
    assert scores.index(max(scores)) == len(scores) - 3
    assert result.metrics["best"] == {"metric": "auc", "value": max(scores), "epoch": len(scores) - 2}
    kept = load_file(tmp_path / "run" / "alice" / "model.safetensors")["a.table"]
    train(bundle, data, tmp_path / "short", TrainOptions(epochs=len(scores) - 2))
    expected = load_file(tmp_path / "short" / "alice" / "model.safetensors")["a.table"]
    np.testing.assert_array_equal(kept, expected)


def rare(data: dict[str, Any], held_out: bool) -> dict[str, Any]:
    """The same tables with two positive rows, of which one or none is kept for validation."""
    joined = sorted(set(data["alice"]["ID"].to_pylist()) & set(data["bob"]["ID"].to_pylist()))
    order = Order(len(joined), 3, 0.2, 16, True)
    positive = {joined[order.train[0]], joined[order.held_out[0] if held_out else order.train[1]]}
    scores = pyarrow.array([5 if key in positive else 1 for key in data["bob"]["ID"].to_pylist()])
    return {**data, "bob": data["bob"].set_column(2, "score", scores)}


@pytest.mark.parametrize("best", [True, False])
def test_a_result_that_is_undefined_does_not_count(data: dict[str, Any], tmp_path: Path, best: bool) -> None:
    stopping = {"early_stopping": {"metric": "auc", "patience": 1}, "best": best}
    bundle = handmade.write_bundle(tmp_path / "b", epochs=5, **stopping)
    heard: list[Any] = []
    result = train(bundle, rare(data, False), tmp_path / "run", None, heard.append)
    assert [line["validation"]["auc"] for line in result.history] == [None] * 5, "nothing stops it"
    assert result.metrics["best"] == {"metric": "auc", "value": None, "epoch": 5}
    assert result.metrics["saved"] == {"epoch": 5, "why": "last"}
    undefined = [event for event in heard if isinstance(event, events.Undefined)]
    assert [(event.epoch, event.name, event.validation) for event in undefined] == [
        (epoch, "auc", True) for epoch in range(1, 6)
    ]
    again = train(bundle, rare(data, True), tmp_path / "other", None, heard.append)
    assert all(line["validation"]["auc"] is not None for line in again.history)
    assert again.metrics["best"]["value"] == max(line["validation"]["auc"] for line in again.history)


@pytest.mark.parametrize("best", [True, False])
def test_every_output_says_which_epoch_it_is_of(data: dict[str, Any], tmp_path: Path, best: bool) -> None:
    stopping = {"early_stopping": {"metric": "auc", "patience": 2}, "best": best}
    bundle = handmade.write_bundle(tmp_path / "b", epochs=60, **stopping)
    result = train(bundle, data, tmp_path / "run")
    epoch = result.metrics["best"]["epoch"] if best else len(result.history)
    assert result.metrics["saved"] == {"epoch": epoch, "why": "best" if best else "last"}
    assert result.metrics["validation"] == result.history[epoch - 1]["validation"]
    assert result.metrics["train"] == result.history[epoch - 1]["train"]
    said = evaluate(tmp_path / "run", data)["model"]
    assert said == f"the model of epoch {epoch}, the {'best' if best else 'last'}"


def test_events_tell_the_story(bundle: Path, data: dict[str, Any], tmp_path: Path) -> None:
    seen: list[Any] = []
    train(bundle, data, tmp_path / "run", TrainOptions(epochs=1), seen.append)
    kinds = [type(event).__name__ for event in seen if not isinstance(event, events.Progress)]
    assert kinds == ["Loaded", "EpochStarted", "Saved", "EpochEnded", "Done"]


def test_labels_of_one_class_or_out_of_range(bundle: Path, data: dict[str, Any], tmp_path: Path) -> None:
    scores = pyarrow.array([5] * data["bob"].num_rows)
    bad = {**data, "bob": data["bob"].set_column(2, "score", scores)}
    with pytest.raises(Failure, match="nothing to learn") as caught:
        train(bundle, bad, tmp_path / "run")
    assert caught.value.code == "VFL0617"
    assert not (tmp_path / "run").exists()


def test_an_unsplit_bundle_trains_to_the_same_bits(run: Path, data: dict[str, Any], tmp_path: Path) -> None:
    bundle = handmade.write_bundle(tmp_path / "b", split=False, dropout=True)
    train(bundle, data, tmp_path / "run", TrainOptions(epochs=4))
    joined = load_file(tmp_path / "run" / "all" / "model.safetensors")
    for party in ("alice", "bob"):
        for name, tensor in load_file(run / party / "model.safetensors").items():
            np.testing.assert_array_equal(tensor, joined[name], err_msg=name)


def test_one_process_at_a_time(bundle: Path, data: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"

    def intrude(event: events.Event) -> None:
        if isinstance(event, events.EpochEnded):
            with pytest.raises(Failure, match="another process"):
                train(bundle, data, out, TrainOptions(resume=True))

    train(bundle, data, out, TrainOptions(epochs=1), intrude)


def test_options_of_another_kind_of_model_are_refused(bundle: Path, tmp_path: Path) -> None:
    for option in ({"rounds": 3}, {"cohort": 5}, {"evaluate_every": 1}, {"on": "ray"}):
        with pytest.raises(Failure, match="does not apply to a model over parties") as refused:
            train(bundle, handmade.tables(), tmp_path / "run", TrainOptions(**option))
        assert refused.value.code == "VFL0691" and refused.value.help == "it has --epochs, --batch"
    assert not (tmp_path / "run").exists()
