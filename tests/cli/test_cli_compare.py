"""`vflc compare`: the table fits, nothing is lost, and what is best is so by each metric's own sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from granting import granted

import vflc
from vflc.cli.compare import _shown, compared
from vflc.cli.main import run

SPEC = """
party alice { key ID
  feature x: float -> standardize }
party bob { key ID
  feature w: float -> standardize
  label y: int }
logit = dense(concat(alice.x, bob.w), 1)
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train { metrics auc  batch 16 }
"""


def ended(scores: dict[str, Any], digest: str = "d" * 64, **settings: Any) -> tuple[dict[str, Any], Any]:
    known = {"model": "m", "digest": digest, "batch": 128, "seed": 0, "validation": 0.1, "data": "t"}
    return {**known, **settings}, {"train": {"loss": 9.0}, "validation": scores}


def test_each_metric_is_best_in_its_own_sense_and_what_is_undefined_is_not() -> None:
    runs = {
        "a": ended({"loss": 0.5, "auc": 0.8, "rmse": 2.0, "ks": None}),
        "b": ended({"loss": 0.6, "auc": 0.9, "rmse": 1.0, "ks": None, "of.elsewhere": 1.0}, batch=64),
        "c": ended({"loss": 0.7, "auc": None, "rmse": 3.0, "ks": None}, "e" * 64),
    }
    found = compared(runs)
    assert found["best"] == {"loss": "a", "auc": "b", "rmse": "b"}
    assert (found["rows"], found["same_rows"]) == ("validation", True)
    assert [each["settings"] for each in found["runs"]] == [{"batch": 128}, {"batch": 64}, {"batch": 128}]
    runs["c"][0]["seed"] = 1
    assert not compared(runs)["same_rows"]
    runs["c"][1]["validation"] = {}
    assert compared(runs)["rows"] == "train"


@pytest.mark.parametrize("count", [1, 4, 12])
def test_it_fits_and_shows_everything(count: int) -> None:
    scores = {f"tower_{i}.auc": 0.1234 + i for i in range(count)}
    found = compared({"runs/first": ended(scores), "runs/second-of-all": ended(scores, "f" * 64, epochs=7)})
    shown = _shown(found)
    assert max(map(len, shown.splitlines())) <= 80
    for i in range(count):
        assert f"tower_{i}.auc" in shown and shown.count(f"{i}.1234") >= 2
    assert "ffffffff" in shown and "epochs" in shown and shown.count("runs/second-of-all") >= 1


def test_runs_that_were_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"ID": list(range(64)), "x": [i % 7 - 3.0 for i in range(64)]}
    more = {"ID": list(range(64)), "w": [i % 5 - 2.0 for i in range(64)], "y": [i % 2 for i in range(64)]}
    import pyarrow as pa

    data = {"alice": pa.table(rows), "bob": pa.table(more)}
    for name, rate in (("one", 0.01), ("two", 0.02)):
        model = vflc.compile(granted(SPEC), overrides={"optimizer": f"sgd(lr = {rate})"})
        model.fit(data, validation=0.25, out=tmp_path / name)
    paths = [str(tmp_path / name) for name in ("one", "two")]
    assert run(["compare", *paths, "--by", "loss", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    losses = [each["scores"]["loss"] for each in found["runs"]]
    assert losses == sorted(losses) and found["same_rows"] and found["rows"] == "validation"
    assert run(["compare", *paths]) == 0
    assert "digest" in capsys.readouterr().out
    assert run(["compare", *paths, "--by", "aucc"]) == 2
    assert "metrics: loss, auc" in capsys.readouterr().err
    assert run(["compare", str(tmp_path)]) == 1
    assert "VFL0614" in capsys.readouterr().err
