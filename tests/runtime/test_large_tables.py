"""Large tables: the same bits, and checkpoints that have the rows that changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_train import state
from vflc_runtime import events, files, memory
from vflc_runtime.errors import Failure
from vflc_runtime.run import row_changes, start_weights
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party shop {{
  key ID
  feature item: int -> hash(4000)
  column  Sold: int
  label   sold = Sold
}}
party bank {{
  key ID
  feature user: int -> hash(3000)
}}
a = embed(bank.user, dim = 8)
b = embed(shop.item, dim = 8)
w = embed(shop.item, dim = 1)
fuse at shop {{ logit = dense(concat(flatten(a), flatten(b)), 1) + sum(w) }}
predict sold = sigmoid(logit)
objective bce(logit, shop.sold){penalty}
train {{
  {optimizer}
  batch 16
  metrics auc
}}
release bank {{ to shop: user }}
release shop {{ to bank: sold, item }}
"""
OPTIMIZERS = {
    "adam": ("optimizer adam(lr = 0.01)", ""),
    "two": ("optimizer ftrl(lr = 0.05, l1 = 1e-3) for w\n  optimizer adagrad(lr = 0.1)\n  best true", ""),
    "sgd": ("optimizer sgd(lr = 0.1)", ""),
    "replayed": ("optimizer adam(lr = 0.01)", " + l2(1e-3, a.tables, rows = all)"),
}
PLACES = "bank", "shop"
OPTIONS: dict[str, Any] = {"epochs": 3, "checkpoint_steps": 4, "validation": 0.2, "threads": 1}


def tables(rows: int = 300) -> dict[str, Any]:
    import pyarrow as pa

    draw = np.random.default_rng(5)
    keys = np.arange(rows)
    user, item = draw.integers(0, 40, rows), draw.integers(0, 90, rows)
    shop = {"ID": keys, "item": item, "Sold": ((user + item) % 3 == 0).astype(np.int64)}
    return {"bank": pa.table({"ID": keys, "user": user}), "shop": pa.table(shop)}


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return tables()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("large")
    for name, (text, penalty) in OPTIMIZERS.items():
        spec = SourceText("spec.vfl", SPEC.format(optimizer=text, penalty=penalty))
        compile_source(spec).write(folder / name)
    return {name: folder / name for name in OPTIMIZERS}


@pytest.fixture(scope="module")
def usual(bundles: dict[str, Path], data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs whose tables are small enough not to be treated otherwise."""
    folder = tmp_path_factory.mktemp("usual")
    for name, bundle in bundles.items():
        train(bundle, data, folder / name, TrainOptions(**OPTIONS))
    return folder


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.LARGE, "0")


def models(run: Path) -> dict[str, Any]:
    return in_bits({place: files.read_tensors(run / place / "model.safetensors")[0] for place in PLACES})


def in_bits(models: dict[str, Any]) -> dict[str, Any]:
    return {place: {name: (t.shape, t.tobytes()) for name, t in own.items()} for place, own in models.items()}


def progress(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "checkpoint.json").read_bytes()))


def checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").iterdir())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_large_tables_train_to_the_same_bits(
    name: str, bundles: dict[str, Path], usual: Path, data: dict[str, Any], tmp_path: Path, large: None
) -> None:
    run = tmp_path / "run"
    train(bundles[name], data, run, TrainOptions(**OPTIONS))
    assert models(run) == models(usual / name)
    assert state(run)["history"] == state(usual / name)["history"]
    assert evaluate(run, data)["evaluation"] == evaluate(usual / name, data)["evaluation"]
    shutil.rmtree(checkpoints(run)[-1])
    train(None, data, run, TrainOptions(resume=True))
    assert models(run) == models(usual / name)


def continued(folder: Path) -> str | None:
    """Which checkpoint one has changes to."""
    after = row_changes.after(folder)
    return None if after is None else after.folder


@pytest.fixture(scope="module")
def made(bundles: dict[str, Path], data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of large tables."""
    run = tmp_path_factory.mktemp("made") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(memory.LARGE, "0")
        train(bundles["adam"], data, run, TrainOptions(**OPTIONS))
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path, large: None) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_checkpoints_have_the_rows_that_changed(made: Path, data: dict[str, Any]) -> None:
    first, *others = checkpoints(made)
    assert continued(first) is None and len(others) > 2
    assert [continued(folder) for folder in others] == [folder.name for folder in [first, *others][:-1]]
    whole, last = row_changes.size_of(first), row_changes.size_of(others[-1])
    assert last < whole / 4
    changed, _ = files.read_tensors(others[-1] / "bank" / "changed.safetensors")
    rows, _ = files.read_tensors(others[-1] / "bank" / "rows.safetensors")
    assert rows.keys() == {"a.user", "a.user/m", "a.user/v", "a.user/last"}
    assert {len(each) for each in rows.values()} == {len(changed["a.user"])} <= set(range(1, 41))
    assert (rows["a.user/last"] > 40).all(), "those of the last steps"


