"""A batch is as wide as its own longest row where nothing depends on how far rows are filled up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from granting import granted
from vflc_runtime import files
from vflc_runtime.data.batches import trimmed
from vflc_runtime.run import session as sessions
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party alice {
  key ID
  feature Tags: string -> split(" ") -> hash(50)
  feature Age:  float
}
party bob {
  key ID
  label liked: int
}
items = table(50, 4)
x = VALUE
logit = dense(tanh(dense(x, 3)), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train {
  batch 16
  epochs 3
  optimizer adam(lr = 0.01)
}
"""
SUMMED = [
    "embed(alice.Tags, dim = 4)",
    "embed(alice.Tags, dim = 4, combiner = mean)",
    "dense(one_hot(alice.Tags), 3)",
    "concat(embed(alice.Tags, dim = 4), embed(alice.Tags, dim = 2), alice.Age)",
    "sum(lookup(items, alice.Tags) * alice.Age, axis = value)",
]
"""Values that filling up does not change."""
CHANGED = [
    "mean(lookup(items, alice.Tags), axis = value)",
    "max(lookup(items, alice.Tags) + 1, axis = value)",
    "sum(sigmoid(lookup(items, alice.Tags)), axis = value)",
    "sum(dense(lookup(items, alice.Tags), 4), axis = value)",
    "sum(softmax(lookup(items, alice.Tags), axis = value), axis = value)",
    "embed(alice.Tags, dim = 4) + mean(lookup(items, alice.Tags), axis = value)",
]


def bundle(value: str, folder: Path, precision: str = "float64") -> bool:
    """Compiles the spec; whether its plan trims the tags."""
    text = granted(SPEC.replace("VALUE", value))
    compile_source(SourceText("spec.vfl", text), precision=precision).write(folder)
    plan = json.loads((folder / "alice" / "plan.json").read_bytes())
    return any(entry.get("trimmed", False) for entry in plan["inputs"])


def sources() -> dict[str, Any]:
    """Rows of few tags, and one of very many."""
    random = np.random.default_rng(3)
    tags = [" ".join(f"t{tag}" for tag in random.integers(0, 80, n)) for n in random.integers(0, 4, 100)]
    tags[17] = " ".join(f"t{tag}" for tag in random.integers(0, 80, 300))
    keys = [str(key) for key in range(100)]
    return {
        "alice": pa.table({"ID": keys, "Tags": tags, "Age": random.normal(size=100)}),
        "bob": pa.table({"ID": keys, "liked": random.integers(0, 2, 100)}),
    }


def weights(run: Path) -> dict[str, Any]:
    return {
        f"{place}.{name}": array
        for place in ("alice", "bob")
        for name, array in files.read_tensors(run / place / "model.safetensors")[0].items()
    }


@pytest.mark.parametrize("value", SUMMED)
def test_weights_are_those_of_rows_filled_up(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bundle(value, tmp_path / "b")
    widths: list[int] = []

    def seen(ids: Any) -> Any:
        widths.append((found := trimmed(ids)).shape[1])
        return found

    monkeypatch.setattr(sessions, "trimmed", seen)
    train(tmp_path / "b", sources(), tmp_path / "narrow", TrainOptions(threads=1))
    assert sorted(widths)[-4:-3] < [4] and widths.count(300) == 3, "one batch of each epoch is wide"
    monkeypatch.setattr(sessions, "trimmed", lambda ids: ids)
    train(tmp_path / "b", sources(), tmp_path / "wide", TrainOptions(threads=1))
    narrow, wide = weights(tmp_path / "narrow"), weights(tmp_path / "wide")
    for name, array in wide.items():
        assert np.allclose(narrow[name], array, rtol=1e-10, atol=1e-12), name


@pytest.mark.parametrize("value", CHANGED)
def test_what_depends_on_the_width_keeps_that_of_the_data(value: str, tmp_path: Path) -> None:
    assert not bundle(value, tmp_path / "b")


def test_a_batch_is_as_wide_as_its_longest_row() -> None:
    ids = np.array([[3, 0, -1, -1], [-1, -1, -1, -1], [7, -1, -1, -1]], np.int32)
    assert trimmed(ids).tolist() == [[3, 0], [-1, -1], [7, -1]]
    assert trimmed(ids[1:2]).shape == (1, 1) and trimmed(ids[:0]).shape == (0, 1)
    assert trimmed(ids[:, :2]).shape == (3, 2)
