"""One row of a party beside many of another: as the joined table, with what it sends sent once a key."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from partying import tensors, train_alone, train_together
from safetensors.numpy import load_file
from vflc_runtime.errors import Failure
from vflc_runtime.export.run import export
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party alice {
  key ID
  feature Age:  float  -> standardize
  feature City: string -> hash(10)
}
party bob {
  key ID
  rows per key many
  feature Price: float  -> standardize
  feature Item:  string -> hash(20)
  column  Rating: int
  label   liked = Rating > 3
}
a = {A}
b = mlp(flatten(embed(bob.features, dim = 4)), [8])
fuse at bob {
  logit = dense(mlp(concat(a, b), [8]), 1)
}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release alice { to bob: Age, City }
release bob { to alice: liked, Item, Price }
train {
  optimizer adam(lr = 0.05)
  batch 16
  epochs 3
  validation 0.1
  metrics auc
}
"""
PLAIN = "mlp(flatten(embed(alice.features, dim = 4)), [8])"
USERS, RANDOM = 30, np.random.default_rng(7)
OF = np.sort(RANDOM.integers(0, USERS, 110) * (RANDOM.random(110) > 0.2))
"""The user of each event: some have none, and user 0 has more than a batch."""
ALICE = pa.table(
    {
        "ID": [f"u{i:02}" for i in range(USERS)],
        "Age": RANDOM.normal(40, 9, USERS),
        "City": [f"c{i % 7}" for i in range(USERS)],
    }
)
BOB = pa.table(
    {
        "ID": [f"u{i:02}" for i in OF] + ["elsewhere"],
        "Price": RANDOM.normal(size=111),
        "Item": [f"i{i % 11}" for i in range(111)],
        "Rating": RANDOM.integers(1, 6, 111),
    }
)
ROW = [f"{i:03}" for i in range(110)]
JOINED = {
    "alice": ALICE.take(OF).set_column(0, "ID", pa.array(ROW)),
    "bob": BOB.slice(0, 110).set_column(0, "ID", pa.array(ROW)),
}
OPTIONS = TrainOptions()


def compiled(text: str, folder: Path) -> Path:
    compile_source(SourceText("spec.vfl", text), precision="float64").write(folder)
    return folder


def once(bundle: Path) -> list[str]:
    found: list[str] = json.loads((bundle / "manifest.json").read_text()).get("once", [])
    return found