@pytest.mark.parametrize("back", [0, 1, 3, 5])
def test_every_checkpoint_that_is_there_can_be_resumed(
    back: int, run: Path, usual: Path, data: dict[str, Any]
) -> None:
    if back:
        for folder in checkpoints(run)[-back:]:
            shutil.rmtree(folder)
    train(None, data, run, TrainOptions(resume=True))
    assert models(run) == models(usual / "adam")
    assert state(run)["history"] == state(usual / "adam")["history"]


def test_the_model_of_a_checkpoint_that_has_changes_alone(
    run: Path, bundles: dict[str, Path], data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = next(
        f for f in reversed(checkpoints(run)) if json.loads((f / "checkpoint.json").read_bytes())["position"]
    )
    for later in checkpoints(run):
        if later > folder:
            shutil.rmtree(later)
    (run / "bank" / "model.safetensors").unlink()
    step = progress(folder)["step"]
    monkeypatch.delenv(memory.LARGE)
    heard: list[Any] = []
    found = RunFolder(run).models(RunFolder(run).bundle("onnx"), heard.append)
    assert [type(event) for event in heard] == [events.FellBack]
    options = TrainOptions(**OPTIONS | {"checkpoint_steps": None}, steps=step)
    train(bundles["adam"], data, tmp_path / "stopped", options)
    assert models(tmp_path / "stopped") == in_bits(found)


def test_a_model_that_is_older_than_checkpoints_is_not_the_last_state(
    bundles: dict[str, Path], data: dict[str, Any], tmp_path: Path, large: None
) -> None:
    """Of two parties' states, each takes the last that both have: it must be the same."""
    run = tmp_path / "run"

    def die(event: Any) -> None:
        if isinstance(event, events.Saved) and event.step == 20:
            raise KeyError

    with pytest.raises(KeyError):
        train(bundles["adam"], data, run, TrainOptions(**OPTIONS), die)
    folder = RunFolder(run)
    *others, (last, path) = folder.states(folder.bundle("onnx")).items()
    assert last.startswith("step-0000000020-") and path is not None
    assert [name[:15] for name, path in others if path is None] == ["step-0000000015"]


def test_another_run_starts_from_one_that_died_in_its_first_epoch(
    bundles: dict[str, Path], data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its last checkpoint, of which the model is made, as of small tables from the model itself."""

    def die(event: Any) -> None:
        if isinstance(event, events.Saved) and event.step == 8:
            raise KeyError

    found = []
    for limit in ("64", "0"):
        monkeypatch.setenv(memory.LARGE, limit)
        run = tmp_path / limit
        with pytest.raises(KeyError):
            train(bundles["adam"], data, run, TrainOptions(**OPTIONS), die)
        assert (run / "bank" / "model.safetensors").exists() == (limit == "64")
        found.append(start_weights.read(run, RunFolder(run).bundle("onnx")))
    small, large = found
    assert in_bits(large.weights) == in_bits(small.weights) and large.name == small.name
    assert large.fresh == large.gone == ()
    for folder in checkpoints(tmp_path / "0"):
        shutil.rmtree(folder)
    with pytest.raises(Failure, match="has no trained model yet") as caught:
        start_weights.read(tmp_path / "0", RunFolder(tmp_path / "0").bundle("onnx"))
    assert caught.value.code == "VFL0706"


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 16
    file.unlink()
    file.write_bytes(content)


def test_what_changes_are_to_must_be_whole(run: Path, data: dict[str, Any]) -> None:
    flip(checkpoints(run)[0] / "shop" / "stored.safetensors")
    with pytest.raises(Failure, match=r"has changes to step-\S+, which is missing or damaged") as caught:
        train(None, data, run, TrainOptions(resume=True, epochs=4))
    assert caught.value.code == "VFL0621"
    assert evaluate(run, data)["rows"] == 300, "the model is whole"


def test_the_one_before_damaged_changes_is_taken(run: Path, usual: Path, data: dict[str, Any]) -> None:
    *_, before, last = checkpoints(run)
    flip(last / "shop" / "rows.safetensors")
    heard: list[Any] = []
    train(None, data, run, TrainOptions(resume=True), heard.append)
    assert [event.to for event in heard if isinstance(event, events.FellBack)] == [before]
    assert models(run) == models(usual / "adam")


def test_changes_to_another_checkpoint_are_none(run: Path, data: dict[str, Any], tmp_path: Path) -> None:
    """One of the same name, of another run."""
    *_, before, last = checkpoints(run)
    about = progress(before) | {"seconds": 1.0}
    rewrite(before, "checkpoint.json", json.dumps(about).encode())
    assert [folder.name for folder in RunFolder(run).checkpoints.whole(lambda event: None)][-1] == before.name
    assert "another" in str(row_changes.broken(last, [before]))


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """With the checksum that fits."""
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    sums = files.read_sums(folder) | files.checksums(folder, [name])
    (folder / files.SUMS).write_bytes(files.sums_content(sums))


NAMES = [1, "../x", "step-9999999999-epoch-00000"]
AFTER = [3, {}, *({"folder": name, "sums": ""} for name in NAMES)]


@pytest.mark.parametrize("after", AFTER, ids=["number", "empty", "types", "outside", "later"])
def test_what_a_checkpoint_continues_is_read_with_care(run: Path, data: dict[str, Any], after: Any) -> None:
    last = checkpoints(run)[-1]
    rewrite(last, "checkpoint.json", json.dumps(progress(last) | {"after": after}).encode())
    with pytest.raises(Failure) as caught:
        train(None, data, run, TrainOptions(resume=True))
    assert caught.value.code == "VFL0621"


Change = Callable[[dict[str, Any]], dict[str, Any]]
CHANGES: dict[str, tuple[str, Change]] = {
    "beyond": ("changed", lambda t: {n: a + 4000 for n, a in t.items()}),
    "below": ("changed", lambda t: {n: a - 4000 for n, a in t.items()}),
    "twice": ("changed", lambda t: {n: np.zeros_like(a) for n, a in t.items()}),
    "reals": ("changed", lambda t: {n: a.astype(np.float64) for n, a in t.items()}),
    "fewer": ("rows", lambda t: {n: a[:-1] for n, a in t.items()}),
    "wider": ("rows", lambda t: {n: a.astype(np.float64) for n, a in t.items()}),
    "gone": ("rows", lambda t: {}),
    "unknown": ("changed", lambda t: {**t, "x": np.zeros(1, np.int64)}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_rows_are_read_with_care(run: Path, data: dict[str, Any], name: str, tmp_path: Path) -> None:
    """Whoever edits a file may write its checksum, too."""
    kind, change = CHANGES[name]
    last = checkpoints(run)[-1]
    tensors, about = files.read_tensors(last / "shop" / f"{kind}.safetensors")
    files.write_tensors(tmp_path / "edited", change(tensors), about)
    rewrite(last, f"shop/{kind}.safetensors", (tmp_path / "edited").read_bytes())
    if name == "unknown":
        train(None, data, run, TrainOptions(resume=True))
        return
    with pytest.raises(Failure) as caught:
        train(None, data, run, TrainOptions(resume=True))
    assert caught.value.code == "VFL0621"


def test_all_rows_are_written_again_in_time(
    bundles: dict[str, Path],
    usual: Path,
    data: dict[str, Any],
    tmp_path: Path,
    large: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_changes, "LONGEST", 3)
    run, most = tmp_path / "run", 0

    def listen(event: Any) -> None:
        nonlocal most
        most = max(most, len(checkpoints(run)) if isinstance(event, events.Saved) else 0)

    train(bundles["adam"], data, run, TrainOptions(**OPTIONS), listen)
    assert most == 4 and len(checkpoints(run)) < 5
    assert models(run) == models(usual / "adam")


def test_a_limit_that_is_no_number(
    bundles: dict[str, Path], data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(memory.LARGE, "64M")
    with pytest.raises(Failure, match="VFLC_LARGE_TABLES is '64M'") as caught:
        train(bundles["sgd"], data, tmp_path / "run")
    assert caught.value.code == "VFL0790"
