"""Rows that a party lacks: learned defaults in its place, the same between processes, and counted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pytest
from partying import tensors, train_alone, train_together
from safetensors.numpy import load_file
from vflc_common.arrays import Indices
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.data.batches import permutation
from vflc_runtime.data.overlap import overlap
from vflc_runtime.errors import Failure
from vflc_runtime.export.description import encoded
from vflc_runtime.export.run import export
from vflc_runtime.party import rows
from vflc_runtime.party.counts import tell_which
from vflc_runtime.party.peers import Peers
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.importance import importance
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

SPEC = """
party alice {
  key ID
  missing party allowed
  feature Age:  float
  feature City: string -> hash(10)
}
party bob {
  key ID
  feature Price: float -> standardize
  feature Item:  string -> hash(20)
  feature here:  float
  column  Rating: int
  label   liked = Rating > 3
}
a = mlp(concat(dense(0.02 * alice.Age, 4), flatten(embed(alice.City, dim = 4))), [8])
b = mlp(concat(dense(bob.Price, 2), flatten(embed(bob.Item, dim = 4))), [8])
{MORE}
fuse at bob {
  logit = dense(mlp(concat({A}, b), [8]), 1) + 0 * bob.here
}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release alice { to bob: Age, City }
release bob { to alice: liked, Item, Price, here }
train {
  optimizer adam(lr = 0.05)
  batch 16
  epochs 3
  validation 0.1
  metrics auc
}
"""
TEXT = SPEC.replace("{MORE}", "").replace("{A}", "a")
BY_HAND = (
    SPEC.replace("  missing party allowed\n", "")
    .replace("{MORE}", "default = weight(8, init = zeros) at bob")
    .replace("{A}", "a * bob.here + default * (1 - bob.here)")
)
HUB = """party hub {}
h = mlp(concat(a, b), [8]) at hub
logit = dense(h, 1) at bob"""
TO_HUB = "{\n  to alice: liked, Item, Price\n  to hub: liked, Item, Price\n}"
DRAWN = np.random.default_rng(3)
HAS = DRAWN.random(90) < 0.7
KEYS = [f"{'01'[not has]}{i:02}" for i, has in enumerate(HAS)]
"""Those that alice has are before the others, as a run has them."""
ALICE = pa.table({"ID": KEYS, "Age": DRAWN.normal(40, 9, 90), "City": [f"c{i % 7}" for i in range(90)]})
BOB = pa.table(
    {
        "ID": KEYS,
        "Price": DRAWN.normal(size=90),
        "Item": [f"i{i % 11}" for i in range(90)],
        "here": HAS.astype(float),
        "Rating": DRAWN.integers(1, 6, 90),
    }
)
LACKING = pa.concat_tables([ALICE.filter(pa.array(HAS)), ALICE.slice(0, 1).set_column(0, "ID", [["z"]])])
SOURCES = {"alice": LACKING, "bob": BOB}
OPTIONS = TrainOptions()


def compiled(text: str, folder: Path) -> Path:
    compile_source(SourceText("spec.vfl", text), precision="float64").write(folder)
    return folder


def weights(run: Path, place: str) -> dict[str, Any]:
    found: dict[str, Any] = load_file(run / place / "model.safetensors")
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("missing")
    return train_alone(compiled(TEXT, folder / "bundle"), SOURCES, folder / "run", OPTIONS)


def test_it_is_the_default_written_by_hand(run: Path, tmp_path: Path) -> None:
    other = train_alone(
        compiled(BY_HAND, tmp_path / "hand"), {"alice": ALICE, "bob": BOB}, tmp_path / "run", OPTIONS
    )
    for place, more in (("alice", {}), ("bob", {"a.default": "default"})):
        one, due = weights(run, place), weights(other, place)
        for name, value in one.items():
            np.testing.assert_allclose(value, due[more.get(name, name)], rtol=0, atol=1e-9, err_msg=name)
    assert np.abs(weights(run, "bob")["a.default"]).max() > 0.01
    found, due = evaluate(run, SOURCES), evaluate(other, {"alice": ALICE, "bob": BOB})
    assert found["evaluation"]["loss"] == pytest.approx(due["evaluation"]["loss"], abs=1e-9)


def test_every_key_is_predicted_and_counted(run: Path, tmp_path: Path) -> None:
    predict(run, SOURCES, tmp_path / "p.csv")
    found = csv.read_csv(
        tmp_path / "p.csv", convert_options=csv.ConvertOptions(column_types={"ID": "string"})
    )
    assert sorted(found["ID"].to_pylist()) == sorted(KEYS)
    lacks = pc.equal(found["status"], "without alice").to_pylist()
    assert lacks == [key[0] == "1" for key in found["ID"].to_pylist()] and pc.sum(pa.array(lacks)).as_py() > 9
    counted = overlap(
        {"alice": {"key": "ID", "missing": True}, "bob": {"key": "ID"}}, {"alice": LACKING, "bob": BOB}
    )
    assert [counted.parties[party].kept for party in ("alice", "bob")] == [int(HAS.sum()), 90]
    metrics = json.loads((run / "metrics.json").read_text())
    counts = metrics["data"]["parties"]["alice"]
    have = int(HAS.sum())
    assert counts == {"rows": have + 1, "kept": have, "dropped": 1, "missing": 90 - have}
    assert metrics["rows"] == 90


@pytest.mark.parametrize("many", [False, True])
def test_between_processes_and_with_many_rows_a_key(many: bool, tmp_path: Path) -> None:
    text, bob = TEXT.replace("auc\n", "auc\n  drop alice 0.2\n"), BOB
    if many:
        text = text.replace("party bob {\n  key ID", "party bob {\n  key ID\n  rows per key many")
        bob = pa.concat_tables([BOB, BOB.slice(20, 30)])
    bundle, sources = compiled(text, tmp_path / "bundle"), {"alice": LACKING, "bob": bob}
    alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    found = train_together(
        bundle, sources, tmp_path / "apart", OPTIONS, method="hash", align=AlignSettings(key=b"k" * 32)
    )
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    for place in ("alice", "bob"):
        assert tensors(tmp_path / "apart" / place, place) == tensors(alone, place)
    part = train_alone(bundle, sources, tmp_path / "part", replace(OPTIONS, steps=8))
    train_alone(bundle, sources, part, replace(OPTIONS, epochs=3, resume=True))
    assert tensors(part, "alice", "bob") == tensors(alone, "alice", "bob")


def test_three_parties_one_of_which_may_lack_rows(tmp_path: Path) -> None:
    third = "party carol {\n  key ID\n  feature Sum: float\n}\nrelease carol { to alice, bob: Sum }\n"
    text = third + TEXT.replace("concat(a, b)", "concat(a, b, c)")
    text = text.replace("fuse at", "c = mlp(dense(carol.Sum, 2), [2])\nfuse at")
    text = text.replace("alice { to bob", "alice { to bob, carol").replace(
        "bob { to alice", "bob { to alice, carol"
    )
    carol = pa.table({"ID": [*KEYS[:80], "x"], "Sum": DRAWN.normal(size=81)})
    sources = {"alice": LACKING, "bob": BOB, "carol": carol}
    bundle = compiled(text, tmp_path / "bundle")
    alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    assert json.loads((alone / "metrics.json").read_text())["rows"] == 80
    found = train_together(
        bundle, sources, tmp_path / "apart", OPTIONS, method="hash", align=AlignSettings(key=b"k" * 32)
    )
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    for place in ("alice", "bob", "carol"):
        assert tensors(tmp_path / "apart" / place, place) == tensors(alone, place)


def test_one_that_tells_of_other_rows_than_their_number_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which keys alice has, carol tells bob alone; how many, all."""
    third = "party carol {\n  key ID\n  feature Sum: float\n}\nrelease carol { to alice, bob: Sum }\n"
    text = third + TEXT.replace("concat(a, b)", "concat(a, b, c)")
    text = text.replace("fuse at", "c = mlp(dense(carol.Sum, 2), [2])\nfuse at")
    text = text.replace("alice { to bob", "alice { to bob, carol").replace(
        "bob { to alice", "bob { to alice, carol"
    )
    bundle = compiled(text, tmp_path / "bundle")
    sources = {"alice": LACKING, "bob": BOB, "carol": pa.table({"ID": KEYS, "Sum": DRAWN.normal(size=90)})}

    def one_more(peers: Peers, receiver: str, lacks: Indices) -> None:
        """Tells the numbers as they are, and that alice lacks a row more."""
        tell_which(peers, receiver, np.maximum(lacks, np.arange(len(lacks)) == 0))

    monkeypatch.setattr(rows, "tell_which", one_more)
    found = train_together(
        bundle, sources, tmp_path / "apart", OPTIONS, method="hash", align=AlignSettings(key=b"k" * 32)
    )
    assert found["bob"].code == "VFL0655", found