def weights(run: Path) -> dict[str, Any]:
    return {
        f"{place}/{name}": value
        for place in ("alice", "bob")
        for name, value in load_file(run / place / "model.safetensors").items()
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trained from two tables with one row and many rows a key; and on the table joined before."""
    folder = tmp_path_factory.mktemp("many")
    text = SPEC.replace("{A}", PLAIN)
    many = compiled(text, folder / "many")
    assert once(many) == ["alice"]
    joined = compiled(text.replace("rows per key many", ""), folder / "joined")
    return {
        "bundle": many,
        "many": train_alone(many, {"alice": ALICE, "bob": BOB}, folder / "run-many", OPTIONS),
        "joined": train_alone(joined, JOINED, folder / "run-joined", OPTIONS),
    }


def test_it_is_the_joined_table(runs: dict[str, Path], tmp_path: Path) -> None:
    one, other = weights(runs["many"]), weights(runs["joined"])
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-9, err_msg=name)
    metrics, same = (json.loads((runs[k] / "metrics.json").read_text()) for k in ("many", "joined"))
    assert metrics["rows"] == same["rows"] == 110
    assert metrics["validation"]["loss"] == pytest.approx(same["validation"]["loss"], abs=1e-9)
    for edge, count in metrics["bytes_sent"].items():
        assert count < 0.8 * same["bytes_sent"][edge], edge
    predict(runs["many"], {"alice": ALICE, "bob": BOB}, tmp_path / "many.csv")
    predict(runs["joined"], JOINED, tmp_path / "joined.csv")
    found, due = csv.read_csv(tmp_path / "many.csv"), csv.read_csv(tmp_path / "joined.csv")
    assert found["ID"].to_pylist() == BOB["ID"].to_pylist()[:110]
    np.testing.assert_allclose(found["liked"], due["liked"], atol=1e-9)
    scores = evaluate(runs["many"], {"alice": ALICE, "bob": BOB})["evaluation"]
    assert scores["loss"] == pytest.approx(evaluate(runs["joined"], JOINED)["evaluation"]["loss"], abs=1e-9)


def test_it_is_exported_and_keys_of_the_one_side_are_unique(runs: dict[str, Path], tmp_path: Path) -> None:
    export(runs["many"], tmp_path / "out", sources={"alice": ALICE, "bob": BOB})
    assert (tmp_path / "out" / "bob" / "predict.onnx").exists()
    sources = {"alice": ALICE, "bob": BOB}
    doubled = pa.concat_tables([ALICE, ALICE.slice(3, 1)])
    with pytest.raises(Failure, match=r"VFL0605: alice.*'u03' \(2 times\)"):
        train_alone(runs["bundle"], {**sources, "alice": doubled}, tmp_path / "doubled", OPTIONS)


def test_rows_may_lie_in_any_order_at_the_one_side(runs: dict[str, Path], tmp_path: Path) -> None:
    mixed = ALICE.take(RANDOM.permutation(USERS))
    again = train_alone(runs["bundle"], {"alice": mixed, "bob": BOB}, tmp_path / "run", OPTIONS)
    assert tensors(again, "alice", "bob") == tensors(runs["many"], "alice", "bob")


MORE = {
    "a part of one table": ("0", "FM(alice.features + bob.features, k = 3)", ["alice"]),
    "batch_norm sees the joined rows": (f"batch_norm({PLAIN})", None, []),
    "dropout draws for joined rows": (f"dropout({PLAIN}, 0.0001)", None, []),
}


@pytest.mark.parametrize("case", MORE)
def test_other_models_are_the_joined_table_too(case: str, tmp_path: Path) -> None:
    part, whole, expected = MORE[case]
    text = SPEC.replace("{A}", part).replace("epochs 3", "epochs 1")
    if whole is not None:
        start, end = text.index("a = "), text.index("predict")
        text = f"use recsys.{{FM}}\n{text[:start]}logit = {whole}\n{text[end:]}"
    many = compiled(text, tmp_path / "many")
    assert once(many) == expected
    joined = compiled(text.replace("rows per key many", ""), tmp_path / "joined")
    one = weights(train_alone(many, {"alice": ALICE, "bob": BOB}, tmp_path / "a", OPTIONS))
    other = weights(train_alone(joined, JOINED, tmp_path / "b", OPTIONS))
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-9, err_msg=name)


def test_batches_of_one_user_of_one_row_and_an_interruption(runs: dict[str, Path], tmp_path: Path) -> None:
    sources = {"alice": ALICE, "bob": BOB.slice(0, 30)}  # all but a few are of one user
    small = replace(OPTIONS, epochs=2, batch=1, validation=0.0)
    whole = train_alone(runs["bundle"], sources, tmp_path / "whole", small)
    part = train_alone(runs["bundle"], sources, tmp_path / "part", replace(small, steps=41))
    train_alone(runs["bundle"], sources, part, replace(small, steps=None, resume=True))
    assert tensors(part, "alice", "bob") == tensors(whole, "alice", "bob")


THREE = """
party alice {
  key ID
  feature City: string -> hash(10)
}
party carol {
  key ID
  feature Age: float -> standardize
}
party bob {
  key ID
  rows per key many
  feature Item: string -> hash(20)
  label Rating: float -> standardize
}
party hub {}
a = mlp(flatten(embed(alice.features, dim = 4)), [4])
c = mlp(dense(carol.Age, 4), [4])
b = mlp(flatten(embed(bob.features, dim = 4)), [4])
h = mlp(concat(a, b, c), [8]) at hub
score = dense(h, 1) at bob
predict Rating = score
objective mse(score, bob.Rating)
release alice { to bob, carol, hub: City }
release carol { to alice, bob, hub: Age }
release bob {
  to alice, carol: Rating, Item
  to hub: Rating, Item
}
train { batch 16 epochs 2 }
"""


def test_three_parties_and_one_without_a_table(tmp_path: Path) -> None:
    bundle = compiled(THREE, tmp_path / "bundle")
    assert once(bundle) == ["alice", "carol"]
    tables = {
        "alice": ALICE.take(np.unique(OF)),
        "carol": ALICE.take(np.unique(OF)),
        "bob": BOB.slice(0, 110),
    }
    alone = train_alone(bundle, tables, tmp_path / "alone", OPTIONS)
    found = train_together(bundle, tables, tmp_path / "apart", OPTIONS)
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    for place in ("alice", "bob", "carol", "hub"):
        assert tensors(tmp_path / "apart" / place, place) == tensors(alone, place)


def test_between_processes_it_is_the_same_to_the_bit(runs: dict[str, Path], tmp_path: Path) -> None:
    alice = ALICE.take(np.unique(OF))
    found = train_together(runs["bundle"], {"alice": alice, "bob": BOB.slice(0, 110)}, tmp_path, OPTIONS)
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    for place in ("alice", "bob"):
        assert tensors(tmp_path / place, place) == tensors(runs["many"], place)


def test_rows_for_validation_by_a_column_of_the_one_side(tmp_path: Path) -> None:
    text = SPEC.replace("{A}", PLAIN).replace("validation 0.1", "validation where alice.Age > 45")
    many = compiled(text, tmp_path / "many")
    joined = compiled(text.replace("rows per key many", ""), tmp_path / "joined")
    run = train_alone(many, {"alice": ALICE, "bob": BOB}, tmp_path / "a", OPTIONS)
    other = train_alone(joined, JOINED, tmp_path / "b", OPTIONS)
    kept, same = (json.loads((each / "metrics.json").read_text()) for each in (run, other))
    assert kept["validation"]["loss"] == pytest.approx(same["validation"]["loss"], abs=1e-9)
    for name, value in weights(run).items():
        np.testing.assert_allclose(value, weights(other)[name], rtol=0, atol=1e-9, err_msg=name)
    found = train_together(
        many, {"alice": ALICE.take(np.unique(OF)), "bob": BOB.slice(0, 110)}, tmp_path / "apart", OPTIONS
    )
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    for place in ("alice", "bob"):
        assert tensors(tmp_path / "apart" / place, place) == tensors(run, place)
