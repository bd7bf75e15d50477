"""Damage to what a run saved: found, said, and never trained on or predicted from."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import handmade
import numpy as np
import pytest
from safetensors.numpy import load_file
from test_train import state
from vflc_runtime import events, files
from vflc_runtime.errors import Failure
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.opened import open_run
from vflc_runtime.run.predict import predict
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.train import TrainOptions, train
from vflc_runtime.run.trained import trained_session

MORE = TrainOptions(epochs=4, resume=True)


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return handmade.tables()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> Path:
    """A bundle, a run of three epochs, and the same run with a fourth."""
    folder = tmp_path_factory.mktemp("checkpoints")
    handmade.write_bundle(folder / "b", dropout=True)
    for epochs in (3, 4):
        train(folder / "b", data, folder / f"epochs-{epochs}", TrainOptions(epochs=epochs))
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "epochs-3", tmp_path / "run"))


def newest(run: Path) -> Path:
    return max((run / "checkpoints").iterdir())


def flip(file: Path) -> None:
    """One bit in the middle. The file may be linked from elsewhere, which stays as it is."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.unlink()
    file.write_bytes(content)


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[: len(content) // 2])


FILES = (
    "checkpoint.json", "SHA256SUMS", "alice/model.safetensors", "alice/slots.safetensors",
    "bob/model.safetensors", "bob/slots.safetensors",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "damage"),
    [*((name, flip) for name in FILES), *product(FILES[:3], (cut, Path.unlink))],
)
def test_the_one_before_a_damaged_checkpoint_is_taken(
    made: Path, run: Path, data: dict[str, Any], name: str, damage: Callable[[Path], None]
) -> None:
    damaged, before = newest(run), sorted((run / "checkpoints").iterdir())[-2]
    damage(damaged / name)
    heard: list[Any] = []
    train(None, data, run, MORE, heard.append)
    (fell,) = [event for event in heard if isinstance(event, events.FellBack)]
    assert fell.to == before and str(damaged / Path(name).parent) in fell.what
    (resumed,) = [event for event in heard if isinstance(event, events.Resumed)]
    assert (resumed.epoch, state(run)) == (3, state(made / "epochs-4"))


def test_a_file_that_was_not_written_is_damage(made: Path, run: Path, data: dict[str, Any]) -> None:
    """It would be loaded as weights of another kind."""
    model = newest(run) / "alice" / "model.safetensors"
    shutil.copy(model, model.with_name("best.safetensors"))
    train(None, data, run, MORE)
    assert state(run) == state(made / "epochs-4")


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_nothing_is_begun_anew_over_damage(
    run: Path, data: dict[str, Any], damage: Callable[[Path], None]
) -> None:
    for checkpoint in (run / "checkpoints").iterdir():
        damage(checkpoint / "bob" / "slots.safetensors")
    before = (run / "bob" / "model.safetensors").read_bytes()
    with pytest.raises(Failure, match="there is no earlier checkpoint") as caught:
        train(None, data, run, MORE)
    assert caught.value.code == "VFL0621"
    assert (run / "bob" / "model.safetensors").read_bytes() == before
    assert evaluate(run, data)["rows"] == 197, "the model is whole"


@pytest.mark.parametrize(
    "clean", [lambda p: shutil.rmtree(p), lambda p: [shutil.rmtree(c) for c in p.iterdir()]]
)
def test_a_run_without_checkpoints_does_not_begin_anew(
    run: Path, data: dict[str, Any], clean: Callable[[Path], Any]
) -> None:
    clean(run / "checkpoints")
    before = state_of_models(run)
    with pytest.raises(Failure, match="no checkpoints to continue from") as caught:
        train(None, data, run, MORE)
    assert caught.value.code == "VFL0622" and "train again" in str(caught.value.help)
    assert state_of_models(run) == before
    assert evaluate(run, data)["rows"] == 197
    train(run / "bundle", data, run, TrainOptions(epochs=1, overwrite=True))


def state_of_models(run: Path) -> dict[str, bytes]:
    return {place: (run / place / "model.safetensors").read_bytes() for place in ("alice", "bob")}


@pytest.mark.parametrize(("place", "damage"), [("alice", flip), ("bob", cut), ("bob", Path.unlink)])
def test_a_damaged_model_gives_way_to_the_checkpoint_s(
    run: Path, data: dict[str, Any], tmp_path: Path, place: str, damage: Callable[[Path], None]
) -> None:
    expected = evaluate(run, data)["evaluation"]
    damage(run / place / "model.safetensors")
    heard: list[Any] = []
    assert evaluate(run, data, listen=heard.append)["evaluation"] == expected
    (fell,) = [event for event in heard if isinstance(event, events.FellBack)]
    assert f"{place}/model.safetensors" in fell.what and fell.to == newest(run)
    shutil.rmtree(run / "checkpoints")
    for use in (lambda: evaluate(run, data), lambda: predict(run, data, tmp_path / "p.csv")):
        with pytest.raises(Failure, match=f"{place}/model.safetensors is") as caught:
            use()
        assert caught.value.code == "VFL0621"