def test_a_place_without_a_table_fills_in_defaults_too(tmp_path: Path) -> None:
    text = TEXT.replace("fuse at bob {\n  logit = dense(mlp(concat(a, b), [8]), 1) + 0 * bob.here\n}", HUB)
    text = text.replace("to bob", "to bob, hub").replace("{ to alice: liked, Item, Price, here }", TO_HUB)
    bundle = compiled(text, tmp_path / "bundle")
    alone = train_alone(bundle, SOURCES, tmp_path / "alone", OPTIONS)
    assert "a.default" in weights(alone, "hub")
    found = train_together(
        bundle, SOURCES, tmp_path / "apart", OPTIONS, method="hash", align=AlignSettings(key=b"k" * 32)
    )
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    for place in ("alice", "bob", "hub"):
        assert tensors(tmp_path / "apart" / place, place) == tensors(alone, place)


def test_importance_exchanges_the_rows_that_a_party_has(tmp_path: Path) -> None:
    """As if its own table had them exchanged; what it lacks, and rows of one key, stay as they are."""
    text = TEXT.replace("party bob {\n  key ID", "party bob {\n  key ID\n  rows per key many")
    bundle, bob = compiled(text, tmp_path / "bundle"), pa.concat_tables([BOB, BOB.slice(20, 30)])
    run = train_alone(bundle, {"alice": LACKING, "bob": bob}, tmp_path / "run", OPTIONS)
    have, bob = int(HAS.sum()), pa.concat_tables([BOB, BOB.slice(5, 30)])  # not the run's: all rows count
    new = LACKING.slice(0, have)
    found = importance(run, {"alice": new, "bob": bob}, repeats=1, threads=1)
    assert not found["validation"] and found["rows"] == 120
    drawn = permutation(have, 0, f"importance of alice.Age {found['seed']} 0")
    exchanged = new.set_column(1, "Age", new["Age"].take(pa.array(drawn)))
    due = evaluate(run, {"alice": exchanged, "bob": bob})["evaluation"]["loss"] - found["results"]["loss"]
    (age,) = [each for each in found["features"] if each["feature"] == "Age"]
    assert age["importance"]["loss"] == pytest.approx(due, abs=1e-9) != 0
    assert [each["importance"]["loss"] for each in found["parties"]] != [0, 0]


