"""Parties that start from weights that were there before: `vflc party … --from`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pyarrow.parquet as pq
import pytest
from partying import compiled, site, tensors, train_alone, train_together
from vflc_runtime import files
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.data.generate import generate
from vflc_runtime.errors import Failure
from vflc_runtime.party.train import train_party
from vflc_runtime.run import loading
from vflc_runtime.run.session import Session
from vflc_runtime.run.train import TrainOptions

ONE_TABLE = """
party a { key id  feature x{1..3}: float  feature c: string -> hash(9) }
party b { key id  feature y{1..4}: float  label t: float -> standardize }
out = dense(mlp(concat(a.x{1..3}, b.y{1..4}), [4, 3]), 1) + embed(a.c, dim = 1)
predict t = out
objective mse(out, b.t)
train { optimizer adam(lr = 0.01)  batch 16  epochs 2 }
release a { to b: x{1..3}, c }
release b { to a: y{1..4}, t }
"""
"""The first kernel lies in slices, a's rows and b's; what the label's encoder fits is nobody's start."""
OPTIONS = TrainOptions(epochs=2, batch=16, threads=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A bundle, tables, a file of weights, and runs of one process: from the seed, and from the file."""
    folder = tmp_path_factory.mktemp("from")
    bundle = compiled("model", ONE_TABLE, folder / "bundle")
    sources = generate(loading.encoders(open_bundle(bundle)), 64, 3)
    weights = Session(bundle, seed=5, threads=1).weights()
    fitted = {
        w.name for plan in open_bundle(bundle).plans.values() for w in plan.weights.values() if w.fitted
    }
    files.write_tensors(folder / "w.safetensors", {n: v for n, v in weights.items() if n not in fitted}, {})
    start = replace(OPTIONS, start=folder / "w.safetensors")
    alone = train_alone(bundle, sources, folder / "alone", start)
    seeded = train_alone(bundle, sources, folder / "seeded", OPTIONS)
    assert tensors(alone, "a", "b") != tensors(seeded, "a", "b")
    return {"bundle": bundle, "sources": sources, "file": start.start, "alone": alone, "seeded": seeded}


def same(runs: Path, alone: Path) -> None:
    for place in ("a", "b"):
        assert tensors(runs / place, place) == tensors(alone, place)


def test_two_processes_that_start_from_a_file_end_as_one_does(made: dict[str, Any], tmp_path: Path) -> None:
    for place, table in made["sources"].items():
        pq.write_table(table, tmp_path / f"{place}.parquet")
    deploy = processes.write_deploy(tmp_path, {p: str(tmp_path / f"{p}.parquet") for p in made["sources"]})
    flags = ["--epochs", "2", "--batch", "16", "--threads", "1", "--from", str(made["file"])]
    parties = [processes.Party(p, made["bundle"], deploy, tmp_path / p, flags) for p in ("a", "b")]
    for party in parties:
        party.start()
    for party in parties:
        assert party.wait() == 0, party.log()
    same(tmp_path, made["alone"])


def test_each_party_starts_from_its_own_folder_of_a_run(made: dict[str, Any], tmp_path: Path) -> None:
    bundle, sources = made["bundle"], made["sources"]
    first = train_together(bundle, sources, tmp_path / "first", OPTIONS)
    own = {place: result.folder for place, result in first.items()}
    again = train_together(bundle, sources, tmp_path / "again", OPTIONS, own)
    assert not any(isinstance(result, BaseException) for result in again.values()), again
    same(
        tmp_path / "again",
        train_alone(bundle, sources, tmp_path / "alone", replace(OPTIONS, start=made["seeded"])),
    )


def test_a_run_that_is_resumed_does_not_need_the_file(made: dict[str, Any], tmp_path: Path) -> None:
    bundle, sources = made["bundle"], made["sources"]
    starts = dict.fromkeys(("a", "b"), made["file"])
    train_together(bundle, sources, tmp_path, replace(OPTIONS, epochs=1), starts)
    train_together(bundle, sources, tmp_path, replace(OPTIONS, resume=True), {"a": made["file"]})
    same(tmp_path, made["alone"])
    found = train_together(bundle, sources, tmp_path, replace(OPTIONS, resume=True), {"a": made["seeded"]})
    assert found["a"].code == "VFL0625" and "did not start from" in found["a"].message


@pytest.mark.parametrize("other", ["seed", "file", "run"])
def test_parties_start_from_the_same(made: dict[str, Any], other: str, tmp_path: Path) -> None:
    weights, _ = files.read_tensors(made["file"])
    files.write_tensors(tmp_path / "w.safetensors", {name: 2 * value for name, value in weights.items()}, {})
    starts = {"file": {"b": tmp_path / "w.safetensors"}, "run": {"b": made["seeded"]}, "seed": {}}[other]
    found = train_together(made["bundle"], made["sources"], tmp_path, OPTIONS, {"a": made["file"], **starts})
    for failure in found.values():
        assert failure.code == "VFL0650" and failure.message.startswith("from is ")
        assert "--from" in failure.help


def wrong_files(made: dict[str, Any], folder: Path) -> dict[str, Path]:
    weights, _ = files.read_tensors(made["file"])
    name = next(name for name in weights if name.endswith("mlp.0.kernel"))
    changed = {
        "lacking": {n: v for n, v in weights.items() if n != name},
        "shape": {**weights, name: weights[name][:-1]},
        "infinite": {**weights, name: weights[name] * np.inf},
    }
    for kind, content in changed.items():
        files.write_tensors(folder / kind, content, {})
    (folder / "none").write_bytes(b"no tensors")
    (folder / "empty").mkdir()
    return {kind: folder / kind for kind in (*changed, "none", "empty", "absent")}


def test_a_file_that_does_not_fit_is_refused_before_anyone_is_met(
    made: dict[str, Any], tmp_path: Path
) -> None:
    def nobody(*_: Any) -> Any:
        raise AssertionError("it connects")

    for kind, path in wrong_files(made, tmp_path).items():
        here = site("a", made["sources"]["a"], nobody)
        with pytest.raises(Failure) as failure:
            train_party(made["bundle"], here, tmp_path / "run", replace(OPTIONS, start=path))
        assert failure.value.code == "VFL0706", kind
        assert str(path) in failure.value.message, failure.value.message
        assert not (tmp_path / "run").exists()
