"""A run whose places are joined by a network ends with the bits of one in a single process."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from partying import (
    TIMEOUT,
    compiled,
    exchange,
    history,
    site,
    tensors,
    together,
    train_alone,
    train_together,
)
from specs.examples import prepared, text_of
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.bundle.manifest import read_manifest
from vflc_runtime.errors import Failure
from vflc_runtime.events import FellBack, Resumed
from vflc_runtime.party.apply import evaluate_party, predict_party
from vflc_runtime.party.train import train_party
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.train import TrainOptions, TrainResult, train

EXAMPLES = {"three_parties": 300, "wide_deep": 300, "label_only": 200}
OPTIONS = TrainOptions(epochs=2, batch=64, validation=0.2, fold=2, checkpoint_steps=3)
FOUR = """
party a { key id  feature x: float }
party b { key id  feature y: float }
party c { key id  feature z: float }
party d { key id  label t: float }
h = relu(dense(a.x, 3))
k = relu(dense(b.y, 3))
m = relu(dense(c.z, 3))
fuse at d { out = dense(mlp(concat(h, k, m), [8]), 1) }
predict t = out
objective mse(out, d.t)
train { optimizer adam(lr = 0.01)  batch 16  epochs 60  validation 0.2  patience 2  best true  metrics rmse }
release a { to b, c, d: x }
release d { to a, b, c: t }
release c { to a, b, d: z }
release b { to a, c, d: y }
"""


def same(out: Path, alone: Path, found: dict[str, Any]) -> None:
    expected: dict[str, Any] = json.loads((alone / "metrics.json").read_text())
    for place, result in found.items():
        assert isinstance(result, TrainResult), result
        assert tensors(out / place, place) == tensors(alone, place)
        assert (result.metrics["ended"], result.metrics["steps"]) == (expected["ended"], expected["steps"])
        for edge, count in result.metrics["bytes_sent"].items():
            assert expected["bytes_sent"][edge] == count


@pytest.mark.parametrize("name", EXAMPLES)  # deepfm, u_shape: test_evaluation_and_predictions_…
def test_an_example_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    sources = prepared(name, tmp_path / "data", "--generate", EXAMPLES[name])
    bundle = compiled(name, text_of(name, small=True), tmp_path / "bundle")
    alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    same(tmp_path, alone, train_together(bundle, sources, tmp_path, OPTIONS))


def four(folder: Path) -> dict[str, str]:
    names = {"a": "x", "b": "y", "c": "z", "d": "t"}
    folder.mkdir()
    for index, (party, column) in enumerate(names.items()):
        lines = [f"{n},{(n * (index + 3)) % 17 / 17}" for n in range(180)]
        (folder / f"{party}.csv").write_text("\n".join([f"id,{column}", *lines]) + "\n")
    return {party: str(folder / f"{party}.csv") for party in names}


def test_four_parties_stop_early_and_keep_the_best(tmp_path: Path) -> None:
    sources = four(tmp_path / "data")
    bundle = compiled("four", FOUR, tmp_path / "bundle")
    options = TrainOptions(seed=5)
    alone = train_alone(bundle, sources, tmp_path / "alone", options)
    found = train_together(bundle, sources, tmp_path, options)
    same(tmp_path, alone, found)
    assert found["a"].metrics["ended"] == "early stopping"
    assert history(tmp_path / "d") == history(alone)
    best = json.loads((alone / "metrics.json").read_text())["best"]
    assert found["d"].metrics["best"] == best
    assert found["a"].metrics["best"] == {"epoch": best["epoch"]}, "only the owner of labels knows scores"
    assert all(not line["train"] and not line["validation"] for line in history(tmp_path / "a"))


def test_the_loss_of_several_places_decides_as_in_one(tmp_path: Path) -> None:
    sources = prepared("wide_deep", tmp_path / "data", "--generate", 300)
    text = re.sub(
        r"train \{", "train {\n  best true\n  patience 3\n", text_of("wide_deep", small=True), count=1
    )
    text = text.replace(", rows = all", "")  # of which nothing is in the loss that is told
    bundle = compiled("wide_deep", text, tmp_path / "bundle")
    kinds = {(each.kind, each.sender) for each in read_manifest(bundle / "manifest.json").controls}
    assert ("loss", "follower") in kinds and ("best", "leader") in kinds
    options = replace(OPTIONS, epochs=4)
    alone = train_alone(bundle, sources, tmp_path / "alone", options)
    found = train_together(bundle, sources, tmp_path, options)
    same(tmp_path, alone, found)
    ours, theirs = history(tmp_path / "leader"), history(alone)
    for group in ("train", "validation"):
        assert [line[group]["loss"] for line in ours] == [line[group]["loss"] for line in theirs]


def test_the_run_goes_on_and_is_over_where_it_is_over(tmp_path: Path) -> None:
    sources = prepared("deepfm", tmp_path / "data", "--generate", 300)
    bundle = compiled("deepfm", text_of("deepfm", small=True), tmp_path / "bundle")
    alone = train_alone(bundle, sources, tmp_path / "alone", replace(OPTIONS, epochs=3))
    train_together(bundle, sources, tmp_path, replace(OPTIONS, steps=5))
    more = replace(OPTIONS, epochs=3, resume=True)
    same(tmp_path, alone, train_together(bundle, sources, tmp_path, more))
    nobody = site("alice", sources["alice"], lambda manifest, rows: pytest.fail("it connects"))
    assert train_party(bundle, nobody, tmp_path / "alice", more).metrics["epochs"] == 3


def test_a_checkpoint_that_one_party_lost_gives_way_at_all(tmp_path: Path) -> None:
    """Whichever of its files is damaged: runtime/test_checkpoints.py."""
    name = "model.safetensors"
    sources = prepared("deepfm", tmp_path / "data", "--generate", 300)
    bundle = compiled("deepfm", text_of("deepfm", small=True), tmp_path / "bundle")
    alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    train_together(bundle, sources, tmp_path, replace(OPTIONS, steps=5))
    before, damaged = sorted((tmp_path / "alice" / "checkpoints").iterdir())
    content = bytearray((damaged / "alice" / name).read_bytes())
    content[-1] ^= 1
    (damaged / "alice" / name).unlink()  # a link to it is the model
    (damaged / "alice" / name).write_bytes(content)
    heard: list[Any] = []
    more = replace(OPTIONS, resume=True)
    found = train_together(bundle, sources, tmp_path, more, listen=heard.append)
    same(tmp_path, alone, found)
    assert [e.what for e in heard if isinstance(e, FellBack)] == [f"{damaged / 'alice' / name} is damaged"]
    assert {e.step for e in heard if isinstance(e, Resumed)} == {int(before.name.split("-")[1])}


def test_parties_without_checkpoints_do_not_begin_anew(tmp_path: Path) -> None:
    sources = prepared("deepfm", tmp_path / "data", "--generate", 300)
    bundle = compiled("deepfm", text_of("deepfm", small=True), tmp_path / "bundle")
    train_together(bundle, sources, tmp_path, replace(OPTIONS, steps=5))
    models = {
        place: (tmp_path / place / place / "model.safetensors").read_bytes() for place in ("alice", "bob")
    }
    for place in models:
        shutil.rmtree(tmp_path / place / "checkpoints")
    found = train_together(bundle, sources, tmp_path, replace(OPTIONS, resume=True))
    for place, failure in found.items():
        assert isinstance(failure, Failure) and failure.code == "VFL0651", failure
        assert (tmp_path / place / place / "model.safetensors").read_bytes() == models[place]


@pytest.mark.parametrize("method", ["hash", "psi"])
def test_aligned_rows_are_those_of_the_join(method: str, tmp_path: Path) -> None:
    if method == "psi":
        pytest.importorskip("private_set_intersection")
    sources = prepared("deepfm", tmp_path / "data", "--generate", 300)
    for party, part in (("alice", slice(0, 260)), ("bob", slice(30, 300))):
        table = pq.read_table(sources[party])
        pq.write_table(table.slice(part.start, part.stop - part.start), sources[party])
    bundle = compiled("deepfm", text_of("deepfm", small=True), tmp_path / "bundle")
    alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    settings = AlignSettings(key=b"a key that both share", threads=1)
    found = train_together(bundle, sources, tmp_path, OPTIONS, method=method, align=settings)
    same(tmp_path, alone, found)
    expected = json.loads((alone / "metrics.json").read_text())["data"]["parties"]
    assert {party: found[party].metrics["data"]["parties"][party] for party in sources} == expected
    assert expected["alice"]["dropped"] > 20


@pytest.mark.parametrize("name", ["deepfm", "u_shape"])
def test_evaluation_and_predictions_are_those_of_one_process(name: str, tmp_path: Path) -> None:
    sources = prepared(name, tmp_path / "data", "--generate", 300)
    bundle = compiled(name, text_of(name, small=True), tmp_path / "bundle")
    alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    same(tmp_path, alone, train_together(bundle, sources, tmp_path, OPTIONS))
    owner = {"deepfm": "bob", "u_shape": "alice"}[name]
    meeting = exchange(bundle)
    sites = {
        place: site(
            place, sources.get(place), lambda manifest, rows, place=place: meeting.join(place, TIMEOUT)
        )
        for place in meeting.places
    }
    found = together({place: (lambda p=place: evaluate_party(tmp_path / p, sites[p])) for place in sites})
    expected = evaluate(alone, sources, threads=1)
    assert {place: result["evaluation"] for place, result in found.items()} == {
        place: expected["evaluation"] if place == owner else {} for place in sites
    }
    meeting = exchange(bundle)
    file = tmp_path / "predictions.csv"
    rows = together({
        place: (lambda p=place: predict_party(tmp_path / p, sites[p], file if p == owner else None))
        for place in sites
    })  # fmt: skip
    which = RunFolder(alone).which()
    assert all(done == {"rows": 300, "model": which} for done in rows.values())
    assert {result["model"] for result in found.values()} == {which, expected["model"]}
    predict(alone, sources, tmp_path / "alone.csv", threads=1)
    assert file.read_text() == (tmp_path / "alone.csv").read_text()
    for kept in (tmp_path / owner / "checkpoints").iterdir():  # the saved model is all that is needed
        shutil.rmtree(kept)
    meeting = exchange(bundle)
    again = together({place: (lambda p=place: evaluate_party(tmp_path / p, sites[p])) for place in sites})
    assert {place: (result["model"], result["evaluation"]) for place, result in again.items()} == {
        place: (result["model"], result["evaluation"]) for place, result in found.items()
    }
    with pytest.raises(Failure, match="has only the part of alice"):
        evaluate(tmp_path / "alice", sources)
    with pytest.raises(Failure, match="is the part of alice"):
        train(None, sources, tmp_path / "alice", TrainOptions(resume=True, epochs=9))