@pytest.mark.parametrize("name", ["run.json", "alice/encoders.json", "bob/encoders.json"])
def test_what_else_a_run_is_made_of(run: Path, data: dict[str, Any], name: str) -> None:
    file = run / name
    file.write_bytes(file.read_bytes() + b" ")
    for use in (lambda: train(None, data, run, MORE), lambda: evaluate(run, data)):
        with pytest.raises(Failure, match=f"{name} is damaged") as caught:
            use()
        assert caught.value.code == "VFL0621"


@pytest.mark.parametrize("name", ["alice/encoders.json", "checkpoint.json"])
def test_files_with_checksums_that_fit_are_read_with_care_too(
    run: Path, data: dict[str, Any], name: str
) -> None:
    """Whoever edits a file may write its checksum, too."""
    folder = newest(run) if name == "checkpoint.json" else run
    whole = json.loads((folder / name).read_text())
    first = whole.get("alice.x")
    wrong: list[Any] = [3.5, [], {**whole, "alice.x": None}, {**whole, "alice.x": []}]
    if first is None:
        wrong = [3.5, [], whole | {"step": "1"}, whole | {"best": 3}, whole | {"more": 1}]
    else:
        for value in ("1", None, [1.0], True, 10**400):
            wrong.append({"alice.x": [{**each, next(iter(each)): value} for each in first]})
        wrong += [{"alice.x": [None] * len(first)}, {"alice.x": [{"mean": 0.0}]}, {"alice.x": [*first, None]}]
    for edited in wrong:
        text = json.dumps(edited)
        (folder / name).write_text(text)
        sums = files.read_sums(folder) | files.checksums(folder, [name])
        (folder / files.SUMS).write_bytes(files.sums_content(sums))
        with pytest.raises(Failure) as caught:
            train(None, data, run, MORE)
        assert caught.value.code == "VFL0621", text


