"""A run that is killed at any instant and resumed ends with the bits of one that was not."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import handmade
import pyarrow.parquet
import pytest
from chance import seeded
from forked import Command
from test_train import state
from vflc_runtime import files, memory
from vflc_runtime.run.checkpoints import read_checkpoint
from vflc_runtime.run.train import TrainOptions, train
from vflc_runtime.tensors import whole

OPTIONS = {"epochs": 3, "checkpoint_steps": 2}
SCRIPT = """
import os, sys, time
from vflc_runtime.run.train import TrainOptions, train
from vflc_runtime.events import Progress, Loaded
def listen(event):
    if isinstance(event, Loaded):
        print("loaded", flush=True)
    if isinstance(event, Progress):
        time.sleep(0.01)
from vflc_runtime.run import loop
loop._REPORT_SECONDS = -1
folder, resume = sys.argv[1], sys.argv[2] == "resume"
os.environ["VFLC_LARGE_TABLES"] = sys.argv[3]
sources = {party: f"{folder}/{party}.parquet" for party in ("alice", "bob")}
options = TrainOptions(epochs=3, checkpoint_steps=2, resume=resume)
train(f"{folder}/b", sources, f"{folder}/run", options, listen)
"""


LARGE = "64", "0"
"""From how many MiB on tables are large: each process of a run may see it otherwise."""


def bits(run: Path) -> dict[str, Any]:
    """What a run has come to, whether its checkpoints have all rows or those that changed."""
    tensors = read_checkpoint(max((run / "checkpoints").iterdir())).tensors
    found: dict[str, Any] = {"history": state(run)["history"]}
    for place, kinds in tensors.items():
        model, _ = files.read_tensors(run / place / "model.safetensors")
        lying = {**kinds.pop("model"), **kinds.pop("stored", {})}
        for kind, each in {"model": model, "lying": lying, **kinds}.items():
            found |= {f"{place}/{kind}/{name}": whole(tensor).tobytes() for name, tensor in each.items()}
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    handmade.write_bundle(folder / "b", dropout=True)
    for party, table in handmade.tables(120).items():
        pyarrow.parquet.write_table(table, folder / f"{party}.parquet")
    return folder


@pytest.fixture(scope="module")
def expected(place: Path) -> dict[str, Any]:
    train(place / "b", sources(place), place / "whole", TrainOptions(**OPTIONS))
    return bits(place / "whole")


def sources(place: Path) -> dict[str, Any]:
    return {party: place / f"{party}.parquet" for party in ("alice", "bob")}


def test_sigkill_at_random_instants(place: Path, expected: dict[str, Any]) -> None:
    generator, hit = seeded(), 0
    run = place / "run"
    script = place / "script.py"
    script.write_text(SCRIPT)
    for number in range(50):
        if hit == 5:
            break
        said = place / f"said{number}"
        given = ("resume" if run.exists() else "start", LARGE[number % 2])
        process = Command(script, place, *given, stdout=said, stderr=said)
        while not (said.exists() and said.read_bytes()):
            assert process.poll() is None
            time.sleep(0.01)
        assert said.read_text() == "loaded\n"
        time.sleep(generator.random() * 0.25)
        process.send_signal(signal.SIGKILL)
        ended = process.wait()
        assert ended in (0, -signal.SIGKILL), said.read_text()
        hit += ended != 0
        if ended == 0:  # it was at its end: nobody was hit
            assert bits(run) == expected
            shutil.rmtree(run)
    assert hit == 5, "no process was hit while it lived"
    train(place / "b", sources(place), run, TrainOptions(**OPTIONS, resume=run.exists()))
    assert bits(run) == expected
    assert not [*(run / "checkpoints").glob(".*")]


@pytest.mark.parametrize(("before", "after"), [LARGE, LARGE[::-1]], ids=["then large", "then not"])
def test_the_model_is_whole_whoever_went_on(
    before: str, after: str, place: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that finds nothing left to do puts the model there, whose writer may have died before."""
    run = place / f"whole-{after}"
    for large in (before, after):
        monkeypatch.setenv("VFLC_LARGE_TABLES", large)
        train(place / "b", sources(place), run, TrainOptions(**OPTIONS, resume=run.exists()))
    assert bits(run) == expected


class Killed(BaseException):
    """Stands for the end of the process."""


def test_death_at_every_touch_of_the_disk(
    place: Path, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies before the nth of all calls that change the disk, for ns over the whole run."""
    names = [
        (os, "fsync"),
        (os, "link"),
        (Path, "rename"),
        (Path, "replace"),
        (Path, "mkdir"),
        (shutil, "rmtree"),
    ]
    calls, limit = 0, 10**9

    def counting(original: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= limit:
                raise Killed
            return original(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for owner, name in names:
            patch.setattr(owner, name, counting(getattr(owner, name)))
        train(place / "b", sources(place), tmp_path / "counted", TrainOptions(**OPTIONS))
        total = calls
        every = total // 8
        for turn, number in enumerate(range(seeded().randint(1, every), total, every)):
            run, calls, limit = tmp_path / f"run{number}", 0, number
            patch.setenv(memory.LARGE, LARGE[turn % 2])
            with suppress(Killed):  # not all kinds of checkpoints take as many calls
                train(place / "b", sources(place), run, TrainOptions(**OPTIONS))
            limit = 10**9
            patch.setenv(memory.LARGE, LARGE[turn // 2 % 2])
            train(place / "b", sources(place), run, TrainOptions(**OPTIONS, resume=run.exists()))
            assert bits(run) == expected, f"died before call {number} of {total}"
            assert not [*(run / "checkpoints").glob(".*")], f"left by who died before call {number}"