def test_batches_without_a_row_of_the_party_and_none_in_common(run: Path, tmp_path: Path) -> None:
    one = {"alice": LACKING.slice(0, 1), "bob": BOB}
    small = train_alone(run / "bundle", one, tmp_path / "one", replace(OPTIONS, epochs=1, batch=2))
    assert all(np.isfinite(value).all() for value in weights(small, "alice").values())
    with pytest.raises(Failure, match="VFL0606"):
        one["alice"] = LACKING.slice(len(LACKING) - 1)
        train_alone(run / "bundle", one, tmp_path / "none", OPTIONS)


def test_exported_parts_predict_what_the_run_does(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out", sources=SOURCES)
    export(run, tmp_path / "generated")
    predict(run, SOURCES, tmp_path / "p.csv")
    of = csv.ConvertOptions(column_types={"ID": "string"})
    due = {
        row["ID"]: row["liked"] for row in csv.read_csv(tmp_path / "p.csv", convert_options=of).to_pylist()
    }

    def ran(place: str, table: pa.Table, **given: Any) -> Any:
        folder = tmp_path / "out" / place
        described = json.loads((folder / "predict.json").read_text())
        inputs = {
            **encoded(described, [{f"{place}.{n}": v for n, v in row.items()} for row in table.to_pylist()])
        }
        session = onnxruntime.InferenceSession(folder / "predict.onnx")
        assert {each["name"] for each in described["inputs"]} == {*inputs, *given}
        marks = {each["name"]: each["present"] for each in described["inputs"] if "present" in each}
        assert marks == ({"alice.present.bob": "alice"} if place == "bob" else {})
        return session.run(None, {**inputs, **given})[0]

    own = dict(zip(LACKING["ID"].to_pylist(), ran("alice", LACKING), strict=True))
    a = np.stack([own.get(key, np.zeros(8)) for key in KEYS])
    found = ran("bob", BOB, **{"a": a, "alice.present.bob": HAS.astype(float)[:, None]})
    np.testing.assert_allclose(found[:, 0], [due[key] for key in KEYS], rtol=0, atol=1e-9)


def test_what_does_not_go_with_it_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="VFL0731: one Keras model of all parties"):
        export(run, tmp_path / "out", "keras", merged=True)
    for change, code in {
        ("key ID\n  feature Price", "key ID\n  missing party allowed\n  feature Price"): "VFL0116",  # all may
        ("auc\n", "auc\n  drop bob 0.2\n"): "VFL0116",
        ("auc\n", "auc\n  drop alcie 0.2\n"): "VFL0116",
        ("auc\n", "auc\n  drop alice 1.2\n"): "VFL0205",
        ("predict liked", "predict status"): "VFL0160",
    }.items():
        with pytest.raises(Refused) as caught:
            compiled(TEXT.replace(*change), tmp_path / "bad")
        assert code in {each.code for each in caught.value.diagnostics}, change
    mixed = TEXT.replace("a = mlp(", "a = batch_norm(mlp(").replace(", [8])\nb", ", [8]))\nb")
    with pytest.raises(Refused, match="VFL0116"):
        compiled(mixed, tmp_path / "mixed")
