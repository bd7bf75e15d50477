"""One ONNX model of parties that may lack rows: an input says which, and it predicts what the run does."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from vflc_runtime.export.run import export
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party alice {
  key ID
  missing party allowed
  feature Age:    float -> bucketize(30, 40)
  feature Plain:  float
  feature Gender: string -> vocab("F", "M")
  feature Tags:   string -> split(" ") -> vocab("a", "b", default = other)
  feature City:   string -> hash(10)
  feature Image:  vector(3)
}
party bob {
  key ID
  feature Item: string -> hash(20)
  column  Rating: int
  label   liked = Rating > 3
}
party carol {
  key ID
  missing party allowed
  feature Sum: int -> index(50)
}
e = embed(alice.Age, dim = 4) + embed(alice.Gender, dim = 4) + embed(alice.City, dim = 4)
f = embed(bob.Item, dim = 4)
tags = sum(embed(alice.Tags, dim = 4), axis = field)
rest = dense(concat(alice.Plain, alice.Image), 2)
c = flatten(embed(carol.Sum, dim = 2))
logit = dense(mlp(concat(flatten(e), flatten(f), tags, rest, c), [8]), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release alice { to bob, carol: Age, Plain, Gender, Tags, City, Image }
release bob { to alice, carol: liked, Item }
release carol { to alice, bob: Sum }
train {
  optimizer adam(lr = 0.05)
  batch 16
  epochs 2
}
"""
DRAWN = np.random.default_rng(2)
ROWS = 300
KEYS = [f"k{i:03}" for i in range(ROWS)]
HAS = {"alice": DRAWN.random(ROWS) < 0.6, "carol": DRAWN.random(ROWS) < 0.7}
WHOLE = {
    "alice": pa.table(
        {
            "ID": KEYS,
            "Age": DRAWN.normal(35, 9, ROWS),
            "Plain": DRAWN.normal(size=ROWS),
            "Gender": ["FM"[i % 2] for i in range(ROWS)],
            "Tags": ["a b", "b", "c a", ""] * 75,
            "City": [f"c{i % 9}" for i in range(ROWS)],
            "Image": DRAWN.normal(size=(ROWS, 3)).tolist(),
        }
    ),
    "bob": pa.table(
        {"ID": KEYS, "Item": [f"i{i % 11}" for i in range(ROWS)], "Rating": DRAWN.integers(1, 6, ROWS)}
    ),
    "carol": pa.table({"ID": KEYS, "Sum": DRAWN.integers(0, 50, ROWS)}),
}
SOURCES = WHOLE | {party: WHOLE[party].filter(pa.array(has)) for party, has in HAS.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lacking")
    compile_source(SourceText("spec.vfl", SPEC)).write(folder / "bundle")
    train(folder / "bundle", SOURCES, folder / "run", TrainOptions())
    return folder / "run"


def encoder(folder: Path) -> Any:
    """encode.py of an export, as a module."""
    spec = importlib.util.spec_from_file_location("encode", folder / "encode.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_predicts_what_the_run_does(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out", merged=True, sources=SOURCES)
    export(run, tmp_path / "generated", merged=True)
    export(run, tmp_path / "parts", sources=SOURCES)
    predict(run, SOURCES, tmp_path / "p.csv")
    due = {row["ID"]: row["liked"] for row in csv.read_csv(tmp_path / "p.csv").to_pylist()}
    described = json.loads((tmp_path / "out/spec.json").read_text())
    marks = {each["name"]: (each["type"], each["shape"]) for each in described["inputs"] if "present" in each}
    assert marks == dict.fromkeys(("alice.present", "carol.present"), ("bool", ["batch", 1]))
    rows: list[dict[str, Any]] = [{} for _ in KEYS]
    for party, table in WHOLE.items():
        for i, row in enumerate(table.to_pylist()):
            if party == "bob" or HAS[party][i]:
                rows[i] |= {f"{party}.{name}": value for name, value in row.items() if name != "ID"}
    said = [
        {f"{party}.present": str(has[i]) for party, has in HAS.items()} | row for i, row in enumerate(rows)
    ]
    for given in (rows, said):
        inputs = encoder(tmp_path / "out").encode(described, given)
        types = {each["name"]: each["type"].replace("string", "object") for each in described["inputs"]}
        session = onnxruntime.InferenceSession(tmp_path / "out/spec.onnx")
        found = session.run(None, {name: np.array(value, types[name]) for name, value in inputs.items()})[0]
        np.testing.assert_allclose(found[:, 0], [due[key] for key in KEYS], rtol=0, atol=1e-6)


def test_a_row_that_is_there_needs_its_values(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out", merged=True)
    described = json.loads((tmp_path / "out/spec.json").read_text())
    encode = encoder(tmp_path / "out")
    row = {"bob.Item": "i1", "carol.Sum": 3, "alice.present": True}
    with pytest.raises(encode.RefusedValue, match=r"alice\.Age has no value"):
        encode.encode(described, [row])
    inputs = encode.encode(described, [row | {"alice.present": 0}])
    types = {each["name"]: each["type"].replace("string", "object") for each in described["inputs"]}
    session = onnxruntime.InferenceSession(tmp_path / "out/spec.onnx")
    fed = {name: np.array(value, types[name]) for name, value in inputs.items()}
    assert session.run(None, fed)[0].shape == (1, 1)
    fed["alice.present"] = np.array([[True]])
    with pytest.raises(Exception, match=r"alice\.\w+ is (unknown or missing|no number) in a row"):
        session.run(None, fed)