PLACES: dict[str, list[tuple[Any, ...]]] = {
    "run.json": [
        *((name, ...) for name in ("model", "batch", "seed", "validation", "fold", "shuffle", "steps")),
        ("batch", None), ("batch", 0), ("batch", 1.5), ("seed", -1), ("validation", "x"), ("fold", 9),
        ("epochs", {}), ("checkpoint_steps", 0), ("places", 3), ("places", [3]), ("ledger", {}),
        ("before", [{}]), ("folds", []), ("checkpoint_steps", ...),
        ("before", [{"learned": [], "told": {}, "used": {"a": {"a.x": [None, {"args": [3]}, [], None]}}}]),
    ],
    "checkpoint.json": [
        *(("meter", name, ...) for name in ("rows", "parts", "losses")),
        ("meter", "rows", 0), ("meter", "parts", []), ("meter", "parts", {}), ("meter", "parts", "bob", "x"),
        ("meter", "losses", "loss.bce", None), ("best", {}), ("best", {"epoch": 7}), ("epoch", -1),
        ("position", -3), ("unit", "round"), ("unit", "year"), ("sent", {"a.v": "x"}),
        ("history", [{}]), ("history", 0, "train", ...), ("history", 0, "validation", {"loss": "x"}),
        ("protections", {"bob": {"g": {"steps": None}}}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_edits_within_files_whose_checksums_fit(
    made: Path, data: dict[str, Any], tmp_path: Path, name: str
) -> None:
    """In the middle of an epoch, with one epoch behind it."""
    train(made / "b", data, tmp_path / "whole", TrainOptions(epochs=2, steps=6, batch=50))
    for *at, last, value in PLACES[name]:
        run = Path(shutil.copytree(tmp_path / "whole", tmp_path / "run"))
        folder = newest(run) if name == "checkpoint.json" else run
        whole = inner = json.loads((folder / name).read_text())
        for step in at:
            inner = inner[step]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
        (folder / name).unlink()
        (folder / name).write_text(json.dumps(whole))
        sums = files.read_sums(folder) | files.checksums(folder, [name])
        (folder / files.SUMS).write_bytes(files.sums_content(sums))
        with pytest.raises(Failure) as caught:
            train(None, data, run, TrainOptions(resume=True, epochs=3))
            pytest.fail(f"{at} {last} {value}")
        assert caught.value.code == "VFL0621", (at, last, value)
        shutil.rmtree(run)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {name: each for name, each in t.items() if not name.endswith("pending.label")},
        lambda t: {name: each[:-1] if name.endswith("pending.label") else each for name, each in t.items()},
        lambda t: {name: np.zeros((3, 5)) if name.endswith("/sums") else each for name, each in t.items()},
        lambda t: {name: each[:-1] if name.endswith("/sums") else each for name, each in t.items()},
        lambda t: {name: each for name, each in t.items() if not name.endswith("/sums")},
    ],
)
def test_collected_predictions_that_do_not_fit(
    made: Path, data: dict[str, Any], tmp_path: Path, change: Callable[[Any], Any]
) -> None:
    """In the middle of an epoch, with checksums that fit."""
    train(made / "b", data, tmp_path / "run", TrainOptions(epochs=2, steps=6, batch=50))
    folder, name = newest(tmp_path / "run"), "bob/meter.safetensors"
    tensors, about = files.read_tensors(folder / name)
    (folder / name).unlink()
    files.write_tensors(folder / name, change(tensors), about)
    sums = files.read_sums(folder) | files.checksums(folder, [name])
    (folder / files.SUMS).write_bytes(files.sums_content(sums))
    with pytest.raises(Failure) as caught:
        train(None, data, tmp_path / "run", TrainOptions(resume=True, epochs=3))
    assert caught.value.code == "VFL0621"


@pytest.mark.parametrize(
    "text",
    ["[1", "[" * 100_000, "[]", "3", '{"saved": 3}', '{"validation": [1]}', '{"validation": {"loss": "x"}}'],
)
def test_results_that_are_none(run: Path, text: str) -> None:
    (run / "metrics.json").write_text(text)
    with pytest.raises(Failure) as caught:
        open_run(run).metrics()
    assert caught.value.code == "VFL0621"
    (run / "metrics.json").unlink()
    with pytest.raises(Failure) as caught:
        open_run(run).metrics()
    assert caught.value.code == "VFL0629"


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("at", ["link_or_copy", "replace_with"])
def test_death_between_publishing_two_places(
    made: Path, run: Path, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """alice's model is of epoch 4 then, bob's of epoch 3: what is used is of one epoch."""
    original, calls = getattr(files, at), 0

    def dying(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:  # two for what the run is resumed from, one for the first place, or for its curves
            raise Killed
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(files, at, dying)
        if at == "replace_with":  # both models are new, and their checksums are not
            calls = 0
        with pytest.raises(Killed):
            train(None, data, run, MORE)
    marks = {
        place: files.read_tensors(run / place / "model.safetensors")[1]["step"] for place in ("alice", "bob")
    }
    assert (len(set(marks.values())) == 2) == (at == "link_or_copy"), marks
    heard: list[Any] = []
    session = trained_session(RunFolder(run), "evaluate", "onnx", 1, listen=heard.append)
    for place, engine in session.engines.items():
        for name, weight in load_file(made / "epochs-4" / place / "model.safetensors").items():
            np.testing.assert_array_equal(engine.weights()[name], weight, err_msg=name)
    assert [type(event) for event in heard] == [events.FellBack]
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(Failure, match="VFL0621"):
        evaluate(run, data)


def test_others_can_check_it_too(run: Path) -> None:
    """The files of checksums are those of coreutils."""
    for folder in (run, newest(run)):
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True)


def test_a_run_is_for_its_owner_alone(run: Path, made: Path) -> None:
    for path in [made / "epochs-3", *(made / "epochs-3").rglob("*")]:
        inside_bundle = "bundle" in path.parts
        allowed = 0o755 if inside_bundle else 0o700
        assert path.stat().st_mode & 0o777 & ~allowed == 0, path


def test_progress_of_another_version(run: Path) -> None:
    folder = newest(run)
    content = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps({**content, "future": 1}))
    sums = files.checksums(folder, files.read_sums(folder))
    (folder / "SHA256SUMS").write_bytes(files.sums_content(sums))
    with pytest.raises(Failure, match="cannot be read") as caught:
        RunFolder(run).latest()
    assert caught.value.code == "VFL0621"


def test_a_run_that_goes_back_to_its_start_counts_as_never_saved(run: Path) -> None:
    """Or a second death, before anything is saved again, leaves a model that nobody may go on from."""
    folder = RunFolder(run)
    assert folder.saved and folder.held() and folder.history()
    assert folder.go_back(None) is None
    assert not folder.saved and not folder.held() and not (run / "history.jsonl").exists()
    assert not list(run.glob("*/model.safetensors")) and folder.go_on() is None


def test_a_run_that_dies_while_it_goes_back_still_has_its_checkpoints(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(path: Path) -> None:
        raise KeyboardInterrupt

    folder = RunFolder(run)
    held = folder.held()
    monkeypatch.setattr(files, "remove", dies)
    with pytest.raises(KeyboardInterrupt):
        folder.go_back(None)
    assert folder.held() == held and folder.latest() is not None
