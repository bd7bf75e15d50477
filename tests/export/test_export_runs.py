"""Exported models serve raw rows in a process without vflc as `vflc predict` does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from specs.examples import prepared, text_of
from vflc_runtime.errors import Failure
from vflc_runtime.export.run import export
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SERVE = Path(__file__).with_name("serve.py")


def served(folder: Path, tables: dict[str, pa.Table], keys: dict[str, str], order: list[Any]) -> Any:
    """Predictions for the rows with these keys, by exported models and nothing of vflc."""
    rows: dict[Any, dict[str, Any]] = {key: {} for key in order}
    for party, table in tables.items():
        for row in table.to_pylist():
            rows[str(row[keys[party]])] |= {f"{party}.{name}": value for name, value in row.items()}
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows.values()), "utf-8")
    command = [sys.executable, "-I", str(SERVE), str(folder / "out"), str(folder / "rows.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(folder: Path, sources: dict[str, str], merged: bool) -> None:
    """The run in `run` against its export, on all rows of the sources."""
    predict(folder / "run", sources, folder / "predicted.parquet", threads=1)
    export(folder / "run", folder / "out", merged=merged, sources=sources)
    keys = {
        party["name"]: party["key"]
        for party in json.loads((folder / "run" / "bundle" / "manifest.json").read_text())["parties"]
    }
    wanted = pq.read_table(folder / "predicted.parquet").to_pydict()
    tables = {party: pq.read_table(source) for party, source in sources.items()}
    order = [str(key) for key in wanted.pop(next(iter(wanted)))]
    found = served(folder, tables, keys, order)
    for name, columns in found.items():
        names = [n for n in wanted if n.startswith(f"{name}.")] or [
            name
        ]  # of classes `name` is the likeliest
        expected = np.array([wanted[n] for n in names]).T
        np.testing.assert_allclose(columns, expected, rtol=1e-4, atol=1e-5)
    assert found


@pytest.mark.parametrize(("name", "merged"), [("deepfm", False), ("mmoe", True), ("three_parties", False)])
def test_example_serves_raw_rows(name: str, merged: bool, tmp_path: Path) -> None:
    sources = prepared(name, tmp_path / "data", "--generate", 200)
    compile_source(SourceText(f"{name}.vfl", text_of(name, small=True))).write(tmp_path / "bundle")
    train(tmp_path / "bundle", sources, tmp_path / "run", TrainOptions(epochs=1, batch=64, threads=1))
    check(tmp_path, sources, merged)


HARD = """
party alice {
  key ID
  feature hashed: string -> hash(50)
  feature salted: string -> missing("none") -> strip -> lower -> hash(50, salt = [3, 9223372036854775807])
  feature "the word": string as word -> missing("a") -> vocab("a", "é", "", default = other)
  feature given:  string -> vocab("a", "é", default = "é")
  feature tags:   string -> split("|") -> strip -> vocab("a", "É", default = other)
  feature past:   string -> split(" ") -> hash(20) -> sequence(max = 3)
  feature said:   string -> lower("ascii") -> remove("|.") -> words -> pad(3) -> vocab("", "a", default = "")
}
party bob {
  key ID
  feature code:   int -> hash(40)
  feature item:   int -> missing(3) -> index(30, default = other)
  feature year:   int -> missing(0) -> bucketize(-5, 0, 2000)
  feature price:  float -> clip(-1000000000000.0, 1000000000000.0) -> log1p -> standardize -> missing(0)
  column  "Seen (times)": float as Seen
  column  Days:   int
  column  Name:   string
  feature rate = log(Seen / Days) -> missing(-1) -> minmax
  feature old = (Days > 30 or is_missing(Days)) -> scale(2)
  feature named = strip(lower(Name)) -> missing("none") -> vocab("none", "ß")
  column  target: float
  label   y = target > 0
}
a = dense(flatten(embed(alice.features, dim = 3)), 4)
b = dense(flatten(embed(bob.features, dim = 3)), 4)
fuse at bob { logit = dense(relu(dense(concat(a, b), 3)), 1) }
predict y = sigmoid(logit)
objective bce(logit, bob.y)
release alice { to bob: hashed, salted, word, given, tags, past, said }
release bob { to alice: code, item, year, old, named, y, price, rate }
"""
TEXTS = [
    "a",
    "",
    None,
    "É",
    "é",
    " a ",
    "a|É| é ",
    "||",
    "a  a é a",
    "\u0130ΟΔΟΣ",
    "日本語",
    "e\u0301",
    'a\n\t"b',
    "x" * 200,
]
WHOLE = [0, 1, -1, 29, 30, None, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63) + 1]
REALS = [0.0, -0.0, 1.5, None, 1e300, -1e300, 1e-300, float("inf"), float("nan"), 5e-324, 3e38]


def hard_tables(rows: int) -> dict[str, pa.Table]:
    def column(values: list[Any], step: int, type: pa.DataType) -> pa.Array:
        return pa.array([values[(i * step + i // len(values)) % len(values)] for i in range(rows)], type)

    keys = pa.array([f"k{i:04}" for i in range(rows)])
    filled = [text or "?" for text in TEXTS]
    whole = [number or 7 for number in WHOLE]
    return {
        "alice": pa.table(
            {
                "ID": keys,
                "hashed": column(filled, 3, pa.string()),
                **{
                    n: column(TEXTS, i + 1, pa.string())
                    for i, n in enumerate(["salted", "the word", "given", "tags", "past", "said"])
                },
            }
        ),
        "bob": pa.table(
            {
                "ID": keys,
                "code": column(whole, 3, pa.int64()),
                **{n: column(WHOLE, i + 2, pa.int64()) for i, n in enumerate(["item", "year", "Days"])},
                **{n: column(REALS, i + 4, pa.float64()) for i, n in enumerate(["price", "Seen (times)"])},
                "Name": column(["ß", None, " NONE", "ẞ "], 1, pa.string()),
                "target": column([1.0, -1.0, 2.0], 1, pa.float64()),
            }
        ),
    }


@pytest.mark.parametrize("merged", [False, True], ids=["parties", "merged"])
def test_odd_values_serve_as_they_predict(merged: bool, tmp_path: Path) -> None:
    sources = {}
    for party, table in hard_tables(300).items():
        sources[party] = str(tmp_path / f"{party}.parquet")
        pq.write_table(table, sources[party])
    compile_source(SourceText("hard.vfl", HARD)).write(tmp_path / "bundle")
    train(tmp_path / "bundle", sources, tmp_path / "run", TrainOptions(epochs=2, batch=50, threads=1))
    check(tmp_path, sources, merged)
    with pytest.raises(Failure) as failure:
        export(tmp_path / "run", tmp_path / "generated")
    assert failure.value.code == "VFL0604" and "no generated rows fit" in failure.value.message
    assert "--data" in str(failure.value.help)


UNITS = """
party alice {
  key ID
  feature Age: float -> standardize
}
party bob {
  key ID
  label price: float -> standardize
  label kind:  string -> vocab("small", "large", "huge")
}
h = mlp(alice.Age, [8])
fuse at bob {
  score = dense(mlp(h, [8]), 1)
  shares = dense(mlp(h, [8]), 3)
}
predict price = score
predict kind = softmax(shares)
objective mse(score, bob.price) + cce(shares, bob.kind)
train { batch 20 }
release alice { to bob: Age }
release bob { to alice: price, kind }
"""


def test_predictions_are_in_the_units_of_the_table_and_classes_are_named(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    keys = pa.array([f"k{i}" for i in range(100)])
    made = {
        "alice": pa.table({"ID": keys, "Age": random.normal(40, 12, 100)}),
        "bob": pa.table(
            {
                "ID": keys,
                "price": random.normal(5000, 800, 100),
                "kind": random.choice(["small", "large", "huge"], 100),
            }
        ),
    }
    sources = {}
    for party, each in made.items():
        sources[party] = str(tmp_path / f"{party}.parquet")
        pq.write_table(each, sources[party])
    compile_source(SourceText("units.vfl", UNITS)).write(tmp_path / "bundle")
    train(tmp_path / "bundle", sources, tmp_path / "run", TrainOptions(epochs=1, threads=1))
    check(tmp_path, sources, merged=False)
    outputs = [
        given
        for path in (tmp_path / "out").rglob("*.json")
        for given in json.loads(path.read_text())["outputs"]
        if given["prediction"]
    ]
    assert {given["prediction"]: given["classes"] for given in outputs} == {
        "price": None,
        "kind": ["small", "large", "huge"],
    }
